package sinkertest_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
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

// Query implements sinkers.Sinker: what a database does by an index on (tenant, id) and a WHERE.
func (t *table) Query(ctx context.Context, q sinkers.Query) (p sinkers.Page, err error) {
	if err := q.Validate(); err != nil {
		return p, err
	}
	after, err := q.Cursor.Position()
	if err != nil {
		return p, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return p, errors.New("table: closed")
	case ctx.Err() != nil:
		return p, ctx.Err()
	}
	var found []sinkers.Row
	for _, r := range t.rows {
		order := cmp.Or(r.ID.Compare(after.ID), cmp.Compare(r.Tenant, after.Tenant)) // one tenant's ids are all different
		if selects(&q, &r.Event) && (q.Cursor == "" || order < 0) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b sinkers.Row) int {
		return cmp.Or(b.ID.Compare(a.ID), cmp.Compare(b.Tenant, a.Tenant))
	})
	bytes := 0
	for i, r := range found {
		for _, v := range []firetrail.Value{r.Old, r.New, r.Metadata, r.Extra} {
			bytes += len(v.Bytes())
		}
		if i == q.PageLimit() || i > 0 && bytes > sinkers.MaxPageBytes {
			p.Next = sinkers.NewCursor(&found[i-1].Event)
			break
		}
		p.Events = append(p.Events, r.Event)
	}
	return p, nil
}

// selects reports whether a query is about an event.
func selects(q *sinkers.Query, e *firetrail.Event) bool {
	name, us := e.Action.String(), e.Time.UnixMicro()
	action := q.Action == "" || q.Action == name
	if prefix, ok := q.ActionPrefix(); ok {
		action = strings.HasPrefix(name, prefix)
	} else if q.HidesReserved() {
		action = !strings.HasPrefix(name, sinkers.ReservedPrefix)
	}
	from, to := q.TimeRange()
	for _, f := range [][2]string{
		{q.ActorType, e.Actor.Type},
		{q.ActorID, e.Actor.ID},
		{q.EntityType, e.Entity.Type},
		{q.EntityID, e.Entity.ID},
		{q.Outcome, e.Outcome.String()},
	} {
		if f[0] != "" && f[0] != f[1] {
			return false
		}
	}
	return action && from <= us && us < to && (q.AllTenants || e.Tenant == q.Tenant)
}

// Ping implements sinkers.Sinker.
func (t *table) Ping(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.New("table: closed")
	}
	return ctx.Err()
}

// Close implements sinkers.Sinker.
func (t *table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return nil
}

func open(*testing.T) sinkers.Sinker { return &table{rows: map[tableKey]sinkers.Row{}} }

// A Sink of your own, and the kit that holds it to what is promised. The whole way is in docs/sinks.md.
func Example() {
	// In a test of your package:
	_ = func(t *testing.T) { sinkertest.Run(t, open, sinkertest.LargeBatch(1_000)) }
	// Output:
}

// TestExample holds the example to what it says.
func TestExample(t *testing.T) { sinkertest.Run(t, open, sinkertest.LargeBatch(1_000)) }
