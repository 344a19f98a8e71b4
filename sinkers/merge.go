package sinkers

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/firetrail/firetrail"
)

// sideBySide is how many databases are asked at a time for what concerns them all, at the most; and half the pool,
// so that others get their turn.
const sideBySide = 8

// TenantsError is the error of an operation on all tenants that failed for some.
type TenantsError struct {
	Failed int      // how many
	Errs   []error  // of the first few, each naming its tenant
	Names  []string // of all of them, those of Errs first
}

const maxTenantErrors = 10

// Add counts a tenant whose database failed.
func (e *TenantsError) Add(tenant string, err error) {
	e.Names = append(e.Names, tenant)
	if e.Failed++; len(e.Errs) < maxTenantErrors {
		e.Errs = append(e.Errs, err)
	}
}

// Error implements error.
func (e *TenantsError) Error() string {
	texts := make([]string, len(e.Errs))
	for i, err := range e.Errs {
		texts[i] = err.Error()
	}
	s := fmt.Sprintf("%d tenants' databases failed: %s", e.Failed, strings.Join(texts, "; "))
	if e.Failed > len(e.Errs) {
		s += "; and more"
	}
	return s
}

// Unwrap returns the errors of the first few.
func (e *TenantsError) Unwrap() []error { return e.Errs }

// each calls f for every tenant, some side by side, and goes on when it fails for one.
func (r *Router) each(ctx context.Context, f func(context.Context, *Tenant) error) error {
	names, err := r.names(ctx)
	if err != nil {
		return err // nobody knows whom it leaves out
	}
	var (
		mu     sync.Mutex
		failed TenantsError
		group  errgroup.Group
	)
	group.SetLimit(max(min(sideBySide, r.cfg.PoolSize/2), 1))
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			err := f(ctx, r.Of(name))
			if err == nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			failed.Add(name, err)
			return nil
		})
	}
	_ = group.Wait() // it returns none
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed.Failed > 0:
		return &failed
	}
	return nil
}

// Query implements Sinker. For all tenants it merges the pages of their databases, and holds in memory no more than the
// page and those of the databases that are asked at a time. When some can't be asked it returns the page of
// the others, and a *TenantsError beside it: nobody is told that what is missing isn't there.
func (r *Router) Query(ctx context.Context, q Query) (Page, error) {
	if err := q.Validate(); err != nil {
		return Page{}, err
	}
	if !q.AllTenants {
		return r.Of(q.Tenant).Query(ctx, q)
	}
	pos, err := q.Cursor.Position()
	if err != nil {
		return Page{}, err
	}
	m := &merging{limit: q.PageLimit()}
	err = r.each(ctx, func(ctx context.Context, t *Tenant) error {
		own := q
		if q.Cursor != "" {
			own.Cursor = cursorOf(pos, t.name)
		}
		p, err := t.Query(ctx, own)
		if err == nil {
			m.add(p)
		}
		return err
	})
	if ctx.Err() != nil {
		return Page{}, err
	}
	return m.page(), err
}

// cursorOf returns where a tenant's own events go on behind pos, which is among those of all: of events with the
// same id, those of the greater tenants come first.
func cursorOf(pos CursorPosition, tenant string) Cursor {
	id := pos.ID
	if tenant < pos.Tenant {
		for i := len(id) - 1; i >= 0; i-- { // the next id, so that this one is included
			if id[i]++; id[i] != 0 {
				break
			}
		}
	}
	return NewCursor(&firetrail.Event{Time: pos.Time, ID: id, Tenant: tenant})
}

// merging gathers the newest events of many pages.
type merging struct {
	limit int

	mu      sync.Mutex
	events  []firetrail.Event // newest first
	more    bool              // there are older ones
	horizon *firetrail.Event  // what lies behind it isn't known; nil: all is
}

func newestFirst(a, b *firetrail.Event) int {
	return cmp.Or(bytes.Compare(b.ID[:], a.ID[:]), cmp.Compare(b.Tenant, a.Tenant))
}

func (m *merging) add(p Page) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Next != "" {
		m.more = true
		if last := p.Events[len(p.Events)-1]; m.horizon == nil || newestFirst(&last, m.horizon) < 0 {
			m.horizon = &firetrail.Event{ID: last.ID, Tenant: last.Tenant}
		}
	}
	m.events = append(m.events, p.Events...)
	slices.SortFunc(m.events, func(a, b firetrail.Event) int { return newestFirst(&a, &b) })
	m.cut()
}

// cut lets go of what can't be on the page.
func (m *merging) cut() {
	n, size := 0, 0
	for n < len(m.events) && n < m.limit {
		e := &m.events[n]
		size += payload(e)
		if n > 0 && size > MaxPageBytes || m.horizon != nil && newestFirst(e, m.horizon) > 0 {
			break
		}
		n++
	}
	if n < len(m.events) {
		m.more = true
		clear(m.events[n:])
		m.events = m.events[:n]
		last := m.events[n-1]
		m.horizon = &firetrail.Event{ID: last.ID, Tenant: last.Tenant}
	}
}

func payload(e *firetrail.Event) int {
	return len(e.Old.Bytes()) + len(e.New.Bytes()) + len(e.Metadata.Bytes()) + len(e.Extra.Bytes())
}

func (m *merging) page() Page {
	p := Page{Events: m.events}
	if m.more && len(m.events) > 0 {
		p.Next = NewCursor(&m.events[len(m.events)-1])
	}
	return p
}
