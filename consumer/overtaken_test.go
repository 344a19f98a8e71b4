package consumer

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// forge returns n events with the id of e and other content, each another's.
func forge(e firetrail.Event, n int) (events []firetrail.Event) {
	for i := range n {
		e.Actor.ID = fmt.Sprint("mallory ", i)
		events = append(events, e)
	}
	return events
}

// refusing fails the batches that have e, but not what is forged from it, for as long as on says so.
func refusing(e firetrail.Event, err error, on *atomic.Bool) sinkertest.Hook {
	return sinkertest.FailBatches(func(r *sinkers.Row) error {
		if on.Load() && r.ID == e.ID && r.Actor.ID == e.Actor.ID {
			return err
		}
		return nil
	})
}

// overtaking runs a worker, on one database or on one for each tenant, with a row that fails by itself and waits for proof.
func overtaking(t *testing.T, test func(t *testing.T, w *world, r *running, sink *sinkertest.Memory, e firetrail.Event, bad *atomic.Bool)) {
	for _, perTenant := range []bool{false, true} {
		for _, probes := range []bool{true, false} {
			if perTenant && !probes { // a Tenant has every companion
				continue
			}
			t.Run(fmt.Sprintf("perTenant=%v/probes=%v", perTenant, probes), func(t *testing.T) {
				inWorld(t, 1, func(t *testing.T, w *world) {
					f := newFleet()
					router := f.router(t, 4)
					sink := w.sink
					if perTenant {
						sink = f.of("tenant-0")
					}
					e, bad := w.event("tenant-0"), new(atomic.Bool)
					e.Source, e.Seq = "imports", 0
					bad.Store(true)
					sink.OnWrite(refusing(e, errStrange, bad))
					r := w.start(func(c *Config) {
						switch {
						case perTenant:
							c.Sink = router
						case !probes:
							c.Sink = bare{sink}
						}
						c.Retry.Delay, c.Retry.MaxDelay = 10*time.Second, 10*time.Second
					})
					test(t, w, r, sink, e, bad)
					r.stop()
					require.NoError(t, router.Close())
				})
			})
		}
	}
}

// shown is who did what is stored under e's id; "" where nothing is.
func shown(sink *sinkertest.Memory, e firetrail.Event) string {
	for _, row := range sink.Rows() {
		if row.ID == e.ID {
			return row.Actor.ID
		}
	}
	return ""
}

func (w *world) send(events ...firetrail.Event) {
	w.t.Helper()
	var records []*kgo.Record
	for _, e := range events {
		records = append(records, w.record(e, 0))
	}
	w.produce(records...)
}

// A row that waits for proof isn't overtaken by one with its id, in its own batch or a later one: once it can be
// stored it is, and what was forged from it is in conflict.
func TestSuspectIsNotOvertaken(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same batch=%v", same), func(t *testing.T) {
			overtaking(t, func(t *testing.T, w *world, r *running, sink *sinkertest.Memory, e firetrail.Event, bad *atomic.Bool) {
				w.events(3, 0)
				forged := forge(e, 3)
				if same {
					w.send(append([]firetrail.Event{e}, forged...)...)
				} else {
					w.send(e)
				}
				w.await("a suspect", func() bool { return r.Stats().Suspects == 1 })
				if !same {
					w.send(forged...)
				}
				w.events(1, 0)
				w.await("what has nothing to do with it", func() bool { return sink.Len() >= 4 })
				pass(5 * time.Second)
				require.Empty(t, shown(sink, e))
				require.Equal(t, 4, sink.Len())
				w.send(e, forged[0]) // again, and a copy
				pass(3 * time.Second)
				require.Empty(t, shown(sink, e))
				held := 0
				r.flow.mu.Lock()
				for _, p := range r.flow.parts {
					held += p.held
				}
				r.flow.mu.Unlock()
				require.Zero(t, held, "a rebalance would wait for them")
				bad.Store(false)
				w.awaitCommitted(0, 10)
				require.Equal(t, "u1", shown(sink, e))
				require.Equal(t, 5, sink.Len())
				require.EqualValues(t, 4, r.Stats().Letters[dlq.ReasonConflict])
				require.EqualValues(t, 0, r.Stats().Letters[dlq.ReasonRefused])
			})
		})
	}
}

