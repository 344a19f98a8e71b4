package sinkertest

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// Retain makes Write refuse what is expired by r, from the next Write on.
func (m *Memory) Retain(r sinkers.Retention) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retention = r
}

// refused reports whether the row is expired or erased, and counts it. It is called with the lock held.
func (m *Memory) refused(r *sinkers.Row, res *sinkers.Result) bool {
	switch {
	case r.Time.Before(m.pruned), r.Time.Before(m.retention.Cutoff()):
		res.Expired++
		m.note(&r.Event, sinkers.LedgerExpired)
	case slices.ContainsFunc(m.graves, func(e sinkers.Erasure) bool { return e.Covers(&r.Event) }):
		res.Erased++
		m.note(&r.Event, sinkers.LedgerErased)
	default:
		return false
	}
	return true
}

func (m *Memory) note(e *firetrail.Event, reason sinkers.LedgerReason) {
	p := sinkers.Position{Tenant: e.Tenant, Source: e.Source, Seq: e.Seq}
	if entry, ok := sinkers.LedgerOf(p, reason, micro(m.retention.Clock())); ok {
		m.ledger = append(m.ledger, entry)
	}
}

// Prune implements sinkers.Pruner.
func (m *Memory) Prune(ctx context.Context, before time.Time, dryRun bool) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return 0, err
	}
	if err := m.retention.CheckPrune(before); err != nil {
		return 0, err
	}
	if !dryRun && before.After(m.pruned) {
		m.pruned = before
	}
	return m.delete(sinkers.LedgerExpired, dryRun, func(e *firetrail.Event) bool { return e.Time.Before(before) }), nil
}

// Erase implements sinkers.Eraser.
func (m *Memory) Erase(ctx context.Context, e sinkers.Erasure) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return 0, err
	}
	e, err := e.At(m.retention.Clock())
	if err != nil {
		return 0, err
	}
	if !e.DryRun {
		m.graves = append(m.graves, e)
	}
	return m.delete(sinkers.LedgerErased, e.DryRun, e.Covers), nil
}

// delete is called with the lock held.
func (m *Memory) delete(reason sinkers.LedgerReason, dryRun bool, which func(*firetrail.Event) bool) (n int64) {
	m.order = slices.DeleteFunc(m.order, func(k key) bool {
		r := m.rows[k]
		if !which(&r.Event) {
			return false
		}
		n++
		if !dryRun {
			m.note(&r.Event, reason)
			delete(m.rows, k)
		}
		return !dryRun
	})
	return n
}

// AppendLedger implements sinkers.Ledger.
func (m *Memory) AppendLedger(ctx context.Context, entries []sinkers.LedgerEntry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return err
	}
	m.ledger = append(m.ledger, entries...)
	return nil
}

// ReadLedger implements sinkers.Ledger.
func (m *Memory) ReadLedger(ctx context.Context, s sinkers.Scan) iter.Seq2[sinkers.LedgerEntry, error] {
	return func(yield func(sinkers.LedgerEntry, error) bool) {
		if err := m.check(ctx); err != nil {
			yield(sinkers.LedgerEntry{}, err)
			return
		}
		m.mu.Lock()
		m.ledger = sinkers.CompactLedger(m.ledger)
		entries := slices.Clone(m.ledger)
		m.mu.Unlock()
		for _, e := range entries {
			if (s.AllTenants || e.Tenant == s.Tenant) && !yield(e, nil) {
				return
			}
		}
	}
}
