package sinkertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// filters are the values to select by, for each filter; the first is none.
var filters = []func(q *sinkers.Query, n int) bool{
	choice(func(q *sinkers.Query) *string { return &q.Action },
		"course.created", "course.*", "course.module.*", "courses.*", "user.signed-in", "nothing.here", "nothing.*"),
	choice(func(q *sinkers.Query) *string { return &q.ActorType }, "user", "service", "nobody"),
	choice(func(q *sinkers.Query) *string { return &q.ActorID }, "ada", "cron", "nobody"),
	choice(func(q *sinkers.Query) *string { return &q.EntityType }, "course", "user", "nothing"),
	choice(func(q *sinkers.Query) *string { return &q.EntityID }, "1", "ü", "nothing"),
	choice(func(q *sinkers.Query) *string { return &q.Outcome }, "success", "failure", "denied"),
	times(func(q *sinkers.Query) *time.Time { return &q.From }, 100, 200),
	times(func(q *sinkers.Query) *time.Time { return &q.To }, 250, 150, 0),
}

func choice(field func(*sinkers.Query) *string, of ...string) func(*sinkers.Query, int) bool {
	return func(q *sinkers.Query, n int) bool {
		if n < len(of) {
			*field(q) = of[n]
		}
		return n < len(of)
	}
}

func times(field func(*sinkers.Query) *time.Time, seconds ...int) func(*sinkers.Query, int) bool {
	return func(q *sinkers.Query, n int) bool {
		if n < len(seconds) {
			*field(q) = start.Add(time.Duration(seconds[n]) * time.Second)
		}
		return n < len(seconds)
	}
}

// scopes are the tenants to ask for.
var scopes = []sinkers.Query{{}, {Tenant: "acme"}, {Tenant: "zürich"}, {Tenant: "nobody"}, {AllTenants: true}}

func eachFilter(e *env) {
	r := variety(300)
	e.write(r, len(r), 0)
	for _, scope := range scopes {
		e.holds(scope, selected(scope, r))
		for _, filter := range filters {
			q := scope
			for n := 0; filter(&q, n); n++ {
				e.holds(q, selected(q, r))
				q = scope
			}
		}
	}
}

func filtersTogether(e *env) {
	r := variety(300)
	e.write(r, len(r), 0)
	random := rand.New(rand.NewPCG(3, 4))
	found := 0
	for range 150 {
		q := scopes[random.IntN(len(scopes))]
		for _, filter := range filters {
			if random.IntN(3) == 0 {
				filter(&q, random.IntN(3))
			}
		}
		if q.Validate() != nil { // from after to
			continue
		}
		q.Limit = 3 + random.IntN(30)
		want := selected(q, r)
		found += len(want)
		e.holds(q, want)
	}
	if found < 500 {
		e.Fatalf("the kit's queries found %d events in all: too few to show anything", found)
	}
}

