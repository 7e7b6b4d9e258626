package tracker

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// postgres is a database on a PostgreSQL server, of version 14 or newer. Only this file, postgres_pipeline.go and content.go know that it is one.
type postgres struct {
	label     string // the URL without password and settings: messages have it
	config    *pgx.ConnConfig
	directory string // of artifacts; empty where they are in the database
	writer    *sql.DB
	reader    *sql.DB
	frozen    error         // why the database cannot be written; nil where it can
	locking   chan struct{} // has room for the one call that waits for the lock
	ahead     atomic.Int64  // what the server's clock is ahead of the steady one, in microseconds
	started   atomic.Int64  // when the server was, in microseconds since 1970
	begun     atomic.Int64  // transactions
	news      news
}

// What only PostgreSQL understands.
const (
	// Writers queue up at this row as long as their transactions last, as those of SQLite do: what they have read before they
	// write is still so. A transaction is one change, for a row that it changed often would be slow. Whoever listens is told
	// when it is committed.
	// Each leaves its token, by which it can be asked whether it was committed. The server's own number of a transaction does not
	// tell: after a crash that took it away the next one gets the same.
	postgresBegin = `WITH left_behind AS (INSERT INTO committed (token, time) VALUES ($1, ` + postgresMicros + `))
		UPDATE change SET n = n + 1 RETURNING ` + postgresMicros + `, CAST(pg_notify('hrlab', '') AS TEXT)`
	// postgresCommitted inserts nothing where the token's transaction was committed, and waits for one that is not over.
	postgresCommitted = `INSERT INTO committed (token, time) VALUES ($1, 0) ON CONFLICT DO NOTHING`
	postgresForget    = `DELETE FROM committed WHERE time < $1`
	// postgresMicros is the time as the tracker has it.
	postgresMicros = `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`
	postgresNow    = `SELECT ` + postgresMicros + `, CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS BIGINT)`
	postgresListen = `LISTEN hrlab`
	postgresLock   = `SELECT pg_advisory_lock(hashtext('hrlab ' || current_schema()))`
	postgresUnlock = `SELECT pg_advisory_unlock(hashtext('hrlab ' || current_schema()))`
	postgresTables = `SELECT COALESCE(current_schema(), ''), (SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()),
		(SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'goose_db_version')`
	postgresMayWrite = `SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', has_table_privilege('change', 'UPDATE') AND has_table_privilege('run', 'INSERT')`
)

// forgetEvery is after how many transactions a process removes tokens that nobody asks for any more.
const forgetEvery = 256

// postgresTokens is a table that only servers have: see postgresBegin.
const postgresTokens = `;
	CREATE TABLE committed (token TEXT COLLATE "C" PRIMARY KEY, time BIGINT NOT NULL)`

// postgresParams has the server not look up the run of every parameter, which took longer than to insert it: the run is inserted, or
// held, in the same transaction.
const postgresParams = `ALTER TABLE param DROP CONSTRAINT param_run_fkey`

const (
	// answerTimeout is how long the first answer may take, of whichever of several hosts: a command says within ten seconds that
	// there is none.
	answerTimeout = 8 * time.Second
	// lostTimeout is how long a server may be gone while somebody writes.
	lostTimeout = 2 * time.Minute
)

// notPermitted is the code of an error: the role lacks a right.
const notPermitted = "42501"

