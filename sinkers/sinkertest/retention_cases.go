package sinkertest

import (
	"errors"
	"slices"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// prunedStaysOut: no replay brings back what a prune removed, however it is cut.
func prunedStaysOut(e *env) {
	p, ok := companion[sinkers.Pruner](e, "Pruner")
	if !ok {
		return
	}
	r := append(rows("a", 0, 60), rows("b", 0, 60)...)
	slices.SortStableFunc(r, func(a, b sinkers.Row) int { return a.Time.Compare(b.Time) })
	before := r[40].Time // of both tenants' 20th
	e.write(r[:100], 100, 0)
	if n, err := p.Prune(e.ctx, before, true); n != 40 || err != nil {
		e.Fatalf("Prune (dry run) returned %d, %v; want 40", n, err)
	}
	e.write(r[:100], 0, 100) // a dry run keeps no cut-off
	for _, c := range []struct {
		before time.Time
		want   int64
	}{{before, 40}, {r[20].Time, 0}} { // an earlier one changes nothing
		if n, err := p.Prune(e.ctx, c.before, false); n != c.want || err != nil {
			e.Fatalf("Prune returned %d, %v; want %d", n, err, c.want)
		}
		e.refusedAgain(r[30:50], sinkers.Result{Expired: 10, Duplicates: 10})
	}
	e.refusedAgain(r, sinkers.Result{Expired: 40, Duplicates: 60, Stored: 20})
	e.holds(sinkers.Query{AllTenants: true}, r[40:])
}

func pruneFuture(e *env) {
	p, ok := companion[sinkers.Pruner](e, "Pruner")
	if !ok {
		return
	}
	r := rows("a", 0, 3)
	e.write(r, 3, 0)
	if _, err := p.Prune(e.ctx, time.Now().Add(24*time.Hour), false); err == nil {
		e.Error("Prune with a cut-off in the future returned no error")
	}
	e.write(r, 0, 3)
	e.holds(sinkers.Query{Tenant: "a"}, r)
}

// retention: what is expired when it comes is not stored; the cut-off is the beginning of a day, and moves with
// the clock.
func retention(e *env) {
	if e.kit.retained == nil {
		e.pass("Retained")
		return
	}
	day := 24 * time.Hour
	midnight := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC) // the day after a leap day
	now := midnight.Add(20 * time.Hour)
	rt := sinkers.Retention{Days: 2, Now: func() time.Time { return now }}
	e.sink = e.kit.retained(e.T, rt)
	e.Cleanup(func() { _ = e.sink.Close() })
	var r []sinkers.Row
	for i, at := range []time.Time{
		midnight.Add(-9 * day), midnight.Add(-2*day - time.Microsecond), // expired
		midnight.Add(-2 * day), midnight.Add(-day - time.Microsecond), // the next day they are
		midnight.Add(-day), now,
	} {
		ev := event("a", i)
		ev.Time, ev.ID = at, firetrail.IDFrom(at, "r")
		r = append(r, row(ev))
	}
	e.refusedAgain(r, sinkers.Result{Expired: 2, Stored: 4})
	e.holds(sinkers.Query{Tenant: "a"}, r[2:])
	now = now.Add(day)
	other := event("a", 99)
	other.Time = r[3].Time
	other.ID = firetrail.IDFrom(other.Time, "new")
	e.refusedAgain([]sinkers.Row{row(other)}, sinkers.Result{Expired: 1})
	p, ok := companion[sinkers.Pruner](e, "Pruner")
	if !ok {
		return
	}
	if n, err := p.Prune(e.ctx, rt.Cutoff(), false); n != 2 || err != nil {
		e.Fatalf("Prune returned %d, %v; want 2", n, err)
	}
	now = now.Add(-day) // a clock set back brings nothing back
	e.refusedAgain(r, sinkers.Result{Expired: 4, Duplicates: 2})
	e.holds(sinkers.Query{Tenant: "a"}, r[4:])
}

func reopened(e *env) {
	if e.kit.reopen == nil {
		e.pass("Reopened")
		return
	}
	r := append(rows("a", 0, 30), rows("b", 0, 30)...)
	e.write(r, len(r), 0)
	er, erases := e.sink.(sinkers.Eraser)
	if erases {
		e.erase(er, sinkers.Erasure{Tenant: "b"}, 30)
	}
	for range 2 {
		if err := e.sink.Close(); err != nil {
			e.Fatalf("Close: %v", err)
		}
		e.sink = e.kit.reopen(e.T, e.sink)
		sink := e.sink
		e.Cleanup(func() { _ = sink.Close() })
		if erases {
			e.refusedAgain(r, sinkers.Result{Erased: 30, Duplicates: 30})
			e.holds(sinkers.Query{AllTenants: true}, r[:30])
		} else {
			e.write(r, 0, len(r))
			e.holds(sinkers.Query{AllTenants: true}, r)
		}
	}
}

func newerSchema(e *env) {
	if e.kit.newer == nil {
		e.pass("NewerSchema")
		return
	}
	var schema *sinkers.SchemaError
	if err := e.kit.newer(e.T); !errors.As(err, &schema) || schema.Have <= schema.Know {
		e.Fatalf("opening a database of a newer program returned %v; want a *sinkers.SchemaError", err)
	}
}
