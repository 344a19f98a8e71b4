package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// While a database is away it is asked by a probe, or a ping, and what waits for it is not sent again.
func TestCircuit(t *testing.T) {
	for _, probes := range []bool{true, false} {
		t.Run(fmt.Sprintf("probes=%v", probes), func(t *testing.T) {
			inWorld(t, 1, func(t *testing.T, w *world) {
				r := w.start(func(c *Config) {
					if !probes {
						c.Sink = bare{w.sink}
					}
				})
				w.await("start", func() bool { return r.Ready() == nil })
				require.Equal(t, Circuit{State: CircuitClosed}, r.Stats().Circuit)
				w.sink.Away(errDown)
				w.events(2_000, 0)
				w.await("the circuit to open", func() bool { return r.Stats().Circuit.State == CircuitOpen })
				since, writes := time.Now(), len(w.sink.Writes())
				pass(time.Hour)
				s := r.Stats()
				require.Len(t, w.sink.Writes(), writes, "the batch is not sent while nothing answers")
				require.Contains(t, s.Circuit.Reason, errDown.Error())
				require.WithinDuration(t, since, s.Circuit.Since, time.Minute)
				require.EqualValues(t, 1, s.CircuitTrips)
				require.ErrorContains(t, r.Ready(), "paused: the database is away since "+s.Circuit.Since.UTC().Format(time.RFC3339))
				require.ErrorContains(t, r.Ready(), errDown.Error())
				w.sink.Away(nil)
				w.awaitStored(2_000)
				w.awaitCommitted(0, 2_000)
				w.await("the circuit to close", func() bool { return r.Ready() == nil })
				require.Equal(t, Circuit{State: CircuitClosed}, r.Stats().Circuit)
				sum := 0
				for _, n := range w.sink.Writes()[writes:] {
					sum += n
				}
				require.Equal(t, 2_000, sum)
				w.noLetters()
				r.stop()
			})
		})
	}
}

// A database that answers the probe and stores nothing of the batch opens the circuit again, without another trip; one
// that hangs is half-open for as long.
func TestCircuitHalfOpen(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(nil)
		w.sink.OnWrite(sinkertest.Fail(errStrange))
		w.events(100, 0)
		w.await("the circuit to open", func() bool { return r.Stats().Circuit.State == CircuitOpen })
		pass(time.Minute)
		require.NotEqual(t, CircuitClosed, r.Stats().Circuit.State)
		require.EqualValues(t, 1, r.Stats().CircuitTrips)
		w.sink.OnWrite(sinkertest.Hang())
		w.await("the try", func() bool { return r.Stats().Circuit.State == CircuitHalfOpen })
		w.sink.OnWrite(nil)
		w.awaitCommitted(0, 100)
		require.Equal(t, CircuitClosed, r.Stats().Circuit.State)
		w.noLetters()
		r.stop()
	})
}

// The tenants whose database is away are counted, and make the worker unready when it has stored nothing for anybody since.
func TestCircuitOfEachTenant(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		f := newFleet()
		router := f.router(t, 8)
		r := w.start(func(c *Config) { c.Sink = router })
		f.set("down", func(context.Context) error { return errDown })
		w.mixed(10, "a", "down")
		w.await("the circuit to open", func() bool { return r.Stats().AwayTenants == 1 })
		require.ErrorContains(t, r.Ready(), "all tenants that had events since", "nobody else had any")
		w.mixed(10, "a")
		w.await("another's", func() bool { return f.of("a").Len() == 20 })
		require.NoError(t, r.Ready())
		require.Contains(t, r.Stats().Circuit.Reason, errDown.Error())
		var tries atomic.Int32
		f.set("down", func(context.Context) error { tries.Add(1); return errDown })
		f.of("down").OnWrite(func(context.Context, sinkers.Batch) error { t.Error("written to while away"); return errDown })
		pass(10 * time.Minute)
		require.LessOrEqual(t, int(tries.Load()), 30, "it is asked every half minute at the most")
		require.GreaterOrEqual(t, int(tries.Load()), 15)
		f.of("down").OnWrite(nil)
		f.set("down", nil)
		w.await("the way back", func() bool { return f.of("down").Len() == 10 && r.Stats().AwayTenants == 0 })
		s := r.Stats()
		require.Equal(t, Circuit{State: CircuitClosed}, s.Circuit)
		require.EqualValues(t, 1, s.CircuitTrips)
		r.stop()
		require.NoError(t, router.Close())
	})
}

// Each reason for not being ready is given: before and after Run, letters that can't be written, brokers that are gone.
func TestReasonsForNotBeingReady(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		idle, err := New(w.config())
		require.NoError(t, err)
		require.EqualError(t, idle.Ready(), "idle: Run was not called yet")

		r := w.start(nil)
		w.await("start", func() bool { return r.Ready() == nil })
		var away, letters atomic.Bool
		away.Store(true)
		w.cluster.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			// The first is the test's own, below; the letter may follow before that has returned.
			return nil, errors.New("refused"), letters.Swap(true) && away.Load()
		})
		w.produce(garbage())
		w.await("the letter", func() bool { return r.Ready() != nil })
		require.EqualError(t, r.Ready(), "letters can't be written, or not noted in the ledger, and 1 partitions wait for that")
		away.Store(false)
		w.await("the letter to be written", func() bool { return r.Ready() == nil })
		r.link.set(true)
		w.await("the outage", func() bool { return r.Ready() != nil })
		require.ErrorContains(t, r.Ready(), "the brokers don't answer as they should")
		r.link.set(false)
		w.await("the way back", func() bool { return r.Ready() == nil })
		r.stop()
		require.EqualError(t, r.Ready(), "stopped: Run has returned")
	})
}
