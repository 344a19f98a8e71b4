package sinkertest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// start is when the kit's events begin.
var start = time.Date(2024, 5, 6, 7, 8, 9, 123_000, time.UTC)

// event returns the n-th event of a tenant, one a second.
func event(tenant string, n int) firetrail.Event {
	at := start.Add(time.Duration(n) * time.Second)
	return firetrail.Event{
		ID: firetrail.IDFrom(at, fmt.Sprint(tenant, "/", n)), Tenant: tenant, Time: at,
		Action: name("course.created"), Actor: firetrail.Actor{Type: "user", ID: fmt.Sprint("u", n%5)},
		Entity: firetrail.Entity{Type: "course", ID: fmt.Sprint("c", n)},
		New:    firetrail.Raw(fmt.Appendf(nil, `{"n":%d}`, n)),
		Source: "kit", Seq: uint64(n) + 1, Recorded: at.Add(time.Millisecond),
	}
}

func name(s string) firetrail.Name {
	n, err := firetrail.ParseName(s)
	if err != nil {
		panic(err) // the kit's own names
	}
	return n
}

// row returns an event with its hash.
func row(e firetrail.Event) sinkers.Row {
	return sinkers.Row{Event: e, Hash: e.ContentHash()}
}

// rows returns the events from to to of a tenant.
func rows(tenant string, from, to int) []sinkers.Row {
	r := make([]sinkers.Row, 0, to-from)
	for n := from; n < to; n++ {
		r = append(r, row(event(tenant, n)))
	}
	return r
}

// changed returns the row with other content under the same id.
func changed(r sinkers.Row) sinkers.Row {
	r.New = firetrail.Raw([]byte(`{"forged":true}`))
	return row(r.Event)
}

func newestFirstRows(r []sinkers.Row) []sinkers.Row {
	r = slices.Clone(r)
	slices.SortFunc(r, func(a, b sinkers.Row) int { return newestFirst(a.Event, b.Event) })
	return r
}

// all pages through a query.
func (e *env) all(q sinkers.Query) (found []firetrail.Event) {
	e.Helper()
	for {
		p := e.page(q)
		found = append(found, p.Events...)
		if p.Next == "" {
			return found
		}
		if p.Next == q.Cursor {
			e.Fatalf("Query %+v returned the cursor it was given", q)
		}
		q.Cursor = p.Next
	}
}

func equal(a, b []int) bool { return slices.Equal(a, b) }

func describe(e *firetrail.Event) string {
	return fmt.Sprintf("%s %q %s of tenant %q at %s", e.ID, e.Action, e.Entity.ID, e.Tenant, e.Time.Format(time.RFC3339Nano))
}

// difference says in which fields two events differ; "" when in none. Values are compared as JSON.
func difference(want, got *firetrail.Event) string {
	var diffs []string
	w, g := reflect.ValueOf(*want), reflect.ValueOf(*got)
	for i := range w.NumField() {
		a, b := w.Field(i).Interface(), g.Field(i).Interface()
		if !sameField(a, b) {
			diffs = append(diffs, fmt.Sprintf("%s is %s; want %s", w.Type().Field(i).Name, show(b), show(a)))
		}
	}
	if len(diffs) == 0 && want.ContentHash() != got.ContentHash() {
		diffs = append(diffs, "the content hash is another")
	}
	return strings.Join(diffs, "; ")
}

func sameField(want, got any) bool {
	switch w := want.(type) {
	case time.Time:
		g := got.(time.Time)
		return w.Equal(g) && (g.IsZero() || g.Location() == time.UTC)
	case firetrail.Value:
		return sameJSON(jsonOf(w), jsonOf(got.(firetrail.Value)))
	}
	return want == got
}

func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	var x, y any
	if decodeExactly(a, &x) != nil || decodeExactly(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

func decodeExactly(s string, into *any) error {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	return d.Decode(into)
}

func jsonOf(v firetrail.Value) string {
	b, err := v.AppendJSON(nil)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func show(v any) string {
	if x, ok := v.(firetrail.Value); ok {
		return fmt.Sprintf("%.200q", jsonOf(x))
	}
	return fmt.Sprintf("%.200q", fmt.Sprint(v))
}

// variety returns n events of three tenants that differ in everything a query can select by.
func variety(n int) []sinkers.Row {
	pick := func(i int, of ...string) string { return of[i%len(of)] }
	r := make([]sinkers.Row, 0, n)
	for i := range n {
		e := event(pick(i, "", "acme", "zürich"), i)
		e.Action = name(pick(i/2, "course.created", "course.module.added", "courses.listed", "user.signed-in", "course.deleted", "cours.x"))
		e.Actor = firetrail.Actor{Type: pick(i/3, "user", "service", ""), ID: pick(i/5, "ada", "bob", "", "cron"), Name: pick(i, "A", "B")}
		e.Entity = firetrail.Entity{Type: pick(i/7, "course", "user"), ID: pick(i/4, "1", "2", "", "3", "ü")}
		e.Outcome = firetrail.Outcome(max(i%7-4, 0))
		r = append(r, row(e))
	}
	return r
}

func selected(q sinkers.Query, from []sinkers.Row) (found []sinkers.Row) {
	for _, r := range from {
		if matches(q, &r.Event) {
			found = append(found, r)
		}
	}
	return found
}
