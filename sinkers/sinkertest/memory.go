package sinkertest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// Memory is a Sinker that keeps its rows in memory, with all optional companions. The zero value is ready
// and empty. All methods may be called concurrently.
//
// It stores things unless told otherwise: see [Memory.OnWrite] and [Memory.Away].
type Memory struct {
	mu     sync.Mutex
	rows   map[key]sinkers.Row
	order  []key // as first stored
	writes []int // rows of each Write that came, stored or not
	hook   Hook
	away   error
	closed bool

	retention sinkers.Retention
	pruned    time.Time
	graves    []sinkers.Erasure
	ledger    []sinkers.LedgerEntry
}

type key struct {
	tenant string
	id     firetrail.ID
}

var (
	_ sinkers.Sinker       = (*Memory)(nil)
	_ sinkers.Pruner       = (*Memory)(nil)
	_ sinkers.Eraser       = (*Memory)(nil)
	_ sinkers.Ledger       = (*Memory)(nil)
	_ sinkers.Scanner      = (*Memory)(nil)
	_ sinkers.Prober       = (*Memory)(nil)
	_ sinkers.TenantLister = (*Memory)(nil)
)

var errClosed = errors.New("memory sink: closed")

// OnWrite makes every Write call hook before it stores anything, and return the hook's error if there is
// one, storing nothing. Nil ends that. It takes effect with the next Write.
func (m *Memory) OnWrite(hook Hook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// Away makes every method but Close fail with err, as a database does that can't be reached. Nil
// brings it back.
func (m *Memory) Away(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = err
}

// Rows returns what is stored, in the order it came.
func (m *Memory) Rows() []sinkers.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := make([]sinkers.Row, len(m.order))
	for i, k := range m.order {
		rows[i] = m.rows[k]
	}
	return rows
}

// Len returns how many rows are stored.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.order)
}

// Writes returns the number of rows of each Write so far, failed ones included.
func (m *Memory) Writes() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.writes)
}

// usable is called with the lock held.
func (m *Memory) usable(ctx context.Context) error {
	if m.closed {
		return errClosed
	}
	return cmp.Or(ctx.Err(), m.away)
}

func (m *Memory) check(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usable(ctx)
}

// Write implements sinkers.Sinker.
func (m *Memory) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	m.mu.Lock()
	m.writes = append(m.writes, len(b.Rows))
	hook, err := m.hook, m.usable(ctx)
	m.mu.Unlock()
	if err != nil {
		return sinkers.Result{}, err
	}
	if hook != nil { // without the lock: it may block
		if err := hook(ctx, b); err != nil {
			return sinkers.Result{}, err
		}
	}
	rows, err := keep(b.Rows)
	if err != nil {
		return sinkers.Result{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return sinkers.Result{}, err
	}
	return m.store(rows), nil
}

func (m *Memory) store(rows []sinkers.Row) (res sinkers.Result) {
	if m.rows == nil {
		m.rows = map[key]sinkers.Row{}
	}
	for i, r := range rows {
		k := key{r.Tenant, r.ID}
		switch old, ok := m.rows[k]; {
		case !ok && m.refused(&r, &res):
		case !ok:
			m.rows[k] = r
			m.order = append(m.order, k)
			res.Stored++
		case old.Hash == r.Hash:
			res.Duplicates++
		default:
			res.Conflict(i, old.Hash)
		}
	}
	return res
}

// keep returns copies of rows that share no memory with them.
func keep(rows []sinkers.Row) ([]sinkers.Row, error) {
	kept := make([]sinkers.Row, len(rows))
	var bad []sinkers.RowError
	for i := range rows {
		r := rows[i]
		err := r.Validate()
		for _, v := range []*firetrail.Value{&r.Old, &r.New, &r.Metadata, &r.Extra} {
			if err == nil && !v.IsZero() {
				var b []byte
				b, err = v.AppendJSON(nil)
				*v = firetrail.Raw(b)
			}
		}
		if err != nil {
			bad = append(bad, sinkers.RowError{Index: i, Err: err})
		}
		r.Time = micro(r.Time)
		r.Recorded = micro(r.Recorded)
		kept[i] = r
	}
	if bad != nil {
		return nil, &sinkers.BatchError{Rows: bad}
	}
	return kept, nil
}

func micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// Query implements sinkers.Sinker.
func (m *Memory) Query(ctx context.Context, q sinkers.Query) (sinkers.Page, error) {
	if err := q.Validate(); err != nil {
		return sinkers.Page{}, err
	}
	pos, err := q.Cursor.Position()
	if err != nil {
		return sinkers.Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return sinkers.Page{}, err
	}
	var found []firetrail.Event
	for _, r := range m.rows {
		if matches(q, &r.Event) && (q.Cursor == "" || older(q, &r.Event, pos)) {
			found = append(found, r.Event)
		}
	}
	slices.SortFunc(found, newestFirst)
	return page(found, q.PageLimit()), nil
}

func newestFirst(a, b firetrail.Event) int {
	return cmp.Or(b.ID.Compare(a.ID), cmp.Compare(b.Tenant, a.Tenant))
}

func older(q sinkers.Query, e *firetrail.Event, pos sinkers.CursorPosition) bool {
	c := e.ID.Compare(pos.ID)
	return c < 0 || c == 0 && q.AllTenants && e.Tenant < pos.Tenant
}

func page(found []firetrail.Event, limit int) (p sinkers.Page) {
	size := 0
	for i, e := range found {
		size += payload(e)
		if i == limit || i > 0 && size > sinkers.MaxPageBytes {
			p.Next = sinkers.NewCursor(&found[i-1])
			break
		}
		p.Events = append(p.Events, e)
	}
	return p
}

func payload(e firetrail.Event) (n int) {
	for _, v := range []firetrail.Value{e.Old, e.New, e.Metadata, e.Extra} {
		if !v.IsZero() {
			b, _ := v.AppendJSON(nil) // was encoded when it was stored
			n += len(b)
		}
	}
	return n
}

// Ping implements sinkers.Sinker.
func (m *Memory) Ping(ctx context.Context) error { return m.check(ctx) }

// Close implements sinkers.Sinker. What was stored can still be read with Rows.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