// IsServer says whether a url is that of a server.
func IsServer(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// parse parses a url. It has a path, so that postgres:// stays one when it is put together again.
func parse(given string) (*url.URL, error) {
	u, err := url.Parse(given)
	if err == nil {
		u.Path = cmp.Or(u.Path, "/")
	}
	return u, err
}

// WithoutPassword is a url without the password that it may have in it.
func WithoutPassword(given string) string {
	if !IsServer(given) {
		return given
	}
	u, err := parse(given)
	if err != nil {
		return "postgres://"
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	if HasPassword(given) {
		settings := u.Query()
		for _, secret := range secrets {
			settings.Del(secret)
		}
		u.RawQuery = settings.Encode()
	}
	return u.String()
}

// HasPassword says whether a url has a password in it.
func HasPassword(given string) bool {
	u, err := url.Parse(given)
	if !IsServer(given) || err != nil {
		return false
	}
	_, in := u.User.Password()
	return in || slices.ContainsFunc(secrets, u.Query().Has)
}

// secrets are the settings of a URL that nobody is to see.
var secrets = []string{"password", "sslpassword"}

// WithArtifacts is the url of a server's database whose artifacts are in a directory that all machines see.
func WithArtifacts(given, directory string) (string, error) {
	u, err := parse(given)
	if !IsServer(given) || err != nil {
		return "", fmt.Errorf("%s: its artifacts are beside it; a directory for them is for a server's database", WithoutPassword(given))
	}
	if directory, err = filepath.Abs(directory); err != nil {
		return "", err
	}
	settings := u.Query()
	settings.Set("artifacts", directory)
	u.RawQuery = settings.Encode()
	return u.String(), nil
}

// newPostgres is the database at a url as https://www.postgresql.org/docs/current/libpq-connect.html describes them, with
// one more setting: artifacts, a directory that all machines see.
func newPostgres(given string) (*postgres, error) {
	u, err := parse(given)
	if err != nil { // the error has the password
		return nil, errors.New("database: not a URL; allowed: postgres://USER@HOST/DATABASE")
	}
	d := &postgres{label: label(u), locking: make(chan struct{}, 1)}
	settings := u.Query()
	d.directory = settings.Get("artifacts")
	settings.Del("artifacts")
	u.RawQuery = settings.Encode()
	if d.config, err = pgx.ParseConfig(u.String()); err != nil {
		reason := errors.New("not understood; allowed: postgres://USER@HOST/DATABASE")
		if cause, ok := errors.AsType[*pgconn.ParseConfigError](err); ok && cause.Unwrap() != nil {
			reason = cause.Unwrap()
		}
		return nil, fmt.Errorf("%s: %w", d.label, reason)
	}
	d.config.ConnectTimeout = cmp.Or(d.config.ConnectTimeout, answerTimeout)
	d.config.DialFunc = (&net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control:         giveUp,
	}).DialContext
	for name, value := range map[string]string{
		"application_name": "hrlab",
		// Who is stopped, or cut off, while it writes keeps the others waiting no longer than this.
		"idle_in_transaction_session_timeout": "10s",
		"jit":                                 "off", // compiling a statement takes longer than any of these
		"tcp_keepalives_idle":                 "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", "tcp_user_timeout": "10s",
	} {
		if _, ok := d.config.RuntimeParams[name]; !ok {
			d.config.RuntimeParams[name] = value
		}
	}
	return d, nil
}

// label is a URL without password and settings.
func label(u *url.URL) string {
	l := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil {
		l.User = url.User(u.User.Username())
	}
	return l.String()
}

// giveUp has Linux give a connection up whose peer acknowledges nothing: keep-alive looks at idle ones only.
func giveUp(_, _ string, c syscall.RawConn) error {
	const userTimeout, milliseconds = 18, 10_000 // TCP_USER_TIMEOUT of tcp(7)
	if runtime.GOOS != "linux" {
		return nil
	}
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, milliseconds) //nolint:gosec // a descriptor; sockets of files have no such option
	})
}

func (d *postgres) name() string    { return d.label }
func (d *postgres) writes() pool    { return pool{d.writer, '$', d.again} }
func (d *postgres) reads() pool     { return pool{d.reader, '$', d.again} }
func (d *postgres) readOnly() error { return d.frozen }
func (*postgres) private() bool     { return false }

// open connects, and makes or upgrades the tables.
func (d *postgres) open(ctx context.Context) error {
	const writers, readers = 4, 4 // writers wait for each other anyway
	for db, n := range map[**sql.DB]int{&d.writer: writers, &d.reader: readers} {
		*db = sql.OpenDB(pipelined{stdlib.GetConnector(*d.config)})
		(*db).SetMaxOpenConns(n)
		(*db).SetMaxIdleConns(n)
		(*db).SetConnMaxIdleTime(lostTimeout)
	}
	answering, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	once := func(_ context.Context, f func() error) error { return f() }
	if err := d.ask(answering, pool{d.reader, '$', once}); err != nil {
		if ctx.Err() == nil && answering.Err() != nil {
			return fmt.Errorf("no answer within %v", answerTimeout)
		}
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	var reading, may bool
	if err := d.reader.QueryRowContext(ctx, postgresMayWrite).Scan(&reading, &may); err != nil {
		return err
	}
	if reading {
		d.frozen = errors.New("the server takes no writes: it is a standby, or default_transaction_read_only is on")
	} else if !may {
		d.frozen = fmt.Errorf("role %s may only read", d.config.User)
	}
	return nil
}

func (d *postgres) close() error {
	d.news.close()
	var err error
	for _, db := range []*sql.DB{d.reader, d.writer} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// migrate brings the schema to the newest version, one process at a time.
func (d *postgres) migrate(ctx context.Context) error {
	if newest, err := d.isNewest(ctx); newest || err != nil {
		return err
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if newest, err := d.isNewest(ctx); newest || err != nil { // another process was quicker
		return err
	}
	all, err := postgresMigrations()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, d.writer, nil, goose.WithGoMigrations(all...))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == notPermitted {
		return d.because(err, "role %s may not make or upgrade the tables (%s): their owner does, by hrlab queue status", d.config.User, e.Message)
	}
	return err
}

func (d *postgres) isNewest(ctx context.Context) (bool, error) {
	var schema string
	var tables, ours int64
	if err := d.reader.QueryRowContext(ctx, postgresTables).Scan(&schema, &tables, &ours); err != nil {
		return false, err
	}
	switch {
	case schema == "":
		return false, fmt.Errorf("there is no schema %s: CREATE SCHEMA makes it", cmp.Or(d.config.RuntimeParams["search_path"], "public"))
	case tables > 0 && ours == 0:
		return false, errors.New("a database of another program: name another database, or another schema with ?search_path=NAME")
	case ours == 0:
		return false, nil
	}
	return isNewest(ctx, d.reads())
}

// postgresMigrations are those of the directory migration, in PostgreSQL's words. Texts are compared and sorted byte by byte, as
// in SQLite, whatever the collation of the database is.
func postgresMigrations() (all []*goose.Migration, err error) {
	words := strings.NewReplacer("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
		" WITHOUT ROWID", "", " TEXT", ` TEXT COLLATE "C"`)
	files, err := fs.Glob(migrations, "migration/*.sql")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return nil, err
		}
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, err
		}
		statements := words.Replace(string(text))
		switch version {
		case 1:
			statements += postgresContent + postgresTokens
		case 5:
			statements += postgresParams
		}
		all = append(all, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, t *sql.Tx) error {
			_, err := t.ExecContext(ctx, statements)
			return err
		}}, nil))
	}
	return all, nil
}

