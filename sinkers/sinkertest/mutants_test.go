package sinkertest_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// mutant is a Sinker with one mistake.
type mutant struct {
	*sinkertest.Memory
	write func(context.Context, *sinkertest.Memory, sinkers.Batch) (sinkers.Result, error)
	query func(context.Context, *sinkertest.Memory, sinkers.Query) (sinkers.Page, error)
	erase func(context.Context, *sinkertest.Memory, sinkers.Erasure) (int64, error)
	prune func(context.Context, *sinkertest.Memory, time.Time, bool) (int64, error)
	scan  func(sinkers.Position) sinkers.Position
	probe func(context.Context, *sinkertest.Memory) error
}

func (m mutant) Scan(ctx context.Context, s sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	if m.scan == nil {
		return m.Memory.Scan(ctx, s)
	}
	return func(yield func(sinkers.Position, error) bool) {
		for p, err := range m.Memory.Scan(ctx, s) {
			if !yield(m.scan(p), err) {
				return
			}
		}
	}
}

func (m mutant) Probe(ctx context.Context, size int) error {
	if m.probe == nil {
		return m.Memory.Probe(ctx, size)
	}
	return m.probe(ctx, m.Memory)
}

func (m mutant) Erase(ctx context.Context, e sinkers.Erasure) (int64, error) {
	if m.erase == nil {
		return m.Memory.Erase(ctx, e)
	}
	return m.erase(ctx, m.Memory, e)
}

func (m mutant) Prune(ctx context.Context, before time.Time, dryRun bool) (int64, error) {
	if m.prune == nil {
		return m.Memory.Prune(ctx, before, dryRun)
	}
	return m.prune(ctx, m.Memory, before, dryRun)
}

func (m mutant) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	if m.write == nil {
		return m.Memory.Write(ctx, b)
	}
	return m.write(ctx, m.Memory, b)
}

func (m mutant) Query(ctx context.Context, q sinkers.Query) (sinkers.Page, error) {
	if m.query == nil {
		return m.Memory.Query(ctx, q)
	}
	return m.query(ctx, m.Memory, q)
}

// editing returns a Write that stores edited rows.
func editing(edit func(*sinkers.Row)) func(context.Context, *sinkertest.Memory, sinkers.Batch) (sinkers.Result, error) {
	return func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		rows := slices.Clone(b.Rows)
		for i := range rows {
			edit(&rows[i])
		}
		return m.Write(ctx, sinkers.Batch{Rows: rows})
	}
}

// asking returns a Query that asks something else.
func asking(edit func(*sinkers.Query)) func(context.Context, *sinkertest.Memory, sinkers.Query) (sinkers.Page, error) {
	return func(ctx context.Context, m *sinkertest.Memory, q sinkers.Query) (sinkers.Page, error) {
		edit(&q)
		return m.Query(ctx, q)
	}
}

// answering returns a Query whose answer is edited.
func answering(edit func(*sinkers.Page)) func(context.Context, *sinkertest.Memory, sinkers.Query) (sinkers.Page, error) {
	return func(ctx context.Context, m *sinkertest.Memory, q sinkers.Query) (sinkers.Page, error) {
		p, err := m.Query(ctx, q)
		edit(&p)
		return p, err
	}
}

