package tracker

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"strings"
	"time"
)

// database is what a store keeps runs in: a file (sqlite.go) or a server (postgres.go). Only these files know which of
// both it is; everything else speaks the SQL that they share (sql.go).
type database interface {
	name() string // as messages call it; without a password
	open(ctx context.Context) error
	close() error

	writes() pool // for packages with tables of their own, and for begin
	reads() pool

	// begin begins a transaction that writes. It waits for other writers as long as ctx lasts.
	begin(ctx context.Context) (transaction, error)
	commit(ctx context.Context, t transaction) error
	// again calls f, and again where the database went away meanwhile: f has changed nothing then.
	again(ctx context.Context, f func() error) error
	// view begins a transaction that sees the database as it is at one moment. No writer waits for it.
	view(ctx context.Context) (*sql.Tx, error)
	// lock takes the lock under which tables are made, alone.
	lock(ctx context.Context) (unlock func(), err error)

	readOnly() error // why it cannot be written; nil where it can
	private() bool   // what is read is a copy of this process, which it can write

	artifacts(s *Store) files
	// now is the time of day, where c tells it on this machine. shared says whether it is that of all who write the database.
	now(c clock) (t time.Time, shared bool)
	sync(ctx context.Context) error // asks for the time
	upSince() time.Time             // since when beats can be written, as of the last sync
	// changes is a channel that is closed when something may have changed since the call.
	changes(ctx context.Context) <-chan struct{}

	integrity(ctx context.Context) ([]Finding, error) // what is wrong with the database itself
	size() int64                                      // bytes that compact can give back
	compact(ctx context.Context) error                // gives the space of what was removed back to the system
	explain(err error) error                          // says in one line what is wrong, and with which database
}

// transaction is one that writes, and by what a server knows it again; empty for a file.
type transaction struct {
	*sql.Tx
	token string
}

// dialect is the sign before the number of a parameter: $ as in sql.go, or another.
type dialect byte

// bind numbers parameters as the database wants them.
func (d dialect) bind(statement string) string {
	if d == '$' {
		return statement
	}
	return strings.ReplaceAll(statement, "$", string(d))
}

// counts says whether every transaction is counted as a change when it begins: see postgresBegin.
func (d dialect) counts() bool { return d == '$' }

// pool holds connections. Its queries wait for a database that went away.
type pool struct {
	*sql.DB
	dialect
	again func(ctx context.Context, f func() error) error // see database
}

// QueryContext is [sql.DB.QueryContext].
func (p pool) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	err = p.again(ctx, func() (err error) {
		rows, err = p.DB.QueryContext(ctx, query, args...)
		return err
	})
	return rows, err
}

// QueryRowContext is [sql.DB.QueryRowContext].
func (p pool) QueryRowContext(ctx context.Context, query string, args ...any) (row *sql.Row) {
	_ = p.again(ctx, func() error {
		row = p.DB.QueryRowContext(ctx, query, args...)
		return row.Err()
	}) // the row has the error
	return row
}

// view is a transaction that reads.
type view struct {
	*sql.Tx
	dialect
}

//go:embed migration/*.sql
var migrations embed.FS

// schema is the version that the newest migration makes.
const schema = 5

// isNewest says whether the tables are those of the newest schema. It is an error if they are newer.
func isNewest(ctx context.Context, q querier) (bool, error) {
	var version int64
	err := value(ctx, q, []any{&version}, sqlVersion)
	if version > schema {
		err = fmt.Errorf("made by a newer hrlab (schema %d, this one knows %d): update hrlab", version, schema)
	}
	return version == schema, err
}

// begin begins a transaction, which does not end with ctx. The driver may be unable to be interrupted while it waits, so
// that a goroutine does the waiting.
func begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		t   *sql.Tx
		err error
	}
	begun := make(chan result)
	go func() {
		t, err := db.BeginTx(context.WithoutCancel(ctx), nil)
		select {
		case begun <- result{t, err}:
		case <-ctx.Done():
			if err == nil {
				_ = t.Rollback() // nothing was written
			}
		}
	}()
	select {
	case b := <-begun:
		return b.t, b.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
