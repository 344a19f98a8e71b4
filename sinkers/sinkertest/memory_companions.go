package sinkertest

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// Scan implements sinkers.Scanner.
func (m *Memory) Scan(ctx context.Context, s sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	return func(yield func(sinkers.Position, error) bool) {
		if err := m.check(ctx); err != nil {
			yield(sinkers.Position{}, err)
			return
		}
		var all []sinkers.Position
		for _, r := range m.Rows() {
			if s.AllTenants || r.Tenant == s.Tenant {
				all = append(all, position(&r))
			}
		}
		slices.SortFunc(all, comparePositions)
		for _, p := range all {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func position(r *sinkers.Row) sinkers.Position {
	return sinkers.Position{
		Tenant: r.Tenant, Source: r.Source, Seq: r.Seq, ID: r.ID, Time: r.Time, Closes: r.Action == firetrail.SourceClosed,
	}
}

func comparePositions(a, b sinkers.Position) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Source, b.Source),
		cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.ID[:], b.ID[:]))
}

// Tenants implements sinkers.TenantLister.
func (m *Memory) Tenants(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := m.check(ctx); err != nil {
			yield("", err)
			return
		}
		names := map[string]bool{}
		for _, r := range m.Rows() {
			names[r.Tenant] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Probe implements sinkers.Prober.
func (m *Memory) Probe(ctx context.Context, _ int) error { return m.check(ctx) }
