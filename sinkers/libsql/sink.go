package libsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Sink stores events in one libSQL database. Its methods may be called concurrently; writes take turns. Get one
// from [Open].
type Sink struct {
	cfg    Config
	insert string // the statement

	turn    chan struct{} // has an element while somebody writes: this Sink never has two statements that do
	writer  *sql.DB       // one connection; nil when read-only
	readers *sql.DB
	lease   *lease // nil without

	scanKeeps int // positions that a scan puts in order at a time

	calls    *backend.Calls
	closeErr func() error
}

var (
	_ sinkers.Sinker       = (*Sink)(nil)
	_ sinkers.Pruner       = (*Sink)(nil)
	_ sinkers.Eraser       = (*Sink)(nil)
	_ sinkers.Ledger       = (*Sink)(nil)
	_ sinkers.Scanner      = (*Sink)(nil)
	_ sinkers.Prober       = (*Sink)(nil)
	_ sinkers.TenantLister = (*Sink)(nil)
)

func newSink(cfg Config) *Sink {
	s := &Sink{cfg: cfg, calls: backend.NewCalls(ErrClosed), turn: make(chan struct{}, 1), scanKeeps: defaultScanKeeps}
	s.closeErr = sync.OnceValue(s.close)
	return s
}

// begin is called first by every method. The context it returns also ends when the Sink is closed;
// end must be called when the method is through with the database.
func (s *Sink) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	ctx, end, err = s.calls.Begin(ctx)
	switch {
	case errors.Is(err, ErrClosed):
		err = fmt.Errorf("libsql: %s: %w", s.cfg.URL, err)
	case err != nil:
		err = fmt.Errorf("libsql: %w", err)
	}
	return ctx, end, err
}

// beginWrite is begin for the methods that write. They take turns.
func (s *Sink) beginWrite(ctx context.Context) (context.Context, func(), error) {
	if s.cfg.ReadOnly {
		return nil, nil, fmt.Errorf("libsql: %s: %w", s.cfg.URL, ErrReadOnly)
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.takeTurn(ctx); err != nil {
		end()
		return nil, nil, fmt.Errorf("libsql: waiting for another write: %w", err)
	}
	return ctx, func() {
		s.endTurn()
		end()
	}, nil
}

func (s *Sink) takeTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Sink) endTurn() { <-s.turn }

// beginStore is beginWrite for the one method that stores events.
func (s *Sink) beginStore(ctx context.Context) (context.Context, func(), error) {
	if s.cfg.Beside {
		return nil, nil, fmt.Errorf("libsql: %s: %w", s.cfg.URL, ErrBeside)
	}
	if s.lease != nil && s.lease.lost.Load() {
		return nil, nil, fmt.Errorf("libsql: %s: %w", s.cfg.URL, ErrLeaseLost)
	}
	return s.beginWrite(ctx)
}

// fail says which operation failed, sorts the error into its kind, and puts the context's own error in the
// place of whatever its end made of the operation.
func (s *Sink) fail(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = sorted(err)
	}
	return fmt.Errorf("libsql: %s: %w", op, err)
}

// Ping implements sinkers.Sinker. It reads the schema's version, and fails when a newer program has
// migrated the database in the meantime.
func (s *Sink) Ping(ctx context.Context) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return s.fail(ctx, "ping", sqlstore.CheckVersion(ctx, s.readers))
}

// Close implements sinkers.Sinker. It cuts off what is going on, but waits for [Grace] for the answer to what a
// Write has sent, and gives up the lease.
func (s *Sink) Close() error { return s.closeErr() }

func (s *Sink) close() error {
	s.calls.Close()

	if s.lease != nil {
		s.lease.end()
	}
	var errs []error
	for _, db := range []*sql.DB{s.readers, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("libsql: %s: close: %w", s.cfg.URL, err)
	}
	return nil
}
