package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/race"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// bare hides the companions of a sink, its Probe before all.
type bare struct{ sinkers.Sinker }

var errStrange = errors.New("something strange")

// poison fails every batch that has one of the rows, with an error that names none.
func poison(err error, ids map[firetrail.ID]bool) sinkertest.Hook {
	return sinkertest.FailBatches(func(r *sinkers.Row) error {
		if ids[r.ID] {
			return err
		}
		return nil
	})
}

func pick(events []firetrail.Event, at ...int) map[firetrail.ID]bool {
	ids := map[firetrail.ID]bool{}
	for _, i := range at {
		ids[events[i].ID] = true
	}
	return ids
}

// Poison costs itself alone, whatever the sink says of it and wherever it is in the batch.
func TestPoisonCostsItselfAlone(t *testing.T) {
	for _, kind := range []struct {
		name string
		hook func(ids map[firetrail.ID]bool) sinkertest.Hook
	}{
		{"named", func(ids map[firetrail.ID]bool) sinkertest.Hook {
			return sinkertest.FailRows(func(r *sinkers.Row) error {
				if ids[r.ID] {
					return errStrange
				}
				return nil
			})
		}},
		{"permanent", func(ids map[firetrail.ID]bool) sinkertest.Hook { return poison(sinkers.Permanent(errStrange), ids) }},
		{"not understood", func(ids map[firetrail.ID]bool) sinkertest.Hook { return poison(errStrange, ids) }},
		{"guessed", func(ids map[firetrail.ID]bool) sinkertest.Hook {
			return guessed(sinkers.Permanent(errStrange), ids, right)
		}},
		{"guessed wrong", func(ids map[firetrail.ID]bool) sinkertest.Hook { return guessed(errStrange, ids, wrong(ids)) }},
	} {
		for _, probes := range []bool{true, false} {
			for name, at := range map[string][]int{
				"first": {0}, "last": {999}, "some": {1, 2, 3, 400, 999}, "near": {510, 511, 512, 513},
			} {
				t.Run(fmt.Sprintf("%s/%s/probes=%v", kind.name, name, probes), func(t *testing.T) {
					inWorld(t, 1, func(t *testing.T, w *world) {
						events := w.events(1000, 0)
						bad := pick(events, at...)
						w.sink.OnWrite(kind.hook(bad))
						r := w.start(func(c *Config) {
							if !probes {
								c.Sink = bare{w.sink}
							}
						})
						w.awaitStored(1000 - len(at))
						w.events(5, 0) // without a probe, proof comes with what is new
						w.await("suspects to be there or judged", func() bool {
							s := r.Stats()
							return s.Letters[dlq.ReasonRefused] == int64(len(at)) || s.Suspects > 0
						})
						for range 5 {
							w.events(5, 0)
							pass(10 * time.Second)
						}
						w.awaitCommitted(0, 1030)
						for _, l := range w.letters(len(at)) {
							require.Contains(t, header(l, "__connect.errors.exception.message"), "strange")
							require.Equal(t, "write", header(l, "__connect.errors.stage"))
						}
						w.awaitStored(1030 - len(at))
						r.stop()
					})
				})
			}
		}
	}
}

// A forged event in the same batch never comes before the one it is forged from, wherever the poison is that has the batch
// taken apart.
func TestForgedBesidePoison(t *testing.T) {
	for bad := range 8 {
		for _, probes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d/probes=%v", bad, probes), func(t *testing.T) {
				inWorld(t, 1, func(t *testing.T, w *world) {
					var records []*kgo.Record
					var good []firetrail.Event
					for i := range 8 {
						e := w.event("tenant-0")
						e.Source, e.Seq = "imports", 0
						if i == bad {
							w.sink.OnWrite(poison(sinkers.Permanent(errStrange), map[firetrail.ID]bool{e.ID: true}))
						} else {
							good = append(good, e)
						}
						records = append(records, w.record(e, 0))
					}
					for _, e := range good {
						e.Actor.ID = "mallory"
						records = append(records, w.record(e, 0), w.record(e, 0))
					}
					w.produce(records...)
					r := w.start(func(c *Config) {
						if !probes {
							c.Sink = bare{w.sink}
						}
					})
					w.awaitCommitted(0, int64(len(records)))
					for _, row := range w.sink.Rows() {
						require.Equal(t, "u1", row.Actor.ID)
					}
					require.Equal(t, 7, w.sink.Len())
					require.EqualValues(t, 14, r.Stats().Letters[dlq.ReasonConflict])
					require.EqualValues(t, 1, r.Stats().Letters[dlq.ReasonRefused])
					require.Less(t, len(w.sink.Writes()), 20)
					r.stop()
				})
			})
		}
	}
}

