package sinkertest

import (
	"slices"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

func prune(e *env) {
	p, ok := companion[sinkers.Pruner](e, "Pruner")
	if !ok {
		return
	}
	r := append(rows("a", 0, 40), rows("b", 0, 40)...)
	late := event("a", 25)
	late.Time = late.Time.Add(time.Microsecond) // within the millisecond of one that goes
	late.ID = firetrail.IDFrom(late.Time, "late")
	r = append(r, row(late))
	e.write(r, len(r), 0)
	before := late.Time
	kept := selected(sinkers.Query{AllTenants: true, From: before}, r)
	want := int64(len(r) - len(kept))
	for _, step := range []struct {
		dryRun bool
		want   int64
		left   []sinkers.Row
	}{{true, want, r}, {false, want, kept}, {true, 0, kept}, {false, 0, kept}} {
		n, err := p.Prune(e.ctx, before, step.dryRun)
		if err != nil || n != step.want {
			e.Fatalf("Prune(dryRun %t) returned %d, %v; want %d", step.dryRun, n, err, step.want)
		}
		e.holds(sinkers.Query{AllTenants: true}, step.left)
	}
	if n, err := p.Prune(e.ctx, time.Time{}, false); n != 0 || err != nil {
		e.Errorf("Prune of nothing returned %d, %v", n, err)
	}
	e.holds(sinkers.Query{AllTenants: true}, kept)
}

func scan(e *env) {
	s, ok := companion[sinkers.Scanner](e, "Scanner")
	if !ok {
		return
	}
	var r []sinkers.Row
	for i, source := range []string{"b", "a", "", "ä", "b", "a"} {
		for _, tenant := range []string{"t2", "", "t1"} {
			ev := event(tenant, i)
			ev.Source, ev.Seq = source, uint64(100-i)
			if i == 5 {
				ev.Seq, ev.Action = 1<<64-1, firetrail.SourceClosed
			}
			r = append(r, row(ev))
		}
	}
	e.write(r, len(r), 0)
	for _, scan := range []sinkers.Scan{{}, {Tenant: "t1"}, {Tenant: "nobody"}, {AllTenants: true}} {
		want := []sinkers.Position{}
		for _, r := range r {
			if scan.AllTenants || r.Tenant == scan.Tenant {
				want = append(want, position(&r))
			}
		}
		slices.SortFunc(want, comparePositions)
		got := []sinkers.Position{}
		for p, err := range s.Scan(e.ctx, scan) {
			if err != nil {
				e.Fatalf("Scan %+v: %v", scan, err)
			}
			got = append(got, p)
		}
		if !slices.Equal(got, want) {
			e.Fatalf("Scan %+v yielded\n%v; want\n%v", scan, got, want)
		}
	}
	for _, err := range s.Scan(e.ctx, sinkers.Scan{AllTenants: true}) {
		if err != nil {
			e.Fatalf("Scan: %v", err)
		}
		break // a caller may stop
	}
}

func tenants(e *env) {
	l, ok := companion[sinkers.TenantLister](e, "TenantLister")
	if !ok {
		return
	}
	for _, want := range [][]string{nil, {"b"}, {"", "a", "b", "c", "ü"}} {
		var r []sinkers.Row
		for _, name := range want {
			r = append(r, rows(name, 0, 10)...)
		}
		if _, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: r}); err != nil {
			e.Fatalf("Write: %v", err)
		}
		var got []string
		for name, err := range l.Tenants(e.ctx) {
			if err != nil {
				e.Fatalf("Tenants: %v", err)
			}
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			e.Fatalf("Tenants yielded %q; want %q", got, want)
		}
	}
	for _, err := range l.Tenants(e.ctx) {
		if err != nil {
			e.Fatalf("Tenants: %v", err)
		}
		break // a caller may stop
	}
}

// probe: it works, and leaves nothing that shows.
func probe(e *env) {
	p, ok := companion[sinkers.Prober](e, "Prober")
	if !ok {
		return
	}
	r := rows("a", 0, 5)
	e.write(r, 5, 0)
	for _, size := range []int{0, 1, 1000, 1 << 20} {
		if err := p.Probe(e.ctx, size); err != nil {
			e.Fatalf("Probe(%d): %v", size, err)
		}
	}
	e.holds(sinkers.Query{AllTenants: true}, r)
}

func closed(e *env) {
	if err := e.sink.Ping(e.ctx); err != nil {
		e.Fatalf("Ping: %v", err)
	}
	for range 2 {
		if err := e.sink.Close(); err != nil {
			e.Fatalf("Close: %v", err)
		}
	}
	if _, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: rows("a", 0, 1)}); err == nil || sinkers.IsPermanent(err) {
		e.Errorf("Write after Close returned %v; want an error that isn't permanent", err)
	}
	if _, err := e.sink.Query(e.ctx, sinkers.Query{}); err == nil {
		e.Error("Query after Close returned no error")
	}
	if err := e.sink.Ping(e.ctx); err == nil {
		e.Error("Ping after Close returned no error")
	}
}