// mutants by the case of the kit that finds them out; what comes after # tells several apart.
var mutants = map[string]mutant{
	"Write/large": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		n := len(b.Rows) // loses the end of a large batch and says nothing
		b.Rows = b.Rows[:min(n, 9_000)]
		res, err := m.Write(ctx, b)
		res.Stored += n - len(b.Rows)
		return res, err
	}},
	"Write/again": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		res, err := m.Write(ctx, b) // counts duplicates as stored
		res.Stored, res.Duplicates = res.Stored+res.Duplicates, 0
		return res, err
	}},
	"Write/empty": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		if len(b.Rows) == 0 {
			return sinkers.Result{}, errors.New("nothing to do")
		}
		return m.Write(ctx, b)
	}},
	"Write/overlap": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		for _, r := range b.Rows[:min(1, len(b.Rows))] { // takes a batch for known whose first row is
			if res, err := m.Write(ctx, sinkers.Batch{Rows: []sinkers.Row{r}}); err != nil || res.Duplicates > 0 {
				return sinkers.Result{Duplicates: len(b.Rows)}, err
			}
		}
		res, err := m.Write(ctx, b)
		res.Stored, res.Duplicates = res.Stored+1, res.Duplicates-1
		return res, err
	}},
	"Write/twice_in_a_batch": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		seen := map[firetrail.ID]bool{} // forgets to count what comes twice
		return m.Write(ctx, sinkers.Batch{Rows: slices.DeleteFunc(slices.Clone(b.Rows), func(r sinkers.Row) bool {
			twice := seen[r.ID]
			seen[r.ID] = true
			return twice
		})})
	}},
	"Write/cancelled_on_the_way": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		res, err := m.Write(context.WithoutCancel(ctx), b) // stores what it says that it hasn't
		if err == nil && ctx.Err() != nil {
			return sinkers.Result{}, ctx.Err()
		}
		return res, err
	}},
	"Write/conflict": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		res, err := m.Write(ctx, b) // merges in silence
		res.Duplicates, res.Conflicts = res.Duplicates+len(res.Conflicts), nil
		return res, err
	}},
	"Write/conflict#hash": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		res, err := m.Write(ctx, b) // shows one hash alone
		res.StoredHashes = nil
		return res, err
	}},
	"Write/conflict_in_a_batch": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		rows := slices.Clone(b.Rows) // the last stays
		slices.Reverse(rows)
		return m.Write(ctx, sinkers.Batch{Rows: rows})
	}},
	"Write/unfit_row": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (res sinkers.Result, err error) {
		for _, r := range b.Rows { // keeps the first half of what it refuses
			if res, err = m.Write(ctx, sinkers.Batch{Rows: []sinkers.Row{r}}); err != nil {
				return res, err
			}
		}
		return res, nil
	}},
	"Write/refused_by_the_database": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		sent := map[[16]byte]bool{} // suspects a row by its place among those sent
		for _, r := range b.Rows {
			if !sent[r.ID] && r.Action.String() == "course.refused" {
				return sinkers.Result{}, sinkers.Permanent(sinkers.Suspect(len(sent), errors.New("refused")))
			}
			sent[r.ID] = true
		}
		return m.Write(ctx, b)
	}},
	"Write/cancelled": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		return m.Write(context.WithoutCancel(ctx), b)
	}},
	"Erase/tenant": {erase: func(ctx context.Context, m *sinkertest.Memory, e sinkers.Erasure) (int64, error) {
		e.Before = e.Before.Truncate(time.Millisecond)
		return m.Erase(ctx, e)
	}},
	"Erase/actor": {erase: func(ctx context.Context, m *sinkertest.Memory, e sinkers.Erasure) (int64, error) {
		e.ActorType, e.ActorID = "", ""
		return m.Erase(ctx, e)
	}},
	"Erase/later_cut-off": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		res, err := m.Write(ctx, b) // says that what is erased was there
		res.Duplicates, res.Erased = res.Duplicates+res.Erased, 0
		return res, err
	}},
	"Erase/invalid": {erase: func(ctx context.Context, m *sinkertest.Memory, e sinkers.Erasure) (int64, error) {
		if e.ActorID == "" { // takes half an actor for the tenant
			e.ActorType = ""
		}
		return m.Erase(ctx, e)
	}},
	"Prune": {prune: func(ctx context.Context, m *sinkertest.Memory, before time.Time, dryRun bool) (int64, error) {
		return m.Prune(ctx, before.Truncate(time.Millisecond), dryRun)
	}},
	"Retention": {write: func(ctx context.Context, m *sinkertest.Memory, b sinkers.Batch) (sinkers.Result, error) {
		res, err := m.Write(ctx, b) // says that what is expired was there
		res.Duplicates, res.Expired = res.Duplicates+res.Expired, 0
		return res, err
	}},
	"Scan": {scan: func(p sinkers.Position) sinkers.Position {
		p.Closes = false
		return p
	}},
	"Probe": {probe: func(ctx context.Context, m *sinkertest.Memory) error { // in the table of events
		r := sinkers.Row{Event: firetrail.Event{ID: firetrail.IDFrom(time.Now(), "probe"), Time: time.Now(), Tenant: "probe"}}
		r.Action, _ = firetrail.ParseName("probe.written")
		_, err := m.Write(ctx, sinkers.Batch{Rows: []sinkers.Row{r}})
		return err
	}},
	"Query/defaults": {query: asking(func(q *sinkers.Query) {
		if q.Limit == 0 {
			q.Limit = sinkers.DefaultLimit - 1
		}
	})},
	"Prune/keeps_out": {prune: func(ctx context.Context, m *sinkertest.Memory, before time.Time, dryRun bool) (int64, error) {
		n, err := m.Prune(ctx, before, true)
		if !dryRun { // keeps the cut-off of a dry run too
			n, err = m.Prune(ctx, before, false)
		} else if err == nil {
			_, err = m.Prune(ctx, before.Add(time.Second), false)
		}
		return n, err
	}},
	"Prune/future": {prune: func(ctx context.Context, m *sinkertest.Memory, before time.Time, dryRun bool) (int64, error) {
		if now := time.Now(); before.After(now) {
			before = now
		}
		return m.Prune(ctx, before, dryRun)
	}},
	"Ledger/acts": {erase: func(ctx context.Context, m *sinkertest.Memory, e sinkers.Erasure) (int64, error) {
		e.DryRun = true
		return m.Erase(ctx, e)
	}},
	"Query/reserved_actions":         {query: asking(func(q *sinkers.Query) { q.Action = strings.TrimPrefix(q.Action, "firetrail.*") })},
	"Write/times":                    {write: editing(func(r *sinkers.Row) { r.Recorded = r.Recorded.Truncate(time.Millisecond) })},
	"Write/unicode":                  {write: editing(func(r *sinkers.Row) { r.Actor.Name = strings.TrimSpace(r.Actor.Name) })},
	"Write/values":                   {write: editing(func(r *sinkers.Row) { r.New = r.Metadata })},
	"Write/all_fields":               {write: editing(func(r *sinkers.Row) { r.Truncated = 0 })},
	"Write/same_id,_two_tenants":     {write: editing(func(r *sinkers.Row) { r.Tenant = "all" })},
	"Query/each_filter":              {query: asking(func(q *sinkers.Query) { q.EntityType = "" })},
	"Query/filters_together":         {query: asking(func(q *sinkers.Query) { q.Outcome = "" })},
	"Query/half-open_times":          {query: asking(func(q *sinkers.Query) { q.To = q.To.Truncate(time.Millisecond) })},
	"Query/pages":                    {query: answering(func(p *sinkers.Page) { p.Next = "" })},
	"Query/order":                    {query: answering(func(p *sinkers.Page) { slices.Reverse(p.Events) })},
	"Query/pages_while_writing":      {query: asking(func(q *sinkers.Query) { q.Cursor = "" })},
	"Query/invalid":                  {query: asking(func(q *sinkers.Query) { q.Limit = min(q.Limit, sinkers.MaxLimit) })},
	"Query/page_between_equal_ids":   {query: answering(dropTenant)},
	"Write/again_in_other_cuts":      {query: answering(func(p *sinkers.Page) { p.Events = slices.Concat(p.Events, p.Events) })},
	"Write/bytes_that_are_not_UTF-8": {write: editing(func(r *sinkers.Row) { r.Actor.Name = strings.ToValidUTF8(r.Actor.Name, "?") })},
	"Query/page_bytes":               {write: editing(func(r *sinkers.Row) { r.New = r.Old })},
	"Query/cancelled": {query: func(_ context.Context, m *sinkertest.Memory, q sinkers.Query) (sinkers.Page, error) {
		return m.Query(context.Background(), q)
	}},
}

