package tracker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// tx is a transaction that writes.
type tx struct {
	ctx context.Context
	*sql.Tx
	dialect
}

// within is a transaction of [Store.DB] that somebody else began.
func (s *Store) within(ctx context.Context, t *sql.Tx) tx { return tx{ctx, t, s.db.writes().dialect} }

// write runs f in a transaction, which is not interrupted once it has begun: it is short, and a caller that is being
// stopped still wants its last step recorded.
func (s *Store) write(ctx context.Context, f func(t tx) error) error {
	if err := s.ReadOnly(); err != nil {
		return err
	}
	return s.transact(ctx, f)
}

// transact is write, also in the private copy of a database that cannot be written.
func (s *Store) transact(ctx context.Context, f func(t tx) error) error {
	t, err := s.db.begin(ctx)
	if err != nil {
		return s.plain(err)
	}
	defer t.Rollback() //nolint:errcheck // for an f that panics; otherwise the transaction has ended
	ctx = context.WithoutCancel(ctx)
	if err := f(s.within(ctx, t.Tx)); err != nil {
		return s.plain(errors.Join(err, t.Rollback()))
	}
	return s.plain(s.db.commit(ctx, t))
}

// view begins a transaction that sees the database as it is at one moment.
func (s *Store) view(ctx context.Context) (view, error) {
	t, err := s.db.view(ctx)
	return view{t, s.db.reads().dialect}, err
}

// now is the time of day: the server's, where there is one.
func (s *Store) now() time.Time {
	t, _ := s.db.now(s.clock)
	return t
}

// nextChange counts a change, once in a transaction at least.
func (t tx) nextChange() error {
	if t.counts() {
		return nil
	}
	return t.all(nil, sqlNextChange)
}

// exec executes a statement and returns the number of rows it changed.
func (t tx) exec(sql string, args ...any) (int64, error) {
	result, err := t.ExecContext(t.ctx, t.bind(sql), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// later executes a statement whose result does not matter, before the next one whose result does, or the commit: see pipelined.
func (t tx) later(sql string, args ...any) error {
	_, err := t.ExecContext(deferred(t.ctx), t.bind(sql), args...)
	return err
}

// all executes statements that all have the parameters args, as later does.
func (t tx) all(args []any, statements ...string) error {
	for _, statement := range statements {
		if err := t.later(statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// insert inserts rows.
func (t tx) insert(format string, rows [][]any) error {
	for statement, args := range inserts(format, rows) {
		if err := t.later(statement, args...); err != nil {
			return err
		}
	}
	return nil
}

// ofRuns executes a statement whose parameters are args and then a list of runs, and returns the runs that it returns.
func (t tx) ofRuns(statement string, args []any, runs []int64) (returned []int64, err error) {
	for chunk := range slices.Chunk(runs, maxRows) {
		values := slices.Clone(args)
		for _, id := range chunk {
			values = append(values, id)
		}
		ids, err := column(t.ctx, t, fmt.Sprintf(statement, list(len(args)+1, len(chunk))), values)
		if err != nil {
			return nil, err
		}
		returned = append(returned, ids...)
	}
	return returned, nil
}

// value reads a row into dest.
func (t tx) value(dest []any, sql string, args ...any) error {
	return value(t.ctx, t, dest, sql, args...)
}

// querier is a connection or a transaction, and how it numbers parameters.
type querier interface {
	bind(statement string) string
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// value reads the one row of a query into dest, or returns [sql.ErrNoRows].
func value(ctx context.Context, q querier, dest []any, query string, args ...any) error {
	return q.QueryRowContext(ctx, q.bind(query), args...).Scan(dest...)
}

// each reads the rows of a query.
func each(ctx context.Context, q querier, query string, args []any, row func(scan func(dest ...any) error) error) error {
	result, err := q.QueryContext(ctx, q.bind(query), args...)
	if err != nil {
		return err
	}
	defer result.Close() //nolint:errcheck // Err says what went wrong
	for result.Next() {
		if err := row(result.Scan); err != nil {
			return err
		}
	}
	return result.Err()
}

// column reads a query's one column of ids.
func column(ctx context.Context, q querier, query string, args []any) (ids []int64, err error) {
	err = each(ctx, q, query, args, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// plain says in one line what is wrong, and with which database.
func (s *Store) plain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, ErrTaken) || errors.Is(err, ErrNotFound) {
		return err
	}
	return s.db.explain(err)
}

// clean makes text valid UTF-8 without NUL bytes, which every database can store.
func clean(s string) string {
	const replacement = "\uFFFD"
	return strings.ReplaceAll(strings.ToValidUTF8(s, replacement), "\x00", replacement)
}

// micros is a time as the database stores it: microseconds since 1970.
func micros(t time.Time) int64 { return t.UnixMicro() }

// timeOrNull is micros, and NULL for the zero time.
func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}

// instant is the time that the database has stored; NULL is the zero time.
func instant(t sql.NullInt64) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return time.UnixMicro(t.Int64).UTC()
}

// fromNull is NaN for NULL: SQLite stores no NaN.
func fromNull(v sql.NullFloat64) float64 {
	if !v.Valid {
		return math.NaN()
	}
	return v.Float64
}

// null is NULL for NaN, as fromNull reads it.
func null(v float64) sql.NullFloat64 { return sql.NullFloat64{Float64: v, Valid: !math.IsNaN(v)} }
