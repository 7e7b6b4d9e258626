package tracker

import (
	"context"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// pipelined are connections to a server on which a transaction that writes waits for few answers. It begins in one, and what it
// executes later (see deferred) goes with the next query or with the commit. An error of that is theirs.
type pipelined struct{ driver.Connector }

func (p pipelined) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &pipeline{Conn: c.(*stdlib.Conn), waiting: &pgx.Batch{}}, nil
}

// pipeline is such a connection.
type pipeline struct {
	*stdlib.Conn
	waiting *pgx.Batch // to be sent
}

// beginning is what a transaction that writes begins with, and the server's time.
type beginning struct {
	ctx   context.Context // in which it waits for other writers
	token string
	now   int64
}

type (
	beginningKey struct{}
	deferredKey  struct{}
)

// deferred has a statement executed with the next query or the commit. Its parameters must not be changed meanwhile.
func deferred(ctx context.Context) context.Context {
	return context.WithValue(ctx, deferredKey{}, true)
}

func (c *pipeline) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	c.waiting = &pgx.Batch{}
	b, writes := ctx.Value(beginningKey{}).(*beginning)
	if !writes {
		return c.Conn.BeginTx(ctx, options)
	}
	if c.Conn.Conn().IsClosed() {
		return nil, driver.ErrBadConn
	}
	c.waiting.Queue("BEGIN")
	c.waiting.Queue(postgresBegin, b.token).QueryRow(func(row pgx.Row) error { return row.Scan(&b.now, nil) })
	if err := c.flush(b.ctx); err != nil {
		return nil, c.end(ctx, err)
	}
	return pipelinedTx{c, ctx}, nil
}

// flush sends what is waiting.
func (c *pipeline) flush(ctx context.Context) error {
	if c.waiting.Len() == 0 {
		return nil
	}
	batch := c.waiting
	c.waiting = &pgx.Batch{}
	return c.Conn.Conn().SendBatch(ctx, batch).Close()
}

// end closes the connection of a transaction that an error has ended, unless the server has ended it too.
func (c *pipeline) end(ctx context.Context, err error) error {
	if err != nil && c.Conn.Conn().PgConn().TxStatus() != 'I' {
		_ = c.Conn.Conn().Close(context.WithoutCancel(ctx)) // there is an error to return already
	}
	return err
}

func (c *pipeline) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	const atOnce = 16
	if ctx.Value(deferredKey{}) == nil {
		if err := c.flush(ctx); err != nil {
			return nil, err
		}
		return c.Conn.ExecContext(ctx, query, args)
	}
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg.Value
	}
	c.waiting.Queue(query, values...)
	if c.waiting.Len() < atOnce {
		return driver.ResultNoRows, nil
	}
	return driver.ResultNoRows, c.flush(ctx)
}

func (c *pipeline) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.flush(ctx); err != nil {
		return nil, err
	}
	return c.Conn.QueryContext(ctx, query, args)
}

// pipelinedTx is a transaction that writes.
type pipelinedTx struct {
	*pipeline
	ctx context.Context
}

func (t pipelinedTx) Commit() error {
	t.waiting.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() == "ROLLBACK" {
			return pgx.ErrTxCommitRollback
		}
		return nil
	})
	return t.end(t.ctx, t.flush(t.ctx))
}

func (t pipelinedTx) Rollback() error {
	t.waiting = &pgx.Batch{}
	_, err := t.Conn.Conn().Exec(t.ctx, "ROLLBACK")
	return t.end(t.ctx, err)
}
