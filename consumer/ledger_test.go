package consumer

import (
	"context"
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

// unledgered is a sink whose ledger takes no entries while it is away.
type unledgered struct {
	*sinkertest.Memory
	away  atomic.Bool
	tries atomic.Int64
}

func (u *unledgered) AppendLedger(ctx context.Context, entries []sinkers.LedgerEntry) error {
	u.tries.Add(1)
	if u.away.Load() {
		return errDown
	}
	return u.Memory.AppendLedger(ctx, entries)
}

func (*unledgered) Close() error { return nil } // it outlives that, in a pool

// A worker that is killed after it has sent a letter, and before the ledger has it, has not committed the letter's offset:
// the next one notes it.
func TestNoteOutlivesAKilledWorker(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &unledgered{Memory: w.sink}
		refused := w.event("tenant-0")
		refused.Actor.Name = "poison"
		w.sink.OnWrite(sinkertest.FailRows(sinkertest.ActorName("poison", true)))
		sink.away.Store(true)
		r := w.start(func(c *Config) { c.Sink = sink })
		w.events(5, 0)
		w.awaitCommitted(0, 5)
		w.produce(w.record(refused, 0))
		w.events(5, 0)
		w.awaitStored(10)
		w.await("tries", func() bool { return sink.tries.Load() > 3 })
		w.letters(1)
		require.EqualValues(t, 5, w.committed(0), "nothing from the letter on is committed")
		require.ErrorContains(t, r.Ready(), "not noted in the ledger")
		r.abort()
		<-r.done

		sink.away.Store(false)
		r = w.start(func(c *Config) { c.Sink = sink })
		w.awaitCommitted(0, 11)
		require.Len(t, ledger(t, w.sink), 1)
		w.letters(1)
		r.stop()
		require.Zero(t, r.Stats().LedgerLost)
	})
}

// Once the ledger takes notes again the offsets that waited are committed, and the partition is read on; a stop has the
// ledger tried once more.
func TestOffsetsWaitForNotes(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		sink := &unledgered{Memory: w.sink}
		w.sink.OnWrite(sinkertest.FailRows(sinkertest.ActorName("poison", true)))
		poisoned := func() {
			e := w.event("tenant-0")
			e.Actor.Name = "poison"
			w.produce(w.record(e, 0))
		}
		sink.away.Store(true)
		r := w.start(func(c *Config) { c.Sink = sink })
		w.events(3, 0)
		poisoned()
		w.letters(1)
		w.await("a partition that waits", func() bool { return r.Ready() != nil })
		w.events(3, 1)
		w.awaitCommitted(1, 3)
		w.events(3, 0)
		pass(time.Minute)
		require.EqualValues(t, 3, w.committed(0))
		sink.away.Store(false)
		w.awaitCommitted(0, 7)
		require.NoError(t, r.Ready())

		sink.away.Store(true)
		poisoned()
		tries := sink.tries.Load()
		w.await("a try", func() bool { return sink.tries.Load() > tries })
		sink.away.Store(false)
		r.stop()
		require.EqualValues(t, 8, w.committed(0))
		require.Len(t, ledger(t, w.sink), 2)
		require.Zero(t, r.Stats().LedgerLost)
	})
}

// A tenant whose ledger is away holds up the offsets of no others; the notes are written when it is back.
func TestNotesOfATenantHoldUpNobody(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		f := newFleet()
		b := &unledgered{Memory: f.of("b")}
		router, err := sinkers.NewRouter(sinkers.RouterConfig{
			Resolve: func(ctx context.Context, tenant string) (sinkers.Sinker, error) {
				if tenant == "b" {
					return b, nil
				}
				return f.resolve(ctx, tenant)
			},
			Tenants: f.tenants,
		})
		require.NoError(t, err)
		bad := w.event("b")
		b.OnWrite(poison(sinkers.Permanent(errStrange), pick([]firetrail.Event{bad}, 0)))
		b.away.Store(true)
		r := w.start(func(c *Config) { c.Sink = router })
		w.mixed(5, "a")
		w.produce(w.record(bad, 0))
		w.mixed(5, "a", "b")
		w.awaitCommitted(0, 16)
		w.letters(1)
		require.NoError(t, r.Ready())
		require.Empty(t, ledger(t, b.Memory))
		b.away.Store(false)
		w.await("the note", func() bool { return len(ledger(t, b.Memory)) == 1 })
		r.stop()
		require.Zero(t, r.Stats().LedgerLost)
		require.NoError(t, router.Close())
	})
}

// What the retry engine finds out to be a letter for good is noted before the engine hears of it, or else tried again.
func TestRedeliveryIsNoted(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &unledgered{Memory: w.sink}
		cfg := w.config()
		cfg.Sink = sink
		worker, err := New(cfg)
		require.NoError(t, err)
		good, bad := w.event("a"), w.event("a")
		w.sink.OnWrite(poison(sinkers.Permanent(errStrange), pick([]firetrail.Event{bad}, 0)))
		letters := []dlq.Letter{letterOf(w.record(good, 0)), letterOf(w.record(bad, 0))}
		sink.away.Store(true)
		require.Equal(t, []dlq.Outcome{dlq.Delivered, dlq.Away}, worker.redeliver(t.Context(), letters))
		sink.away.Store(false)
		require.Equal(t, []dlq.Outcome{dlq.Delivered, dlq.Refused}, worker.redeliver(t.Context(), letters))
		require.Len(t, ledger(t, w.sink), 1)
	})
}

// A direct replay waits for the ledger.
func TestReplayWaitsForTheLedger(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &unledgered{Memory: w.sink}
		events := w.events(5, 0)
		w.sink.OnWrite(poison(sinkers.Permanent(errStrange), pick(events, 2)))
		sink.away.Store(true)
		time.AfterFunc(10*time.Minute, func() { sink.away.Store(false) })
		report := w.replay(func(r *Replay) { r.Sink = sink })
		require.Equal(t, map[string]int64{dlq.ReasonRefused: 1}, report.Letters)
		require.Greater(t, sink.tries.Load(), int64(1))
		require.Len(t, ledger(t, w.sink), 1)
	})
}

// letterOf is the letter of a record.
func letterOf(rec *kgo.Record) dlq.Letter {
	l := dlq.Letter{Key: rec.Key, Value: rec.Value}
	for _, h := range rec.Headers {
		l.Headers = append(l.Headers, dlq.Header{Key: h.Key, Value: h.Value})
	}
	return l
}
