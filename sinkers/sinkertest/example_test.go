package sinkertest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// table is the least that a Sink must do: one table, keyed by tenant and id, in which the first row stays.
type table struct {
	mu     sync.Mutex
	rows   map[tableKey]sinkers.Row
	closed bool
}

type tableKey struct {
	tenant string
	id     firetrail.ID
}

// Write implements sinkers.Sinker: all of the batch or, where a row is unfit, none, with the rows at fault by index.
func (t *table) Write(ctx context.Context, b sinkers.Batch) (res sinkers.Result, err error) {
	var bad sinkers.BatchError
	for i := range b.Rows {
		if err := b.Rows[i].Validate(); err != nil {
			bad.Rows = append(bad.Rows, sinkers.RowError{Index: i, Err: err})
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return res, errors.New("table: closed") // not marked by sinkers.Permanent: an outage
	case ctx.Err() != nil:
		return res, ctx.Err()
	case bad.Rows != nil:
		return res, &bad
	}
	for i, r := range b.Rows {
		key := tableKey{r.Tenant, r.ID}
		switch stored, there := t.rows[key]; {
		case !there:
			t.rows[key] = clone(r) // the caller uses the batch's memory again
			res.Stored++
		case stored.Hash == r.Hash:
			res.Duplicates++
		default:
			res.Conflict(i, stored.Hash) // and the first stays as it is
		}
	}
	return res, nil
}

// clone returns the row with values of its own.
func clone(r sinkers.Row) sinkers.Row {
	for _, v := range []*firetrail.Value{&r.Old, &r.New, &r.Metadata, &r.Extra} {
		if !v.IsZero() {
			b, _ := v.AppendJSON(nil)
			*v = firetrail.Raw(b)
		}
	}
	return r
}

// Query implements sinkers.Sinker; how pages are cut is in docs/sinks.md.
func (t *table) Query(context.Context, sinkers.Query) (sinkers.Page, error) {
	return sinkers.Page{}, errors.ErrUnsupported
}

// Ping implements sinkers.Sinker.
func (t *table) Ping(ctx context.Context) error { return ctx.Err() }

// Close implements sinkers.Sinker.
func (t *table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return nil
}

// A Sink of your own: what Write must do, and the kit that holds it to that. The whole way is in docs/sinks.md.
func Example() {
	open := func(*testing.T) sinkers.Sinker { return &table{rows: map[tableKey]sinkers.Row{}} }
	// In a test of your package:
	_ = func(t *testing.T) { sinkertest.Run(t, open, sinkertest.LargeBatch(1_000)) }
	// Output:
}
