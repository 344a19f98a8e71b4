package consumer

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// In whatever order records are done, the mark is behind the one before the first that isn't, with its epoch.
func TestMarkIsBelowEverythingOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPartition(source{testTopic, 0})
		var numbers []uint64
		var ends []end // of the records
		done := map[int]bool{}
		var open []int
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			if len(open) == 0 || rapid.Bool().Draw(t, "add") {
				e := end{p.last.offset + rapid.Int64Range(1, 3).Draw(t, "gap"), rapid.Int32Range(1, 9).Draw(t, "epoch")}
				open = append(open, len(ends))
				numbers = append(numbers, p.add(e.offset-1, e.epoch, time.Time{}))
				ends = append(ends, e)
			} else {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				p.done(numbers[open[i]])
				done[open[i]] = true
				open = slices.Delete(open, i, i+1)
			}
			if rapid.IntRange(0, 9).Draw(t, "compact") == 0 {
				p.compact()
			}
			want := -1
			for done[want+1] {
				want++
			}
			if want < 0 {
				require.EqualValues(t, -1, p.mark)
			} else {
				require.Equal(t, ends[want], end{p.mark, p.epoch})
			}
		}
	})
}

// A long window gives its memory back.
func TestWindowIsCompacted(t *testing.T) {
	p := newPartition(source{testTopic, 0})
	var ns []uint64
	for i := range int64(100_000) {
		ns = append(ns, p.add(i, 0, time.Time{}))
		if len(ns) > 100 {
			j := rand.IntN(10)
			p.done(ns[j])
			ns = append(ns[:j], ns[j+1:]...)
		}
	}
	require.Less(t, cap(p.window), 50_000)
	for _, n := range ns {
		p.done(n)
	}
	require.EqualValues(t, 100_000, p.mark)
}

// Nor does one record that waits keep those behind it that are done.
func TestWindowKeepsWhatIsOpen(t *testing.T) {
	p := newPartition(source{testTopic, 0})
	first := p.add(0, 0, time.Time{})
	var ns []uint64
	for i := range int64(1_000_000) {
		ns = append(ns, p.add(i+1, 0, time.Time{}))
		if len(ns) == 1000 {
			for _, n := range ns {
				p.done(n)
			}
			ns = ns[:0]
		}
	}
	require.EqualValues(t, -1, p.mark)
	require.Less(t, cap(p.window), 20_000)
	p.done(first)
	require.EqualValues(t, 1_000_001, p.mark)
	require.Empty(t, p.window)
}

func TestBatchesAreCut(t *testing.T) {
	now := time.Now()
	q := newQueue(Batch{MaxSize: 3, MaxBytes: 100, FlushInterval: time.Second})
	add := func(bytes int64) { q.add(item{rec: &kgo.Record{}}, bytes, now) }
	next := func(at time.Duration, hurry bool) int {
		b, _ := q.next(now.Add(at), hurry)
		if b == nil {
			return 0
		}
		return b.len()
	}
	for range 7 {
		add(1)
	}
	require.Equal(t, []int{3, 3, 0}, []int{next(0, false), next(0, false), next(0, false)}, "by size")
	require.Equal(t, []int{0, 1, 0}, []int{next(999*time.Millisecond, false), next(time.Second, false), next(time.Hour, true)}, "by age")
	add(60)
	add(60)
	add(500)
	add(1)
	require.Equal(t, []int{1, 1, 1, 0, 1}, []int{next(0, false), next(0, false), next(0, false), next(0, false), next(0, true)}, "by bytes")
	require.True(t, q.empty())
}

// The memory of what is in flight is bounded, whatever the backlog; a partition that takes more than its share is
// paused alone, and goes on when there is room.
func TestMemoryIsBounded(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		const limit = 1 << 20
		var peak atomic.Int64
		r := w.start(func(c *Config) { c.MaxInFlightBytes = limit; c.Retry.WriteTimeout = -1 })
		gate := make(chan struct{})
		w.sink.OnWrite(func(ctx context.Context, _ sinkers.Batch) error {
			select {
			case <-gate:
			case <-ctx.Done():
			}
			peak.Store(max(peak.Load(), r.Stats().InFlightBytes))
			return ctx.Err()
		})
		for range 20 {
			w.events(1000, 0)
		}
		w.await("partition 0 to be paused", func() bool {
			s := r.Stats()
			return len(s.Partitions) == 3 && s.Partitions[0].Paused == "memory"
		})
		pass(time.Minute)
		w.events(10, 1)
		w.await("partition 1 to be read all the same", func() bool {
			s := r.Stats()
			return s.Partitions[1].InFlightBytes > 0 && s.Partitions[1].Paused == ""
		})
		close(gate)
		w.awaitStored(20_010)
		w.awaitCommitted(0, 20_000)
		require.Less(t, peak.Load(), int64(limit)*5/4)
		w.await("nothing in flight", func() bool { return r.Stats().InFlightBytes == 0 })
		require.Empty(t, r.Stats().Partitions[0].Paused)
		r.stop()
	})
}

func TestLag(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		w.events(100, 0)
		r := w.start(nil)
		w.awaitCommitted(0, 100)
		s := r.Stats()
		require.Equal(t, PartitionStat{Topic: testTopic, Partition: 0, Mark: 100, Committed: 100, HighWatermark: 100}, s.Partitions[0])
		require.EqualValues(t, 0, s.Partitions[1].Lag, "it is empty")
		w.sink.Away(errStrange)
		w.events(50, 0)
		w.await("pause", func() bool { return r.Stats().State == Paused })
		w.events(25, 0) // nobody fetches these
		pass(2 * watchInterval)
		require.EqualValues(t, 75, r.Stats().Partitions[0].Lag)
		w.sink.Away(nil)
		w.awaitCommitted(0, 175)
		require.Zero(t, r.Stats().Partitions[0].Lag)
		r.stop()
	})
}

func TestReports(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		var mu sync.Mutex
		var rows, stored int
		r := w.start(func(c *Config) {
			c.OnBatch = func(b BatchReport) {
				mu.Lock()
				defer mu.Unlock()
				require.True(w.t, b.Committed)
				require.GreaterOrEqual(w.t, b.Duration, time.Second)
				rows += len(b.Rows)
				stored += b.Result.Stored
			}
		})
		w.sink.OnWrite(sinkertest.Delay(time.Second))
		events := w.events(500, 0)
		w.produce(w.record(events[0], 0))
		w.awaitCommitted(0, 501)
		r.stop()
		require.Equal(t, []int{501, 500}, []int{rows, stored})
	})
}

func TestRunOnce(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(nil)
		w.await("start", func() bool { return r.Ready() == nil })
		require.ErrorContains(t, r.Run(t.Context()), "called before")
		r.stop()
		require.ErrorContains(t, r.Ready(), "stopped")
		require.Equal(t, Stopped, r.Stats().State)
	})
}

// A partition with twice the others' is a flood where one of them has nothing waiting in Kafka, and none where all have; of one
// with many times theirs it makes no difference.
func TestFloodIsOneWhereSomebodyElseIsDone(t *testing.T) {
	for name, c := range map[string]struct {
		bytes  int64 // of the first of four; the others have 10
		done   bool  // the last is caught up
		paused bool
	}{
		"twice the others', one is done": {20, true, true},
		"twice the others', all behind":  {20, false, false},
		"all of it, all behind":          {300, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(60, Batch{})
			for i := range int32(4) {
				p := newPartition(source{testTopic, i})
				p.bytes, p.read, p.high = 10, 5, 9
				if i == 0 {
					p.bytes = c.bytes
				}
				if i == 3 && c.done {
					p.read = p.high
				}
				f.parts[p.source] = p
				f.bytes += p.bytes
			}
			want := map[source]bool{}
			if c.paused {
				want[source{testTopic, 0}] = true
			}
			require.Equal(t, want, f.pauses())
		})
	}
}

// A partition of which nothing was to be read since it was assigned isn't behind.
func TestIdlePartitionIsNotBehind(t *testing.T) {
	f := newFlow(60, Batch{})
	for i := range int32(2) {
		p := newPartition(source{testTopic, i})
		p.from, p.high = 5, 9
		f.parts[p.source] = p
	}
	require.True(t, f.allBehindLocked())
	f.parts[source{testTopic, 1}].from = 9
	require.False(t, f.allBehindLocked())
}
