package consumer

import (
	"math/rand/v2"
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

// The pace: halved while writes take too long and halving helps, doubled where they are quick; without a partition
// that has caught up, or long after, it bounds nothing.
func TestPace(t *testing.T) {
	p := newPace(Batch{MaxSize: 10_000, MinFlushInterval: 100 * time.Millisecond})
	now := time.Now()
	wrote := func(each, row time.Duration) int {
		for range 30 {
			p.wrote(p.rows, false, each+time.Duration(p.rows)*row)
		}
		return p.rows
	}
	require.Equal(t, 312, wrote(0, 100*time.Microsecond), "31 ms")
	require.Equal(t, 10_000, wrote(0, time.Microsecond), "10 ms")
	require.GreaterOrEqual(t, wrote(90*time.Millisecond, 100*time.Microsecond), 300, "smaller ones hardly save anything")
	wrote(0, time.Millisecond)
	require.GreaterOrEqual(t, p.rows, fewest)
	require.Equal(t, 10_000, p.limit(now), "nobody else is there")
	p.quick, p.quickAt = newPartition(source{testTopic, 1}), now
	require.Less(t, p.limit(now), 100)
	require.Equal(t, 10_000, p.limit(now.Add(time.Hour)))
	p.quick.high = 5
	require.Equal(t, 10_000, p.limit(now), "it is behind itself")
}

// Where rows are so large that a batch is full of bytes long before it has MaxSize rows, it is those that are halved and doubled.
func TestPaceOfLargeRows(t *testing.T) {
	p := newPace(Batch{MaxSize: 10_000, MinFlushInterval: 100 * time.Millisecond})
	wrote := func(row time.Duration) int {
		for range 30 {
			rows := min(p.rows, 2_000) // what the bytes allow
			p.wrote(rows, rows == 2_000, time.Duration(rows)*row)
		}
		return p.rows
	}
	require.Equal(t, 500, wrote(100*time.Microsecond), "50 ms")
	require.GreaterOrEqual(t, wrote(time.Microsecond), 2_000)
	require.Equal(t, 500, wrote(100*time.Microsecond))
}

// Writes that take about as long whatever their size stay large: by chance one that was halved may look quicker.
func TestPaceOfEvenWrites(t *testing.T) {
	p := newPace(Batch{MaxSize: 10_000, MinFlushInterval: 100 * time.Millisecond})
	rnd := rand.New(rand.NewPCG(1, 2))
	few := 0
	for range 10_000 {
		p.wrote(p.rows, false, time.Duration((0.6+0.8*rnd.Float64())*float64(time.Second)))
		if p.rows < 10_000/8 {
			few++
		}
	}
	require.Less(t, few, 500)
}