// When the row is found to be poison the next with its id is the first to be stored, and no memory is left.
func TestAfterAConvictedSuspect(t *testing.T) {
	overtaking(t, func(t *testing.T, w *world, r *running, sink *sinkertest.Memory, e firetrail.Event, _ *atomic.Bool) {
		w.events(3, 0)
		w.send(e)
		w.await("a suspect", func() bool { return r.Stats().Suspects == 1 })
		forged := forge(e, 2)
		w.send(forged[0], e, forged[1])
		for range 8 {
			require.True(t, shown(sink, e) == "" || r.Stats().Letters[dlq.ReasonRefused] > 0)
			w.events(1, 0)
			pass(12 * time.Second)
		}
		w.await("the letters", func() bool { return r.Stats().Letters[dlq.ReasonRefused] == 2 })
		w.awaitCommitted(0, 15)
		require.Equal(t, "mallory 0", shown(sink, e))
		require.EqualValues(t, 1, r.Stats().Letters[dlq.ReasonConflict])
		require.Equal(t, 12, sink.Len())
		require.Zero(t, r.Stats().Suspects)
	})
}

// A row whose guilt is plain at once holds up what was forged from it no longer than that.
func TestForgedFromPoisonIsQuick(t *testing.T) {
	overtaking(t, func(t *testing.T, w *world, r *running, sink *sinkertest.Memory, e firetrail.Event, bad *atomic.Bool) {
		sink.OnWrite(refusing(e, sinkers.Permanent(errStrange), bad))
		good := w.event("tenant-0")
		w.send(append([]firetrail.Event{good, e, e}, forge(e, 2)...)...)
		pass(5 * time.Second) // the first delay is 10
		require.Equal(t, map[string]int64{dlq.ReasonRefused: 2, dlq.ReasonConflict: 1}, r.Stats().Letters)
		require.Equal(t, "mallory 0", shown(sink, e))
		w.awaitCommitted(0, 5)
	})
}

// A database that goes away when it is the turn of what waited: that waits on, all of it and in order.
func TestAwayWhenItIsTheirTurn(t *testing.T) {
	overtaking(t, func(t *testing.T, w *world, r *running, sink *sinkertest.Memory, e firetrail.Event, _ *atomic.Bool) {
		w.events(3, 0)
		forged := forge(e, 3)
		w.send(e, forged[0])
		w.await("a suspect", func() bool { return r.Stats().Suspects == 1 })
		w.send(forged[1])
		pass(2 * time.Second)
		stored := false
		sink.OnWrite(func(_ context.Context, b sinkers.Batch) error {
			if !stored && b.Rows[0].ID == e.ID {
				stored = true
				return nil
			}
			sink.Away(errStrange)
			return errStrange
		})
		w.await("it to be stored", func() bool { return shown(sink, e) != "" })
		w.send(forged[2])
		pass(20 * time.Second)
		require.Zero(t, r.Stats().Letters[dlq.ReasonConflict])
		sink.OnWrite(nil)
		sink.Away(nil)
		w.events(3, 0) // proof
		w.awaitCommitted(0, 10)
		require.Equal(t, "u1", shown(sink, e))
		require.EqualValues(t, 3, r.Stats().Letters[dlq.ReasonConflict])
		require.EqualValues(t, 0, r.Stats().Letters[dlq.ReasonRefused])
	})
}