// lock takes an advisory lock, which the server releases when the connection ends.
func (d *postgres) lock(ctx context.Context) (unlock func(), err error) {
	defer telling(ctx, d.label)()
	select { // so that those of this process who wait do not take all connections
	case d.locking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	leave := func() { <-d.locking }
	c, err := d.writer.Conn(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	if _, err := c.ExecContext(ctx, postgresLock); err != nil {
		discard(c)
		leave()
		return nil, err
	}
	return func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
		defer cancel()
		if _, err := c.ExecContext(ending, postgresUnlock); err != nil {
			discard(c)
		}
		_ = c.Close() // gives it back to the pool
		leave()
	}, nil
}

// discard closes a connection, with all that the server holds for it.
func discard(c *sql.Conn) { _ = c.Raw(func(any) error { return driver.ErrBadConn }) }

// begin waits for a server that is gone, too.
func (d *postgres) begin(ctx context.Context) (transaction, error) {
	var t transaction
	err := d.again(ctx, func() (err error) {
		b := &beginning{ctx: ctx, token: rand.Text()}
		if t.Tx, err = begin(context.WithValue(ctx, beginningKey{}, b), d.writer); err != nil {
			return err
		}
		t.token = b.token
		if d.begun.Add(1)%forgetEvery == 0 {
			if _, err = t.ExecContext(deferred(context.WithoutCancel(ctx)), postgresForget, b.now-(5*lostTimeout).Microseconds()); err != nil {
				return errors.Join(err, t.Rollback())
			}
		}
		d.set(b.now)
		return nil
	})
	return t, err
}

// again calls f until the server is there, for up to two minutes. It tells that it waits.
func (d *postgres) again(ctx context.Context, f func() error) error {
	const pause = 500 * time.Millisecond
	first := time.Now()
	told := false
	for {
		err := f()
		switch {
		case isGone(err) && ctx.Err() != nil:
			return ctx.Err() // who asks again is told once
		case !isGone(err) || time.Since(first) > lostTimeout:
			if told {
				Tell(ctx, "")
			}
			return err
		}
		Tell(ctx, "waiting for "+d.explain(err).Error())
		told = true
		if err := system.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// commit commits. Where the server goes meanwhile it is asked later whether it has.
func (d *postgres) commit(ctx context.Context, t transaction) error {
	err := t.Commit()
	if !isGone(err) {
		return err
	}
	was, asked := d.committed(ctx, t)
	if was {
		return nil
	}
	return errors.Join(err, asked)
}

// committed says whether a transaction whose connection is gone was committed.
func (d *postgres) committed(ctx context.Context, t transaction) (was bool, err error) {
	err = d.again(ctx, func() error {
		asking, err := d.writer.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer asking.Rollback() //nolint:errcheck // nothing is to stay
		result, err := asking.ExecContext(ctx, postgresCommitted, t.token)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		was = n == 0
		return err
	})
	return was && err == nil, err
}

// isGone says whether an error is that the server is not there, or not any more. A transaction that it ends was not committed,
// unless it was about to be.
func isGone(err error) bool {
	if err == nil {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code { // https://www.postgresql.org/docs/current/errcodes-appendix.html
		case "57P01", "57P02", "57P03", "25P03": // shut down, crashed, not yet up; idle within a transaction
			return true
		}
		return strings.HasPrefix(e.Code, "08")
	}
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting { // in the time that it had
		return true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (d *postgres) view(ctx context.Context) (*sql.Tx, error) {
	var t *sql.Tx
	err := d.again(ctx, func() (err error) {
		t, err = d.reader.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		return err
	})
	return t, err
}

// now is the server's time, as it was at the last look, and what has passed here since.
func (d *postgres) now(clock) (t time.Time, shared bool) {
	return time.UnixMicro(d.ahead.Load() + system.steady().Microseconds()), true
}

func (d *postgres) set(now int64) { d.ahead.Store(now - system.steady().Microseconds()) }

func (d *postgres) sync(ctx context.Context) error { return d.ask(ctx, d.reads()) }

// ask asks for the time.
func (d *postgres) ask(ctx context.Context, q pool) error {
	var now, since int64
	err := q.QueryRowContext(ctx, postgresNow).Scan(&now, &since)
	if err == nil {
		d.set(now)
		d.started.Store(since)
	}
	return err
}

func (d *postgres) upSince() time.Time { return time.UnixMicro(d.started.Load()) }

func (d *postgres) artifacts(s *Store) files {
	if d.directory != "" {
		return directory{path: d.directory, frozen: d.frozen != nil}
	}
	return contents{s}
}

// A server has its own tools for these.
func (*postgres) integrity(context.Context) ([]Finding, error) { return nil, nil }
func (*postgres) compact(context.Context) error                { return nil }
func (*postgres) size() int64                                  { return 0 }

// news tells what the server notifies about.
type news struct {
	mu   sync.Mutex
	told chan struct{}      // closed at the next notification
	end  context.CancelFunc // ends the connection that listens; nil before the first call
}

// changes is closed when a transaction was committed that writes. The first call begins to listen.
func (d *postgres) changes(ctx context.Context) <-chan struct{} {
	d.news.mu.Lock()
	defer d.news.mu.Unlock()
	if d.news.told == nil {
		d.news.told = make(chan struct{})
		ctx, d.news.end = context.WithCancel(context.WithoutCancel(ctx))
		go d.listen(ctx)
	}
	return d.news.told
}

// tell closes the channel of those who wait. They look, and wait at another one.
func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.told)
	n.told = make(chan struct{})
}

func (n *news) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.end != nil {
		n.end()
	}
}

// listen waits for notifications until ctx is done. Where the connection ends it makes another.
func (d *postgres) listen(ctx context.Context) {
	const pause = time.Second
	for ctx.Err() == nil {
		if c, err := pgx.ConnectConfig(ctx, d.config.Copy()); err == nil {
			_, err = c.Exec(ctx, postgresListen)
			for err == nil {
				d.news.tell() // at first, of what has changed before
				_, err = c.WaitForNotification(ctx)
			}
			_ = c.Close(context.WithoutCancel(ctx))
		}
		_ = system.sleep(ctx, pause)
	}
}

// explain turns an error of the server or of the network into one line that names the database.
func (d *postgres) explain(err error) error {
	if strings.HasPrefix(err.Error(), d.label+": ") {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code { // https://www.postgresql.org/docs/current/errcodes-appendix.html
		case "28P01", "28000":
			return d.because(err, "the server refuses user %s: %s; passwords are in ~/.pgpass (PGPASSFILE) or PGPASSWORD", d.config.User, e.Message)
		case "3D000":
			return d.because(err, "there is no database %s: createdb makes it", cmp.Or(d.config.Database, d.config.User))
		case notPermitted:
			return d.because(err, "%s: roles.sql in docs says what a role needs", e.Message)
		case "54000":
			return d.because(err, "a name is too long; allowed: 2000 bytes: %s", e.Message)
		case "53100":
			return d.because(err, "the server's disk is full; nothing of the last write was kept")
		case "53300":
			return d.because(err, "%s: raise the server's max_connections", e.Message)
		}
		return d.because(err, "%s (SQLSTATE %s)", e.Message, e.Code)
	}
	if e, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		if dial, ok := errors.AsType[*net.OpError](e); ok {
			return d.because(err, "cannot be reached: %s", dial)
		}
		if dns, ok := errors.AsType[*net.DNSError](e); ok {
			return d.because(err, "cannot be reached: %s", dns)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return d.because(err, "no answer within %v", d.config.ConnectTimeout)
		}
		text := strings.TrimSpace(e.Error())
		return d.because(err, "cannot be reached: %s", text[strings.LastIndex(text, "\n")+1:])
	}
	if isGone(err) {
		return d.because(err, "the server is gone: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return fmt.Errorf("%s: %w", d.label, err)
}

// because says in other words what err is.
func (d *postgres) because(err error, format string, args ...any) error {
	return explained{d.label + ": " + fmt.Sprintf(format, args...), err}
}

// explained is an error in other words.
type explained struct {
	text string
	err  error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.err }
