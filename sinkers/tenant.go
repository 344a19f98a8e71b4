package sinkers

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Tenant is the database of one tenant of a [Router]. Get one from [Router.Of]; it costs nothing to make. Its
// errors name the tenant.
type Tenant struct {
	name string
	pool *pool
}

var (
	_ Sinker  = (*Tenant)(nil)
	_ Pruner  = (*Tenant)(nil)
	_ Eraser  = (*Tenant)(nil)
	_ Ledger  = (*Tenant)(nil)
	_ Scanner = (*Tenant)(nil)
	_ Prober  = (*Tenant)(nil)
)

func (t *Tenant) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("tenant %q: %w", t.name, err)
}

// with runs f with the tenant's database, which is open meanwhile.
func (t *Tenant) with(ctx context.Context, f func(Sinker) error) error {
	d, err := t.pool.acquire(ctx, t.name)
	if err != nil {
		return t.fail(err)
	}
	defer t.pool.release(d)
	return t.fail(f(d.Sinker))
}

// as runs f with the tenant's database as one of the companions.
func as[C any](ctx context.Context, t *Tenant, f func(C) error) error {
	return t.with(ctx, func(s Sinker) error {
		c, ok := s.(C)
		if !ok {
			return fmt.Errorf("%T: %w", s, errors.ErrUnsupported)
		}
		return f(c)
	})
}

// Write implements Sinker. A tenant that will never have a database has its rows refused one and all.
func (t *Tenant) Write(ctx context.Context, b Batch) (res Result, err error) {
	if len(b.Rows) == 0 {
		return Result{}, ctx.Err()
	}
	d, err := t.pool.acquire(ctx, t.name)
	switch {
	case err != nil && IsPermanent(err):
		return Result{}, t.refuse(len(b.Rows), err)
	case err != nil:
		return Result{}, t.fail(err)
	}
	defer t.pool.release(d)
	res, err = d.Write(ctx, b)
	return res, t.fail(err)
}

func (t *Tenant) refuse(n int, err error) error {
	refused := &BatchError{Rows: make([]RowError, n)}
	for i := range refused.Rows {
		refused.Rows[i] = RowError{i, t.fail(err)}
	}
	return refused
}

// Query implements Sinker. It asks for the tenant's events, whatever tenant the query names.
func (t *Tenant) Query(ctx context.Context, q Query) (p Page, err error) {
	q.Tenant, q.AllTenants = t.name, false
	if err := q.Validate(); err != nil {
		return Page{}, err
	}
	err = t.with(ctx, func(s Sinker) error {
		p, err = s.Query(ctx, q)
		return err
	})
	return p, err
}

// Ping implements Sinker.
func (t *Tenant) Ping(ctx context.Context) error {
	return t.with(ctx, func(s Sinker) error { return s.Ping(ctx) })
}

// Close implements Sinker; it does nothing, since the database is the Router's.
func (t *Tenant) Close() error { return nil }

// Prune implements Pruner.
func (t *Tenant) Prune(ctx context.Context, before time.Time, dryRun bool) (n int64, err error) {
	err = as(ctx, t, func(p Pruner) error {
		n, err = p.Prune(ctx, before, dryRun)
		return err
	})
	return n, err
}

// Erase implements Eraser.
func (t *Tenant) Erase(ctx context.Context, e Erasure) (n int64, err error) {
	e.Tenant = t.name
	err = as(ctx, t, func(er Eraser) error {
		n, err = er.Erase(ctx, e)
		return err
	})
	return n, err
}

// Probe implements Prober.
func (t *Tenant) Probe(ctx context.Context, size int) error {
	return as(ctx, t, func(p Prober) error { return p.Probe(ctx, size) })
}

// AppendLedger implements Ledger.
func (t *Tenant) AppendLedger(ctx context.Context, entries []LedgerEntry) error {
	return as(ctx, t, func(l Ledger) error { return l.AppendLedger(ctx, entries) })
}

// ReadLedger implements Ledger, for the tenant, whatever s says.
func (t *Tenant) ReadLedger(ctx context.Context, _ Scan) iter.Seq2[LedgerEntry, error] {
	return read(ctx, t, func(l Ledger) iter.Seq2[LedgerEntry, error] { return l.ReadLedger(ctx, Scan{Tenant: t.name}) })
}

// Scan implements Scanner, for the tenant, whatever s says.
func (t *Tenant) Scan(ctx context.Context, _ Scan) iter.Seq2[Position, error] {
	return read(ctx, t, func(c Scanner) iter.Seq2[Position, error] { return c.Scan(ctx, Scan{Tenant: t.name}) })
}

// read yields what the tenant's database does as one of the companions.
func read[C, T any](ctx context.Context, t *Tenant, all func(C) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		more := true
		err := as(ctx, t, func(c C) error {
			for v, err := range all(c) {
				if err != nil {
					return err
				}
				if more = yield(v, nil); !more {
					return nil
				}
			}
			return nil
		})
		if err != nil && more {
			var none T
			yield(none, err)
		}
	}
}