// What waits keeps its order and its history, and whoever comes before it had its turn waits behind it.
func TestAside(t *testing.T) {
	w := &world{t: t}
	all := w.rows(8)
	for _, i := range []int{2, 4, 5, 7} {
		all.rows[i].Event = all.rows[0].Event // with the id of the first
	}
	all.items[0].n = 1 // it is told from the others
	var s suspects
	ready, waits := s.aside(all)
	require.Same(t, all, ready)
	require.Nil(t, waits)
	s.add(&suspectRow{b: all.slice(0, 1)}, errStrange, noEvidence, 0)

	failed := all.slice(0, 3)
	failed.tries, failed.failedAt, failed.seen = 1, time.Now(), 7
	ready, waits = s.aside(failed)
	require.Equal(t, all.items[:2], ready.items, "it doesn't wait for itself")
	require.Equal(t, all.items[2:3], waits.items)
	ready, waits = s.aside(all.slice(3, 5))
	require.Equal(t, all.items[3:4], ready.items)
	require.Equal(t, all.items[4:5], waits.items)
	require.False(t, s.ready())
	s.open = nil
	require.True(t, s.ready())
	ready, _ = s.aside(all.slice(5, 7))
	require.Equal(t, all.items[6:7], ready.items, "others go on")
	turn := s.turn()
	require.Len(t, turn, 2)
	require.Equal(t, all.items[2:3], turn[0].items)
	require.Equal(t, failed.failedAt, turn[0].failedAt)
	require.Equal(t, []item{all.items[4], all.items[5]}, turn[1].items)
	require.Zero(t, turn[1].failedAt)
	ready, waits = s.aside(all.slice(7, 8))
	require.Equal(t, 1, ready.len())
	require.Nil(t, waits)
}

// What waits behind a row counts in the memory, which stops the fetching as anything else that waits does; and a database that
// goes away meanwhile changes nothing.
func TestWaitingBehindASuspectIsBounded(t *testing.T) {
	overtaking(t, func(t *testing.T, w *world, r *running, sink *sinkertest.Memory, e firetrail.Event, bad *atomic.Bool) {
		w.events(3, 0)
		w.send(e)
		w.await("a suspect", func() bool { return r.Stats().Suspects == 1 })
		before := r.Stats().InFlightBytes
		w.send(forge(e, 1000)...)
		w.await("all to be read", func() bool { return r.Stats().Records == 1004 })
		pass(5 * time.Second)
		require.Equal(t, 3, sink.Len())
		require.Greater(t, r.Stats().InFlightBytes, before+1000*512)
		writes := len(sink.Writes())
		sink.Away(errStrange)
		pass(time.Minute)
		sink.Away(nil)
		require.Less(t, len(sink.Writes())-writes, 60)
		require.Empty(t, shown(sink, e))
		bad.Store(false)
		w.awaitCommitted(0, 1004)
		require.Equal(t, "u1", shown(sink, e))
		require.EqualValues(t, 1000, r.Stats().Letters[dlq.ReasonConflict])
		require.Zero(t, r.Stats().InFlightBytes)
	})
}

// Letters that are tried again and a replay keep to it too: what has the id of a row of which nothing is known waits for
// the next time.
func TestUnsureRowsAreNotOvertaken(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		e, bad := w.event("tenant-0"), new(atomic.Bool)
		bad.Store(true)
		w.sink.OnWrite(refusing(e, errStrange, bad))
		forged := forge(e, 1)[0]
		w.send(e, forged)

		_, err := w.tryReplay(func(r *Replay) { r.Sink = bare{w.sink} })
		require.ErrorIs(t, err, errStrange)
		require.Zero(t, w.sink.Len())

		cfg := w.config()
		cfg.Sink = bare{w.sink}
		worker, err := New(cfg)
		require.NoError(t, err)
		var letters []dlq.Letter
		for i, e := range []firetrail.Event{e, forged} {
			rec := w.record(e, 0)
			l := dlq.Letter{Topic: rec.Topic, Offset: int64(i), Time: time.Now(), Key: rec.Key, Value: rec.Value}
			for _, h := range rec.Headers {
				l.Headers = append(l.Headers, dlq.Header{Key: h.Key, Value: h.Value})
			}
			letters = append(letters, l)
		}
		require.Equal(t, []dlq.Outcome{dlq.Away, dlq.Away}, worker.redeliver(t.Context(), letters))
		require.Zero(t, w.sink.Len())
		bad.Store(false)
		require.Equal(t, []dlq.Outcome{dlq.Delivered, dlq.Refused}, worker.redeliver(t.Context(), letters))
		require.Equal(t, "u1", shown(w.sink, e))
	})
}
