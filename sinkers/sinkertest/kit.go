package sinkertest

import (
	"context"
	"testing"

	"github.com/firetrail/firetrail/sinkers"
)

// Option changes what [Run] does.
type Option func(*kit)

// LargeBatch sets how many rows the largest batch has. Default 10,000.
func LargeBatch(rows int) Option { return func(k *kit) { k.large = rows } }

// AnswersMayBeLost is for a database at the other end of a network: when a Write's context ends on the way, it
// may have stored the batch all the same.
func AnswersMayBeLost() Option { return func(k *kit) { k.lossy = true } }

// Retained adds the cases that need a Sinker with a retention: open returns an empty one that expires
// events by r, whose clock the kit sets.
func Retained(open func(t *testing.T, r sinkers.Retention) sinkers.Sinker) Option {
	return func(k *kit) { k.retained = open }
}

// Reopened adds the cases in which a Sinker is closed and opened again: reopen opens the database that s, which
// open returned and which is closed, was on.
func Reopened(reopen func(t *testing.T, s sinkers.Sinker) sinkers.Sinker) Option {
	return func(k *kit) { k.reopen = reopen }
}

// NewerSchema adds the case of a database that a newer program has migrated: open makes one with a schema
// version beyond those known, and returns the error of opening it.
func NewerSchema(open func(t *testing.T) error) Option {
	return func(k *kit) { k.newer = open }
}

// Refusing adds the case of a database that refuses certain rows by itself, as by a constraint: open returns an empty Sinker whose
// database takes no event of the action.
func Refusing(open func(t *testing.T, action string) sinkers.Sinker) Option {
	return func(k *kit) { k.refusing = open }
}

// SplitByTenant says that a batch of several tenants' rows is stored a tenant at a time, as by a sinkers.Router: that all
// or none of it is stored holds for each tenant alone.
func SplitByTenant() Option { return func(k *kit) { k.split = true } }

type kit struct {
	split    bool
	open     func(t *testing.T) sinkers.Sinker
	large    int
	retained func(*testing.T, sinkers.Retention) sinkers.Sinker
	reopen   func(*testing.T, sinkers.Sinker) sinkers.Sinker
	newer    func(*testing.T) error
	refusing func(t *testing.T, action string) sinkers.Sinker
	lossy    bool
}

// Run holds the Sinker that open returns to what package sinkers promises, in subtests. Each calls
// open once, with its own t, for a Sinker with nothing in it, and closes it in the end; what else there is
// to clear away is for open to hand to t.Cleanup. The optional companions (sinkers.Pruner and so on) that
// the Sinker lacks are named in the log and passed over.
func Run(t *testing.T, open func(t *testing.T) sinkers.Sinker, options ...Option) {
	k := &kit{open: open, large: 10_000}
	for _, o := range options {
		o(k)
	}
	for _, c := range []struct {
		name string
		run  func(*env)
	}{
		{"Write/all fields", allFields},
		{"Write/values", values},
		{"Write/unicode", unicodeTexts},
		{"Write/times", edgesOfTime},
		{"Write/empty", emptyBatch},
		{"Write/large", largeBatch},
		{"Write/again", writtenAgain},
		{"Write/again in other cuts", otherCuts},
		{"Write/overlap", overlap},
		{"Write/twice in a batch", twiceInBatch},
		{"Write/conflict", conflict},
		{"Write/conflict in a batch", conflictInBatch},
		{"Write/same id, two tenants", sameIDTwoTenants},
		{"Write/unfit row", unfitRow},
		{"Write/refused by the database", refusedRows},
		{"Write/bytes that are not UTF-8", notUTF8},
		{"Write/rows not kept", rowsNotKept},
		{"Write/cancelled", cancelled},
		{"Write/cancelled on the way", cancelledOnTheWay},
		{"Write/concurrent", concurrentWriters},
		{"Query/each filter", eachFilter},
		{"Query/filters together", filtersTogether},
		{"Query/half-open times", halfOpen},
		{"Query/order", newestFirstOrder},
		{"Query/pages", pages},
		{"Query/pages while writing", pagesWhileWriting},
		{"Query/page between equal ids", pageBetweenEqualIDs},
		{"Query/page bytes", pageBytes},
		{"Query/defaults", queryDefaults},
		{"Query/invalid", invalidQueries},
		{"Query/reserved actions", reservedActions},
		{"Query/cancelled", cancelledQuery},
		{"Prune", prune},
		{"Prune/keeps out", prunedStaysOut},
		{"Prune/future", pruneFuture},
		{"Retention", retention},
		{"Erase/tenant", eraseTenant},
		{"Erase/actor", eraseActor},
		{"Erase/many", eraseMany},
		{"Erase/later cut-off", eraseLater},
		{"Erase/while writing", eraseWhileWriting},
		{"Erase/invalid", eraseInvalid},
		{"Ledger/appended", ledgerAppended},
		{"Ledger/acts", ledgerOfActs},
		{"Ledger/order", ledgerOrder},
		{"Scan", scan},
		{"Tenants", tenants},
		{"Probe", probe},
		{"Close", closed},
		{"Reopen", reopened},
		{"Newer schema", newerSchema},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := k.open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			c.run(&env{T: t, kit: k, sink: s, ctx: t.Context()})
		})
	}
}