// A row that is poison and alone, with an error nobody understands: the probe decides.
func TestLonePoison(t *testing.T) {
	t.Run("the probe stores", func(t *testing.T) {
		inWorld(t, 1, func(t *testing.T, w *world) {
			w.sink.OnWrite(poison(errStrange, pick(w.events(1, 0), 0)))
			r := w.start(nil)
			w.awaitCommitted(0, 1)
			w.letters(1)
			r.stop()
		})
	})
	t.Run("there is no probe", func(t *testing.T) {
		inWorld(t, 1, func(t *testing.T, w *world) {
			w.sink.OnWrite(poison(errStrange, pick(w.events(1, 0), 0)))
			r := w.start(func(c *Config) { c.Sink = bare{w.sink} })
			w.await("suspicion", func() bool { return r.Stats().Suspects == 1 })
			pass(time.Hour)
			require.EqualValues(t, -1, w.committed(0))
			w.noLetters()
			for range 4 {
				w.events(1, 0) // proof
				pass(time.Minute)
			}
			w.awaitCommitted(0, 5)
			w.letters(1)
			r.stop()
		})
	})
}

// A database that goes away while a batch is being halved makes no letters of the rows it no longer takes.
func TestDatabaseAwayInTheMiddleOfIsolating(t *testing.T) {
	type failing = func(error, map[firetrail.ID]bool) sinkertest.Hook
	for _, c := range []struct {
		name string
		fail failing
		away int // the write in which it goes: in the middle of the search
	}{
		{"silent", poison, 10},
		{"guess", func(err error, bad map[firetrail.ID]bool) sinkertest.Hook { return guessed(err, bad, right) }, 5},
		{"others", func(err error, bad map[firetrail.ID]bool) sinkertest.Hook { return guessed(err, bad, right) }, 6},
	} {
		for _, probes := range []bool{true, false} {
			if c.name == "guess" && !probes || c.name == "others" && probes || race.Enabled && c.name == "silent" { // each takes its time
				continue
			}
			t.Run(fmt.Sprintf("%s/probes=%v", c.name, probes), func(t *testing.T) {
				inWorld(t, 1, func(t *testing.T, w *world) {
					events := w.events(1000, 0)
					bad := pick(events, 17, 700)
					writes := 0
					w.sink.OnWrite(func(ctx context.Context, b sinkers.Batch) error {
						if writes++; writes >= c.away && writes < 400 {
							w.sink.Away(errStrange) // for an hour
							time.AfterFunc(time.Hour, func() { w.sink.Away(nil) })
							writes = 400
							return errStrange
						}
						return c.fail(errStrange, bad)(ctx, b)
					})
					r := w.start(func(c *Config) {
						if !probes {
							c.Sink = bare{w.sink}
						}
					})
					pass(50 * time.Minute)
					w.noLetters()
					bound := 700
					if !probes { // it has nothing else to ask with
						bound = 7000
					}
					require.Less(t, len(w.sink.Writes()), bound, "it goes on isolating, or hammers the database")
					for range 10 {
						w.events(1, 0)
						pass(10 * time.Minute)
					}
					w.awaitCommitted(0, 1010)
					w.awaitStored(1008)
					w.letters(2)
					r.stop()
				})
			})
		}
	}
}

// rulings takes down what a store rules.
type rulings struct {
	storedRows, refusedRows, suspects int
	proofs                            int // with other events
}

func (r *rulings) keep(b *batch) *batch { return b }
func (r *rulings) stored(b *batch, _ sinkers.Result, _ time.Duration) {
	r.storedRows += b.len()
}
func (r *rulings) refused(*batch, error) { r.refusedRows++ }
func (r *rulings) suspected(_ *batch, _ error, ev evidence) {
	r.suspects++
	if ev == eventsStored {
		r.proofs++
	}
}

