package sinkertest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// refusedAgain writes rows of which some must be refused and holds the result to what is wanted.
func (e *env) refusedAgain(r []sinkers.Row, want sinkers.Result) {
	e.Helper()
	res, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: r})
	if err != nil {
		e.Fatalf("Write: %v", err)
	}
	e.sums(res, len(r))
	if res.Stored != want.Stored || res.Duplicates != want.Duplicates || res.Expired != want.Expired ||
		res.Erased != want.Erased || !equal(res.Conflicts, want.Conflicts) {
		e.Fatalf("Write returned %+v; want %+v", res, want)
	}
}

func (e *env) erase(er sinkers.Eraser, what sinkers.Erasure, want int64) {
	e.Helper()
	n, err := er.Erase(e.ctx, what)
	if err != nil || n != want {
		e.Fatalf("Erase %+v returned %d, %v; want %d", what, n, err, want)
	}
}

// eraseTenant: all of a tenant up to the cut-off, to the microsecond; nothing of others; what comes back is
// refused, what is later is not.
func eraseTenant(e *env) {
	er, ok := companion[sinkers.Eraser](e, "Eraser")
	if !ok {
		return
	}
	r := append(rows("a", 0, 40), rows("b", 0, 40)...)
	r = append(r, rows("", 0, 5)...)
	late := event("a", 25)
	late.Time = late.Time.Add(time.Microsecond) // within the millisecond of one that goes
	late.ID = firetrail.IDFrom(late.Time, "late")
	r = append(r, row(late))
	e.write(r, len(r), 0)
	what := sinkers.Erasure{Tenant: "a", Before: late.Time, Reason: "asked for"}
	gone := 0
	var kept []sinkers.Row
	for _, r := range r {
		if what.Covers(&r.Event) {
			gone++
		} else {
			kept = append(kept, r)
		}
	}
	dry := what
	dry.DryRun = true
	e.erase(er, dry, int64(gone))
	e.write(r, 0, len(r)) // a dry run leaves no tombstone
	e.holds(sinkers.Query{AllTenants: true}, r)
	e.erase(er, what, int64(gone))
	e.holds(sinkers.Query{AllTenants: true}, kept)
	e.erase(er, what, 0)
	for range 2 {
		e.refusedAgain(r, sinkers.Result{Erased: gone, Duplicates: len(kept)})
	}
	later := rows("a", 40, 45)
	e.refusedAgain(append(rows("a", 0, 5), later...), sinkers.Result{Erased: 5, Stored: 5})
	e.holds(sinkers.Query{AllTenants: true}, append(kept, later...))
}

func eraseActor(e *env) {
	er, ok := companion[sinkers.Eraser](e, "Eraser")
	if !ok {
		return
	}
	r := variety(200)
	e.write(r, len(r), 0)
	end := r[len(r)-1].Time.Add(time.Second)
	for _, what := range []sinkers.Erasure{
		{Tenant: "acme", ActorID: "ada", ActorType: "user", Before: end},
		{Tenant: "", ActorID: "bob", Before: end},
		{Tenant: "zürich", ActorID: "cron", Before: r[100].Time},
		{Tenant: "nobody", ActorID: "ada", Before: end},
		{Tenant: "acme", ActorID: "a'; DROP TABLE audit_events; --", Before: end},
	} {
		var kept []sinkers.Row
		for _, r := range r {
			if !what.Covers(&r.Event) {
				kept = append(kept, r)
			}
		}
		gone := len(r) - len(kept)
		e.erase(er, what, int64(gone))
		e.holds(sinkers.Query{AllTenants: true}, kept)
		e.refusedAgain(r, sinkers.Result{Erased: gone, Duplicates: len(kept)})
		r = kept
	}
	e.holds(sinkers.Query{AllTenants: true}, r)
}

// eraseMany: more than any backend deletes at once.
func eraseMany(e *env) {
	er, ok := companion[sinkers.Eraser](e, "Eraser")
	if !ok {
		return
	}
	r := rows("a", 0, min(e.kit.large, 3_000))
	e.write(r, len(r), 0)
	kept := rows("b", 0, 10)
	e.write(kept, 10, 0)
	e.erase(er, sinkers.Erasure{Tenant: "a"}, int64(len(r))) // until now
	e.holds(sinkers.Query{AllTenants: true}, kept)
	e.refusedAgain(r, sinkers.Result{Erased: len(r)})
}