// env is what a case runs in.
type env struct {
	*testing.T
	kit  *kit
	sink sinkers.Sinker
	ctx  context.Context
}

// pass says that a case was passed over for want of an option.
func (e *env) pass(option string) { e.Logf("Run was given no %s: passed over", option) }

// companion returns the sink as one of its optional companions.
func companion[C any](e *env, name string) (C, bool) {
	c, ok := e.sink.(C)
	if !ok {
		e.Logf("%T is no sinkers.%s: passed over", e.sink, name)
	}
	return c, ok
}

// write stores rows and holds the result to what is wanted; the sum is always checked.
func (e *env) write(rows []sinkers.Row, stored, duplicates int, conflicts ...int) {
	e.Helper()
	res, err := e.sink.Write(e.ctx, sinkers.Batch{Rows: rows})
	if err != nil {
		e.Fatalf("Write: %v", err)
	}
	e.sums(res, len(rows))
	if res.Stored != stored || res.Duplicates != duplicates || !equal(res.Conflicts, conflicts) {
		e.Fatalf("Write returned %+v; want %d stored, %d duplicates, conflicts %v", res, stored, duplicates, conflicts)
	}
}

func (e *env) sums(res sinkers.Result, rows int) {
	e.Helper()
	if n := res.Stored + res.Duplicates + len(res.Conflicts) + res.Expired + res.Erased; n != rows {
		e.Fatalf("Write returned %+v, which sums up to %d; want %d", res, n, rows)
	}
}

// page runs one query.
func (e *env) page(q sinkers.Query) sinkers.Page {
	e.Helper()
	p, err := e.sink.Query(e.ctx, q)
	if err != nil {
		e.Fatalf("Query %+v: %v", q, err)
	}
	if len(p.Events) > q.PageLimit() {
		e.Fatalf("Query %+v returned %d events, over its limit", q, len(p.Events))
	}
	if p.Next != "" && len(p.Events) == 0 {
		e.Fatalf("Query %+v returned a cursor and no events", q)
	}
	return p
}

// holds checks that the query finds exactly these rows, newest first, however it is paged.
func (e *env) holds(q sinkers.Query, want []sinkers.Row) {
	e.Helper()
	sorted := newestFirstRows(want)
	got := e.all(q)
	for i := range max(len(got), len(sorted)) {
		switch {
		case i >= len(got):
			e.Fatalf("Query %+v found %d events; want %d: %s is missing", q, len(got), len(sorted), describe(&sorted[i].Event))
		case i >= len(sorted):
			e.Fatalf("Query %+v found %d events; want %d: %s is too much", q, len(got), len(sorted), describe(&got[i]))
		case got[i].ID != sorted[i].ID || got[i].Tenant != sorted[i].Tenant:
			e.Fatalf("Query %+v: event %d is %s; want %s", q, i, describe(&got[i]), describe(&sorted[i].Event))
		}
		if diff := difference(&sorted[i].Event, &got[i]); diff != "" {
			e.Fatalf("Query %+v: event %d changed on its way: %s", q, i, diff)
		}
	}
}