func halfOpen(e *env) {
	var r []sinkers.Row
	for i, us := range []int{0, 1, 999, 1000, 1001, 1999, 2000} {
		ev := event("", i)
		ev.Time = start.Truncate(time.Second).Add(time.Duration(us) * time.Microsecond)
		ev.ID = firetrail.IDFrom(ev.Time, fmt.Sprint(us))
		r = append(r, row(ev))
	}
	e.write(r, len(r), 0)
	for i := range r {
		from := sinkers.Query{From: r[i].Time}
		e.holds(from, r[i:])
		to := sinkers.Query{To: r[i].Time}
		e.holds(to, r[:i])
		to.AllTenants = true
		e.holds(to, r[:i])
		// A bound between two microseconds is the next.
		from.From, to.To = from.From.Add(-time.Nanosecond), to.To.Add(time.Nanosecond)
		e.holds(from, r[i:])
		e.holds(to, r[:i+1])
		for j := i + 1; j < len(r); j++ {
			e.holds(sinkers.Query{From: r[i].Time, To: r[j].Time}, r[i:j])
		}
	}
	e.holds(sinkers.Query{From: time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, r)
}

func newestFirstOrder(e *env) {
	var r []sinkers.Row
	for i := range 100 {
		ev := event("a", 0)
		ev.Time = start.Add(time.Duration(i*37%100) * time.Microsecond)
		ev.ID = firetrail.IDFrom(ev.Time, fmt.Sprint(i))
		r = append(r, row(ev))
	}
	e.write(r, len(r), 0)
	got := e.all(sinkers.Query{Tenant: "a", Limit: 7})
	for i := 1; i < len(got); i++ {
		if !got[i].Time.Before(got[i-1].Time) {
			e.Fatalf("event %d, %s, comes after %s", i, describe(&got[i]), describe(&got[i-1]))
		}
	}
}

func pages(e *env) {
	r := append(rows("a", 0, 53), rows("b", 0, 41)...)
	e.write(r, len(r), 0)
	for _, limit := range []int{1, 2, 50, 52, 53, 54, 93, 94, 95, sinkers.MaxLimit} {
		e.holds(sinkers.Query{Tenant: "a", Limit: limit}, r[:53])
		e.holds(sinkers.Query{AllTenants: true, Limit: limit}, r)
	}
	if p := e.page(sinkers.Query{Tenant: "a", Limit: 53}); p.Next != "" {
		e.Error("a page that holds the last event has a cursor")
	}
}

// pagesWhileWriting: what is stored after the first page shows on no later one, nor does it move them.
func pagesWhileWriting(e *env) {
	for _, scope := range []sinkers.Query{{Tenant: "a"}, {AllTenants: true}} {
		base := e.all(scope)
		next := len(base)
		r := rows("a", next, next+100)
		e.write(r, len(r), 0)
		want := e.all(scope)
		q := scope
		q.Limit = 9
		var got []firetrail.Event
		for newer := next + 100; ; newer += 10 {
			p := e.page(q)
			got = append(got, p.Events...)
			e.write(rows("a", newer, newer+10), 10, 0)
			if p.Next == "" {
				break
			}
			q.Cursor = p.Next
		}
		if len(got) != len(want) {
			e.Fatalf("%d events while writing; want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].ID != want[i].ID {
				e.Fatalf("event %d while writing is %s; want %s", i, describe(&got[i]), describe(&want[i]))
			}
		}
	}
}

func pageBetweenEqualIDs(e *env) {
	var r []sinkers.Row
	for _, tenant := range []string{"b", "", "c", "a"} {
		for n := range 3 {
			ev := event("x", n)
			ev.Tenant = tenant
			r = append(r, row(ev))
		}
	}
	e.write(r, len(r), 0)
	for limit := 1; limit <= len(r); limit++ {
		e.holds(sinkers.Query{AllTenants: true, Limit: limit}, r)
		e.holds(sinkers.Query{AllTenants: true, Limit: limit, Action: "course.created"}, r)
		e.holds(sinkers.Query{AllTenants: true, Limit: limit, EntityID: "c1"}, selected(sinkers.Query{AllTenants: true, EntityID: "c1"}, r))
	}
}

func pageBytes(e *env) {
	big := firetrail.Raw([]byte(`"` + strings.Repeat("y", firetrail.MaxPayload-2) + `"`))
	r := rows("a", 0, sinkers.MaxPageBytes/firetrail.MaxPayload+10)
	for i := range r {
		r[i].New = big
		r[i] = row(r[i].Event)
	}
	e.write(r, len(r), 0)
	p := e.page(sinkers.Query{Tenant: "a", Limit: sinkers.MaxLimit})
	if n := len(p.Events) * firetrail.MaxPayload; n > sinkers.MaxPageBytes || p.Next == "" {
		e.Fatalf("a page of %d payload bytes, cursor %q; want at most %d and a cursor", n, p.Next, sinkers.MaxPageBytes)
	}
	e.holds(sinkers.Query{Tenant: "a", Limit: sinkers.MaxLimit}, r)
}

func queryDefaults(e *env) {
	r := append(rows("", 0, 60), rows("a", 0, 3)...)
	e.write(r, len(r), 0)
	p := e.page(sinkers.Query{})
	if len(p.Events) != sinkers.DefaultLimit || p.Next == "" {
		e.Fatalf("the zero query returned %d events, cursor %q; want %d and one", len(p.Events), p.Next, sinkers.DefaultLimit)
	}
	e.holds(sinkers.Query{}, r[:60])
}

func invalidQueries(e *env) {
	for want, q := range map[string]sinkers.Query{
		"limit":   {Limit: sinkers.MaxLimit + 1},
		"cursor":  {Cursor: "not-one"},
		"outcome": {Outcome: "perhaps"},
		"action":  {Action: "no verb"},
		"tenant":  {Tenant: "a\nb"},
		"from":    {From: start, To: start},
	} {
		_, err := e.sink.Query(e.ctx, q)
		if err == nil || !strings.Contains(err.Error(), want) {
			e.Errorf("Query %+v returned %v; want an error that names %s", q, err, want)
		}
	}
}

func cancelledQuery(e *env) {
	e.write(rows("a", 0, 3), 3, 0)
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := e.sink.Query(ctx, sinkers.Query{Tenant: "a"}); !errors.Is(err, context.Canceled) {
		e.Errorf("Query with a cancelled context returned %v", err)
	}
	if err := e.sink.Ping(ctx); !errors.Is(err, context.Canceled) {
		e.Errorf("Ping with a cancelled context returned %v", err)
	}
}
