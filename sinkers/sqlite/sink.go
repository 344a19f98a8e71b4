package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/gofrs/flock"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Sink stores events in one SQLite file. Its methods may be called concurrently; writes take turns. Get one
// from [Open].
type Sink struct {
	cfg Config

	writer        *sql.DB // one connection; nil when read-only
	insertChunk   *sql.Stmt
	insertOne     *sql.Stmt
	insertGuarded *sql.Stmt
	selectHash    *sql.Stmt

	readers *sql.DB
	lock    *flock.Flock // nil when read-only or beside another

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
	s := &Sink{cfg: cfg, calls: backend.NewCalls(ErrClosed)}
	s.closeErr = sync.OnceValue(s.close)
	return s
}

// begin is called first by every method. The context it returns also ends when the Sink is closed;
// end must be called when the method is through with the database.
func (s *Sink) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	ctx, end, err = s.calls.Begin(ctx)
	switch {
	case errors.Is(err, ErrClosed):
		err = fmt.Errorf("sqlite: %s: %w", s.cfg.Path, err)
	case err != nil:
		err = fmt.Errorf("sqlite: %w", err)
	}
	return ctx, end, err
}

// beginWrite is begin for the methods that write.
func (s *Sink) beginWrite(ctx context.Context) (context.Context, func(), error) {
	if s.cfg.ReadOnly {
		return nil, nil, fmt.Errorf("sqlite: %s: %w", s.cfg.Path, ErrReadOnly)
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	done := s.takeTurn()
	return ctx, func() {
		done()
		end()
	}, nil
}

// beginStore is begin for the one method that stores events.
func (s *Sink) beginStore(ctx context.Context) (context.Context, func(), error) {
	if s.cfg.Beside {
		return nil, nil, fmt.Errorf("sqlite: %s: %w", s.cfg.Path, ErrBeside)
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
	return fmt.Errorf("sqlite: %s: %w", op, err)
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

// Close implements sinkers.Sinker. It cuts off what is going on, whose writes then store nothing; moves
// what is in SQLite's write-ahead log to the database; and gives up the lock.
func (s *Sink) Close() error { return s.closeErr() }

func (s *Sink) close() error {
	s.calls.Close()

	var errs []error
	for _, stmt := range []*sql.Stmt{s.insertChunk, s.insertOne, s.insertGuarded, s.selectHash} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil { // last, so that its end is the one that empties the write-ahead log
		errs = append(errs, s.writer.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sqlite: %s: close: %w", s.cfg.Path, err)
	}
	return nil
}
