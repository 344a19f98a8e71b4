package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// Sink stores events in a ClickHouse database. Its methods may be called concurrently; writes take turns. Get
// one from [Open].
type Sink struct {
	cfg     Config
	conn    driver.Conn // all but the inserts of events
	inserts driver.Conn // a single connection
	wire    wire        // below it, over the native protocol
	http    transport
	inOrder string // has a statement group in the order of the key, in bounded memory; empty where the user may set nothing

	turn    chan struct{} // holds one token: whoever writes has it, and what follows, up to lucky
	texts   []values      // of the rows of a write
	order   keyOrder      // of these
	chosen  []int         // which of them are to be stored, in that order
	columns columns

	blockRows int // what the constant says, but in tests

	lucky  bool                   // none of the last write's rows was there, or refused
	graves atomic.Pointer[graves] // as read last
	outage atomic.Pointer[error]  // why the last write failed, where it was the server's fault beyond doubt; until a probe has said so

	calls    *backend.Calls
	closeErr func() error
}

var (
	_ sinkers.Sinker         = (*Sink)(nil)
	_ sinkers.Pruner         = (*Sink)(nil)
	_ sinkers.Scanner        = (*Sink)(nil)
	_ sinkers.Prober         = (*Sink)(nil)
	_ sinkers.TenantLister   = (*Sink)(nil)
	_ sinkers.Shared         = (*Sink)(nil)
	_ sinkers.Eraser         = (*Sink)(nil)
	_ sinkers.Ledger         = (*Sink)(nil)
	_ sinkers.ConflictFinder = (*Sink)(nil)
)

func newSink(cfg Config) *Sink {
	s := &Sink{cfg: cfg, inOrder: " SETTINGS optimize_aggregation_in_order = 1", calls: backend.NewCalls(ErrClosed), turn: make(chan struct{}, 1), blockRows: blockRows}
	s.turn <- struct{}{}
	s.closeErr = sync.OnceValue(s.close)
	return s
}

// begin is called first by every method. The context it returns also ends when the Sink is closed;
// end must be called when the method is through with the database.
func (s *Sink) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	ctx, end, err = s.calls.Begin(ctx)
	switch {
	case errors.Is(err, ErrClosed):
		err = fmt.Errorf("clickhouse: %s: %w", s.name(), err)
	case err != nil:
		err = fmt.Errorf("clickhouse: %w", err)
	case s.cfg.ReadOnly:
		ctx = timeless{ctx}
	}
	return ctx, end, err
}

// beginWrite is begin for the methods that write.
func (s *Sink) beginWrite(ctx context.Context) (context.Context, func(), error) {
	if s.cfg.ReadOnly {
		return nil, nil, fmt.Errorf("clickhouse: %s: %w", s.name(), ErrReadOnly)
	}
	return s.begin(ctx)
}

// onlyShared is why there can't be a ClickHouse database for each tenant.
const onlyShared = "thousands of tenants would be thousands of tables, each with parts of its own to merge for every few rows; " +
	"let all tenants share one, which is kept in the order of tenants, or give each a SQLite or libSQL database"

// Shared implements sinkers.Shared.
func (s *Sink) Shared() string { return onlyShared }

// takeTurn waits until nobody else writes. The turn ends by the function it returns.
func (s *Sink) takeTurn(ctx context.Context) (end func(), err error) {
	select {
	case <-s.turn:
		return func() { s.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fail says which operation failed, sorts the error into its kind, and puts the context's own error in the
// place of whatever its end made of the operation.
func (s *Sink) fail(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case pastDeadline(ctx) && errors.Is(err, os.ErrDeadlineExceeded): // the connection's, which is a moment ahead
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	default:
		err = sorted(err)
	}
	return fmt.Errorf("clickhouse: %s: %s: %w", s.name(), op, err)
}

func pastDeadline(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// name says which database it is, without the password.
func (s *Sink) name() string { return strings.Join(s.cfg.Addrs, ",") + "/" + s.cfg.Database }

// Ping implements sinkers.Sinker. It reads the schema's version, and fails when a newer program has
// migrated the database in the meantime.
func (s *Sink) Ping(ctx context.Context) error {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return s.fail(ctx, "ping", s.checkVersion(ctx))
}

// Close implements sinkers.Sinker. It cuts off what is going on.
func (s *Sink) Close() error { return s.closeErr() }

func (s *Sink) close() error {
	s.calls.Close()
	defer s.http.close()
	if err := errors.Join(s.inserts.Close(), s.conn.Close()); err != nil {
		return fmt.Errorf("clickhouse: %s: close: %w", s.name(), err)
	}
	return nil
}