// eraseLater: of two erasures the later cut-off holds, whichever came first.
func eraseLater(e *env) {
	er, ok := companion[sinkers.Eraser](e, "Eraser")
	if !ok {
		return
	}
	r := rows("a", 0, 30)
	e.erase(er, sinkers.Erasure{Tenant: "a", Before: r[20].Time}, 0) // before there is anything
	e.erase(er, sinkers.Erasure{Tenant: "a", Before: r[10].Time}, 0)
	e.refusedAgain(r, sinkers.Result{Erased: 20, Stored: 10})
	e.erase(er, sinkers.Erasure{Tenant: "a", Before: r[25].Time}, 5)
	e.refusedAgain(r, sinkers.Result{Erased: 25, Duplicates: 5})
	e.holds(sinkers.Query{Tenant: "a"}, r[25:])
}

// eraseWhileWriting: whatever is being replayed meanwhile stays gone.
func eraseWhileWriting(e *env) {
	er, ok := companion[sinkers.Eraser](e, "Eraser")
	if !ok {
		return
	}
	r := append(rows("a", 0, 300), rows("b", 0, 300)...)
	e.write(r, len(r), 0)
	var (
		done atomic.Bool
		wait sync.WaitGroup
	)
	for range 2 {
		wait.Go(func() {
			for !done.Load() {
				if _, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: r}); err != nil {
					e.Errorf("Write: %v", err)
					return
				}
			}
		})
	}
	_, err := er.Erase(e.ctx, sinkers.Erasure{Tenant: "a"})
	if err != nil {
		e.Errorf("Erase: %v", err)
	}
	done.Store(true)
	wait.Wait()
	e.holds(sinkers.Query{AllTenants: true}, r[300:])
	e.refusedAgain(r, sinkers.Result{Erased: 300, Duplicates: 300})
}

func eraseInvalid(e *env) {
	er, ok := companion[sinkers.Eraser](e, "Eraser")
	if !ok {
		return
	}
	r := rows("a", 0, 5)
	e.write(r, 5, 0)
	for want, what := range map[string]sinkers.Erasure{
		"tenant":     {Tenant: "a\nb"},
		"actor type": {Tenant: "a", ActorType: "user"},
		"before":     {Tenant: "a", Before: time.Now().Add(24 * time.Hour)},
		"reason":     {Tenant: "a", Reason: strings.Repeat("x", 5000)},
	} {
		if _, err := er.Erase(e.ctx, what); err == nil || !strings.Contains(err.Error(), want) {
			e.Errorf("Erase %+v returned %v; want an error that names %s", what, err, want)
		}
	}
	e.write(r, 0, 5)
	e.holds(sinkers.Query{Tenant: "a"}, r)
}

// reservedActions: firetrail's own records are rows like others, and hidden unless they are asked for.
func reservedActions(e *env) {
	r := rows("a", 0, 20)
	var own []sinkers.Row
	for i, action := range []string{"firetrail.closed", "firetrail.closed", "firetrail.x.y"} {
		ev := event("a", 5+3*i)
		ev.ID, ev.Action = firetrail.IDFrom(ev.Time, fmt.Sprint("own", i)), name(action)
		own = append(own, row(ev))
	}
	near := event("a", 30)
	near.Action = name("firetrails.closed")
	r = append(r, row(near))
	all := append(append([]sinkers.Row(nil), r...), own...)
	e.write(all, len(all), 0)
	e.write(all, 0, len(all))
	for _, tenants := range []sinkers.Query{{Tenant: "a"}, {AllTenants: true}} {
		for _, c := range []struct {
			action string
			want   []sinkers.Row
		}{{"", r}, {"firetrail.*", own}, {"firetrail.closed", own[:2]}, {"firetrails.*", r[20:]}} {
			q := tenants
			q.Action, q.Limit = c.action, 4
			e.holds(q, c.want)
		}
		q := tenants
		q.ActorID = own[0].Actor.ID
		e.holds(q, selected(q, r))
	}
	if s, ok := e.sink.(sinkers.Scanner); ok {
		n := 0
		for _, err := range s.Scan(e.ctx, sinkers.Scan{Tenant: "a"}) {
			if err != nil {
				e.Fatalf("Scan: %v", err)
			}
			n++
		}
		if n != len(all) {
			e.Errorf("Scan yielded %d positions; want %d, the reserved ones too", n, len(all))
		}
	}
}
