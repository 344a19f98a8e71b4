package libsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	client "github.com/tursodatabase/libsql-client-go/libsql"
)

// remote is what a Sink asks of a client library's connection: a statement, with or without rows. One goroutine at
// a time uses it.
type remote interface {
	driver.ExecerContext
	driver.QueryerContext
	Close() error
}

// connector makes the connections of a database/sql pool. This file is all that knows the client library.
type connector struct {
	cfg  Config
	dial func(cfg Config, token string) (remote, error)
}

func newDB(cfg Config, connections int) *sql.DB {
	db := sql.OpenDB(connector{cfg, dial})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

func dial(cfg Config, token string) (remote, error) {
	var options []client.Option
	if token != "" {
		options = append(options, client.WithAuthToken(token))
	}
	if cfg.Proxy != "" {
		options = append(options, client.WithProxy(cfg.Proxy))
	}
	c, err := client.NewConnector(cfg.URL, options...)
	if err != nil {
		return nil, err
	}
	opened, err := c.Connect(context.Background()) // which it doesn't look at
	if err != nil {
		return nil, err
	}
	return opened.(remote), nil
}

// Connect implements driver.Connector. Over WebSocket the library gives up after two minutes and can't be told to
// do so earlier: when ctx ends first, whatever becomes of it is closed.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	token, err := c.cfg.token()
	if err != nil {
		return nil, err
	}
	cn := &conn{timeout: c.cfg.Timeout, webSocket: c.cfg.webSocket(), used: time.Now()}
	if !cn.webSocket { // nothing is sent yet
		cn.remote, err = c.dial(c.cfg, token)
		return cn, explain(err, "")
	}
	ctx, cancel := deadline(ctx, c.cfg.Timeout)
	defer cancel()
	type result struct {
		remote remote
		err    error
	}
	done := make(chan result)
	go func() {
		var r result
		r.err = guard(func() (err error) { r.remote, err = c.dial(c.cfg, token); return err })
		select {
		case done <- r:
		case <-ctx.Done():
			if r.remote != nil {
				_ = r.remote.Close()
			}
		}
	}()
	select {
	case r := <-done:
		cn.remote = r.remote
		return cn, explain(r.err, "")
	case <-ctx.Done():
		return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
	}
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return client.Driver{} }

func deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// guard makes an error of a panic: the library takes apart what the server says by type assertions.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the server's answer isn't understood: %v", p)
		}
	}()
	return f()
}

// conn is a connection that database/sql manages. It has no ResetSession of the library's, which sends a request in a
// goroutine of its own before each use.
type conn struct {
	remote    remote
	timeout   time.Duration
	webSocket bool
	used      time.Time
	broken    bool
}

var (
	_ driver.ExecerContext   = (*conn)(nil)
	_ driver.QueryerContext  = (*conn)(nil)
	_ driver.ConnBeginTx     = (*conn)(nil)
	_ driver.SessionResetter = (*conn)(nil)
	_ driver.Validator       = (*conn)(nil)
)

// streamIdle is how long a stream over HTTP is used again. The server ends it after 10 s.
const streamIdle = 8 * time.Second

// call runs one request, within the deadline, and notes what became of the connection.
func (c *conn) call(ctx context.Context, statement string, f func(context.Context) error) error {
	ctx, cancel := deadline(ctx, c.timeout)
	defer cancel()
	err := guard(func() error { return f(ctx) })
	c.used = time.Now()
	if err == nil {
		return nil
	}
	said := explain(err, statement)
	c.broken = !fromDatabase(said.Error())
	if ctx.Err() != nil {
		return &clientError{text: said.Error(), err: context.Cause(ctx)} // and not what it made of that
	}
	return said
}

// ExecContext implements driver.ExecerContext.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.call(ctx, query, func(ctx context.Context) (err error) {
		r, err = c.remote.ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

// QueryContext implements driver.QueryerContext. All rows are there when it returns.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.call(ctx, query, func(ctx context.Context) (err error) {
		r, err = c.remote.QueryContext(ctx, query, args)
		return err
	})
	return r, err
}

// BeginTx implements driver.ConnBeginTx with a transaction that has the server's write lock from the beginning.
func (c *conn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	_, err := c.ExecContext(ctx, "BEGIN IMMEDIATE", nil)
	return tx{c, ctx}, err
}

// tx ends a transaction within a deadline, which the library's own has not.
type tx struct {
	*conn
	ctx context.Context
}

func (t tx) Commit() error {
	_, err := t.ExecContext(context.WithoutCancel(t.ctx), "COMMIT", nil)
	return err
}

// Rollback tries to: the server rolls back by itself what it hears no more of.
func (t tx) Rollback() error {
	if t.broken {
		return driver.ErrBadConn
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Second)
	defer cancel()
	_, err := t.ExecContext(ctx, "ROLLBACK", nil)
	return err
}

// ResetSession implements driver.SessionResetter: it is asked before a connection is used again.
func (c *conn) ResetSession(context.Context) error {
	if c.stale() {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid implements driver.Validator: it is asked when a connection is given back.
func (c *conn) IsValid() bool { return !c.broken }

// Close implements driver.Conn. A server has room for some hundred streams, so one that it would keep for a while is
// ended. Over HTTP the library sends the request for that in a goroutine that nobody can wait for: none is sent for a
// stream that has ended by itself, or to a server that didn't answer the last one.
func (c *conn) Close() error {
	if c.webSocket || !c.stale() {
		_ = c.remote.Close() // it says how the other end took it
	}
	return nil
}

// stale says that the connection is not to be used again.
func (c *conn) stale() bool {
	return c.broken || !c.webSocket && time.Since(c.used) > streamIdle
}

// Prepare implements driver.Conn.
func (c *conn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("statements aren't prepared here")
}

// Begin implements driver.Conn.
func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }
