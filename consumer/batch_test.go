package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// Once caught up, an event is stored at once, and those that follow share a write each MinFlushInterval.
func TestBatchesAreQuickWhenCaughtUp(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		r := w.start(nil)
		w.await("start", func() bool { return len(r.Stats().Partitions) == 2 })
		pass(time.Minute)
		began := time.Now()
		w.events(1, 0)
		w.awaitStored(1)
		require.Less(t, time.Since(began), 50*time.Millisecond)
		w.awaitCommitted(0, 1)

		for range 200 { // 4 s
			w.events(1, 1)
			pass(20 * time.Millisecond)
		}
		w.awaitCommitted(1, 200)
		require.LessOrEqual(t, len(w.sink.Writes()), 1+4*10+1)
		require.GreaterOrEqual(t, len(w.sink.Writes()), 1+4*8)
		r.stop()
	})
}

// While a worker is behind its batches are as large as they may be, and what comes while a slow sink writes is one batch.
func TestBatchesAreLargeWhenBehind(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		for range 20 {
			w.events(1000, 0)
		}
		r := w.start(func(c *Config) { c.Batch.MaxSize = 4000 })
		w.awaitCommitted(0, 20_000)
		require.Equal(t, slices.Repeat([]int{4000}, 5), w.sink.Writes())

		w.sink.OnWrite(sinkertest.Delay(5 * time.Second))
		for range 100 { // 10 s
			w.events(10, 0)
			pass(100 * time.Millisecond)
		}
		w.awaitCommitted(0, 21_000)
		writes := w.sink.Writes()[5:]
		require.LessOrEqual(t, len(writes), 6, "%v", writes)
		r.stop()
	})
}

// A worker with a floor on its writes, as ClickHouse wants it, makes no more of them when caught up.
func TestBatchesHaveAFloor(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(func(c *Config) { c.Batch = Batch{FlushInterval: 10 * time.Second, MinFlushInterval: 10 * time.Second} })
		for range 60 {
			w.events(1, 0)
			pass(time.Second)
		}
		w.awaitCommitted(0, 60)
		require.LessOrEqual(t, len(w.sink.Writes()), 8)
		r.stop()
	})
}

// A batch of records that are all letters leaves the next as quick.
func TestLettersDontSlowBatches(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(nil)
		bad := w.record(w.event("a"), 0)
		bad.Value = []byte("no event")
		w.produce(bad)
		w.awaitCommitted(0, 1)
		pass(time.Second)
		began := time.Now()
		w.events(1, 0)
		w.awaitStored(1)
		require.Less(t, time.Since(began), 50*time.Millisecond)
		r.stop()
	})
}