// The writes it takes to find k bad rows of n are bounded.
func TestIsolatingIsCheap(t *testing.T) {
	for _, c := range []struct{ n, k int }{{50_000, 1}, {50_000, 10}, {10_000, 100}, {1000, 1000 / 3}, {2, 1}, {3, 1}} {
		t.Run(fmt.Sprintf("%d of %d", c.k, c.n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, sink: &sinkertest.Memory{}}
				b := &batch{}
				bad := map[firetrail.ID]bool{}
				p := newPartition(source{})
				for i := range c.n {
					e := w.event("a")
					if i%(c.n/c.k) == 0 && len(bad) < c.k {
						bad[e.ID] = true
					}
					rec := w.record(e, 0)
					b.add(item{part: p, rec: rec}, recordBytes(rec))
					b.rows = append(b.rows, sinkers.Row{Event: e})
				}
				w.sink.OnWrite(poison(sinkers.Permanent(errStrange), bad))
				s, r := newStore(w.sink, Retry{WriteTimeout: -1}), &rulings{}
				rest, err := s.attempt(t.Context(), b, r)
				require.ErrorIs(t, err, errStrange)
				rest, err = s.isolate(t.Context(), rest, err, r, false)
				require.NoError(t, err)
				require.Nil(t, rest)
				require.Equal(t, rulings{storedRows: c.n - c.k, suspects: c.k, proofs: c.k}, *r)
				bound := 1 + 2*c.k*(1+bits.Len(uint(c.n/c.k)))
				t.Logf("%d writes; the bound is %d", len(w.sink.Writes()), bound)
				require.LessOrEqual(t, len(w.sink.Writes()), bound)
			})
		})
	}
}

// Whatever k of n rows are bad, together or scattered, it takes no more than 2k(1+log2(n/k)) writes to find them.
func TestIsolatingIsCheapAtRandom(t *testing.T) {
	w := &world{t: t, sink: &sinkertest.Memory{}}
	all := &batch{}
	p := newPartition(source{})
	for range 8_192 {
		e := w.event("a")
		rec := w.record(e, 0)
		all.add(item{part: p, rec: rec}, recordBytes(rec))
		all.rows = append(all.rows, sinkers.Row{Event: e})
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 60 {
		n := 2 + rnd.IntN(1<<(1+rnd.IntN(13)))
		k := 1 + rnd.IntN(max(min(n-1, 1<<rnd.IntN(9)), 1))
		if k > n/2 { // hardly anything is good: that may be an outage
			continue
		}
		together := rnd.IntN(2) == 0
		bad, at := map[firetrail.ID]bool{}, rnd.IntN(n-k+1)
		for len(bad) < k {
			i := rnd.IntN(n)
			if together {
				i = at + len(bad)
			}
			bad[all.rows[i].ID] = true
		}
		sink := &sinkertest.Memory{}
		sink.OnWrite(poison(sinkers.Permanent(errStrange), bad))
		s, r := newStore(sink, Retry{WriteTimeout: -1}), &rulings{}
		b := *all.slice(0, n)
		rest, err := s.attempt(t.Context(), &b, r)
		require.Error(t, err)
		rest, err = s.isolate(t.Context(), rest, err, r, false)
		require.NoError(t, err)
		require.Nil(t, rest)
		require.Equal(t, []int{n - k, k}, []int{r.storedRows, r.suspects})
		bound := 1 + 2*k*(1+bits.Len(uint(n/k)))
		require.LessOrEqual(t, len(sink.Writes()), bound, "%d of %d, together %v", k, n, together)
	}
}

// takesItAll ends an outage, and the worker when all n events are stored; none of them is a letter.
func (w *world) takesItAll(r *running, n int) {
	w.t.Helper()
	pass(30 * time.Second)
	w.sink.OnWrite(nil)
	w.awaitStored(n)
	w.awaitCommitted(0, int64(n))
	r.stop()
	w.noLetters()
}

// A sink that takes nothing of a batch is away, whatever its error and its probe say.
func TestNothingStoredIsAnOutage(t *testing.T) {
	for _, err := range []error{errStrange, sinkers.Permanent(errStrange)} {
		inWorld(t, 1, func(t *testing.T, w *world) {
			w.events(5000, 0)
			w.sink.OnWrite(sinkertest.Fail(err))
			r := w.start(nil)
			w.await("pause", func() bool { return r.Stats().State == Paused })
			w.takesItAll(r, 5000)
		})
	}
}

func TestNamedRowsOutOfRangeAreIgnored(t *testing.T) {
	named := namedRows(&sinkers.BatchError{Rows: []sinkers.RowError{{Index: -1}, {Index: 1}, {Index: 2, Err: errStrange}}}, 2)
	require.Len(t, named, 1)
	require.True(t, strings.Contains(named[1].Error(), "without a reason"))
}

// A row that waits to be tried again keeps nothing else of its batch in memory.
func TestSuspectKeepsNoBatch(t *testing.T) {
	b := &batch{rows: make([]sinkers.Row, 3), items: make([]item, 3)}
	for i := range b.items {
		b.items[i].rec = &kgo.Record{Value: make([]byte, 100)}
	}
	other := weak.Make(b.items[0].rec)
	var s suspects
	s.add(&suspectRow{b: b.slice(1, 2)}, errStrange, noEvidence, 0)
	runtime.GC()
	require.Nil(t, other.Value())
	require.Equal(t, 1, s.rows[0].b.len())
}