// dropTenant makes cursors that don't know of the tenant, as (time, id) ones do.
func dropTenant(p *sinkers.Page) {
	if pos, err := p.Next.Position(); err == nil && p.Next != "" {
		last := p.Events[len(p.Events)-1]
		last.Tenant, last.ID, last.Time = "", pos.ID, pos.Time
		p.Next = sinkers.NewCursor(&last)
	}
}

// TestMutant is for TestKitFindsMutants to run in a process of its own.
func TestMutant(t *testing.T) {
	m, ok := mutants[os.Getenv("FIRETRAIL_TEST_MUTANT")]
	if !ok {
		return
	}
	open := func(*testing.T) sinkers.Sinker {
		m.Memory = new(sinkertest.Memory)
		return m
	}
	sinkertest.Run(t, open, sinkertest.Refusing(func(t *testing.T, _ string) sinkers.Sinker { return open(t) }),
		sinkertest.Retained(func(t *testing.T, r sinkers.Retention) sinkers.Sinker {
			s := open(t)
			m.Retain(r)
			return s
		}))
}

func TestKitFindsMutants(t *testing.T) {
	for name := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var parts []string
			found, _, _ := strings.Cut("TestMutant/"+name, "#")
			for _, p := range strings.Split(found, "/") {
				parts = append(parts, "^"+p+"$")
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+strings.Join(parts, "/"))
			cmd.Env = append(os.Environ(), "FIRETRAIL_TEST_MUTANT="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the kit passed it:\n%s", out)
			require.Contains(t, string(out), "--- FAIL: "+found)
			require.NotContains(t, string(out), "panic")
		})
	}
}

// bare is a Sinker without companions.
type bare struct{ sinkers.Sinker }

func TestKitPassesOverCompanions(t *testing.T) {
	sinkertest.Run(t, func(*testing.T) sinkers.Sinker { return bare{new(sinkertest.Memory)} }, sinkertest.LargeBatch(1_000))
}
