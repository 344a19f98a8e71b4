package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/sinkers"
)

// losses are what a worker counted.
func losses(r *running) [2]int64 {
	s := r.Stats()
	return [2]int64{s.DataLosses, s.Lost}
}

// unexplained returns how many events verify misses.
func (w *world) unexplained() uint64 {
	w.t.Helper()
	report, err := Verify{Sink: w.sink, Scan: sinkers.Scan{AllTenants: true}}.Run(w.t.Context())
	require.NoError(w.t, err)
	return report.Unexplained
}

// What Kafka deleted while the group was stopped is counted to the record, and the commit moves past it; where
// nothing is lost, nothing is said.
func TestLostWhileStopped(t *testing.T) {
	inWorld(t, 4, func(t *testing.T, w *world) {
		for p := range int32(4) {
			w.events(30, p)
		}
		w.setGroup(0, 5)
		w.deleteRecords(0, 12) // 7 are lost
		w.setGroup(1, 5)
		w.deleteRecords(1, 30) // 25 are lost, and nothing is left
		w.setGroup(2, 12)
		w.deleteRecords(2, 12) // none is lost
		w.deleteRecords(3, 10) // the group never was here
		require.EqualValues(t, 32, w.lag().Lost)

		r := w.start(nil)
		w.awaitStored(18 + 18 + 20)
		w.await("both losses", func() bool { return losses(r) == [2]int64{2, 32} })
		w.awaitCommitted(0, 30)
		w.awaitCommitted(1, 30)
		s := r.Stats()
		for i, lost := range []int64{7, 25, 0, 0} {
			require.Equal(t, lost, s.Partitions[i].Lost)
			require.Zero(t, s.Partitions[i].Lag)
		}
		pass(time.Minute)
		require.Equal(t, [2]int64{2, 32}, losses(r), "it is counted once")
		require.Zero(t, w.lag().Lost)
		require.Zero(t, w.lag().Records)
		r.stop()
	})
}

// What Kafka deletes while the sink is away is counted too, with what was read before stored, and verify misses as many.
func TestLostWhilePaused(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.events(10, 0)
		r := w.start(nil)
		w.awaitCommitted(0, 10)
		w.sink.Away(errStrange)
		w.events(10, 0)
		w.await("a pause", func() bool { return r.Stats().State == Paused })
		w.events(100, 0)
		w.deleteRecords(0, 80)
		w.await("the loss to be seen", func() bool { return losses(r) == [2]int64{1, 60} })
		p := r.Stats().Partitions[0]
		require.EqualValues(t, 60, p.Lost)
		require.EqualValues(t, 40, p.Lag)
		require.EqualValues(t, 10, w.committed(0), "what was read waits still")
		require.EqualValues(t, 70, w.lag().Lost, "to the brokers the ten that wait here are lost as well")
		w.sink.Away(nil)
		w.awaitStored(60)
		w.awaitCommitted(0, 120)
		require.Equal(t, [2]int64{1, 60}, losses(r))
		require.EqualValues(t, 60, w.unexplained())
		r.stop()
	})
}

// The same where fetching goes on before anybody looks.
func TestLostBetweenFetches(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.events(10, 0)
		r := w.start(nil)
		w.awaitCommitted(0, 10)
		r.client.PauseFetchTopics(testTopic)
		pass(time.Second)
		w.events(50, 0)
		w.deleteRecords(0, 35)
		w.events(5, 0)
		r.client.ResumeFetchTopics(testTopic)
		w.awaitStored(40)
		require.Equal(t, [2]int64{1, 25}, losses(r))
		require.EqualValues(t, 25, w.unexplained())
		w.awaitCommitted(0, 65)
		r.stop()
	})
}

// A partition that ends before the group's offset is read from its start.
func TestShorterThanCommitted(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.events(20, 0)
		w.setGroup(0, 500)
		r := w.start(nil)
		w.awaitStored(20)
		require.Equal(t, [2]int64{1, 0}, losses(r))
		w.awaitCommitted(0, 20)
		require.Zero(t, r.Stats().Partitions[0].Lag)
		r.stop()
	})
}

// Markers and aborted records are no losses, and when only they are left nothing is behind, on either side.
func TestLagOfTransactions(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		cl := w.client(kgo.TransactionalID("tx"))
		defer cl.Close()
		transaction := func(n int, end kgo.TransactionEndTry) {
			require.NoError(t, cl.BeginTransaction())
			for range n {
				require.NoError(t, cl.ProduceSync(t.Context(), w.record(w.event("a"), 0)).FirstErr())
			}
			require.NoError(t, cl.EndTransaction(t.Context(), end))
		}
		transaction(2, kgo.TryCommit) // 0, 1 and a marker
		transaction(3, kgo.TryAbort)  // 3, 4, 5 and a marker
		r := w.start(nil)
		w.awaitStored(2)
		w.awaitCommitted(0, 7)
		require.Zero(t, w.lag().Records)
		pass(2 * watchInterval)
		require.Zero(t, r.Stats().Partitions[0].Lag)

		transaction(1, kgo.TryAbort) // nothing but a marker is read
		w.awaitCommitted(0, 9)
		require.Zero(t, w.lag().Records)

		require.NoError(t, cl.BeginTransaction())
		require.NoError(t, cl.ProduceSync(t.Context(), w.record(w.event("a"), 0)).FirstErr())
		w.events(3, 0)
		pass(2 * watchInterval)
		require.Zero(t, r.Stats().Partitions[0].Lag, "nothing behind an open transaction can be read")
		require.NoError(t, cl.EndTransaction(t.Context(), kgo.TryCommit))
		w.awaitStored(6)
		w.awaitCommitted(0, 14)
		require.EqualValues(t, 6, r.Stats().Records)
		require.Equal(t, [2]int64{}, losses(r))
		r.stop()
	})
}

// The end of a partition is where reading ends, on a broker that knows transactions and on one that doesn't.
func TestReadableEnd(t *testing.T) {
	for stable, want := range map[int64]int64{4: 4, -1: 10} {
		f := newFlow(1<<20, Batch{})
		f.add(testTopic, [16]byte{}, &kgo.FetchPartition{
			HighWatermark: 10, LastStableOffset: stable, Records: []*kgo.Record{{Offset: 1}},
		}, time.Now())
		require.Equal(t, want, f.parts[source{testTopic, 0}].high)
	}
}
