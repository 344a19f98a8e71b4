package consumer

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// filled is a queue with a partition that is behind and has so many rows of 100 bytes waiting, and one that has caught up.
func filled(limits Batch, rows int, now time.Time) (q queue, behind, quick *partition) {
	q = newQueue(limits)
	behind, quick = newPartition(source{testTopic, 0}), newPartition(source{testTopic, 1})
	behind.high = 1 << 20
	put(&q, behind, rows, 100, now)
	return q, behind, quick
}

func put(q *queue, p *partition, n int, bytes int64, now time.Time) {
	for range n {
		offset := p.read
		it := item{part: p, n: p.add(offset, 0, now), size: memory(bytes)}
		p.high = max(p.high, p.read)
		q.add(it, bytes, now)
	}
}

var joinLimits = Batch{MaxSize: 10_000, MaxBytes: 1 << 20, FlushInterval: time.Second, MinFlushInterval: 100 * time.Millisecond}

// A batch that was cut ahead is joined by what came meanwhile of partitions that have caught up, and by nothing else.
func TestLatecomersJoin(t *testing.T) {
	now := time.Now()
	q, behind, quick := filled(joinLimits, 3_000, now)
	put(&q, quick, 1, 100, now)
	q.pace.rows = 1_000
	b := q.cut(now)
	require.Equal(t, 1_000, b.len())
	require.Nil(t, q.latecomers(b, now), "nothing came")

	q.ahead++
	put(&q, quick, 7, 100, now)
	_, due := q.dueIn(now, false)
	require.False(t, due, "the writer takes it first")
	require.Nil(t, q.latecomers(b, now), "another is ahead: theirs would be written after it")
	q.ahead--

	late := q.latecomers(b, now)
	require.Equal(t, 7, late.len())
	require.EqualValues(t, 700, late.bytes)
	for i, it := range late.items {
		require.Same(t, quick, it.part)
		require.EqualValues(t, i+1, it.n)
	}
	require.Equal(t, 1_000, b.len())
	require.EqualValues(t, 100_000, b.bytes)
	require.Equal(t, 2_001, q.rows, "of the partition that is behind")

	put(&q, quick, 5_000, 100, now)
	require.Equal(t, 250, q.latecomers(b, now).len(), "it stays about as large as it was")
	require.Same(t, behind, q.active[0].part, "its turn")
	quick.high = 1 << 20
	require.Nil(t, q.latecomers(b, now), "it has fallen behind")
}

// A batch isn't joined by more bytes than it may have.
func TestLatecomersHaveRoom(t *testing.T) {
	now := time.Now()
	q, _, quick := filled(joinLimits, 1_000, now)
	put(&q, quick, 1, 100, now)
	b := q.cut(now)
	put(&q, quick, 3, 400<<10, now)
	require.Equal(t, 2, q.latecomers(b, now).len())
	require.Equal(t, 1, q.rows)
}

// Whatever is put in, cut and joined, each row comes out once and in the order of its partition, and the account of what waits is right.
func TestQueueLosesNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		now := time.Now()
		q := newQueue(Batch{MaxSize: 1 + rnd.IntN(300), MaxBytes: 1 << (8 + rnd.IntN(10)), MinFlushInterval: 100 * time.Millisecond})
		var parts []*partition
		for i := range int32(1 + rnd.IntN(5)) {
			parts = append(parts, newPartition(source{testTopic, i}))
		}
		next, in, out := map[*partition]uint64{}, 0, 0
		check := func(b *batch) {
			var bytes int64
			for _, it := range b.items {
				require.Equal(t, next[it.part], it.n)
				next[it.part]++
				bytes += it.size - memory(0)
			}
			require.Equal(t, bytes, b.bytes)
			out += b.len()
		}
		for in < 3_000 || !q.empty() {
			if in < 3_000 {
				p := parts[rnd.IntN(len(parts))]
				n := rnd.IntN(200)
				put(&q, p, n, int64(rnd.IntN(5_000)), now)
				in += n
				if rnd.IntN(3) == 0 {
					p.high = p.read + int64(rnd.IntN(2))
				}
			}
			if q.empty() {
				continue
			}
			b := q.cut(now)
			check(b)
			if in < 3_000 {
				put(&q, parts[0], 3, 100, now)
				in += 3
			}
			if late := q.latecomers(b, now); late != nil {
				check(late)
			}
			q.pace.wrote(b, time.Duration(1+rnd.IntN(100))*time.Millisecond)
		}
		require.Equal(t, in, out)
		require.Zero(t, q.rows)
		require.Zero(t, q.bytes)
		require.Zero(t, q.memory)
		require.Empty(t, q.active)
	}
}

// A partition that is never done, as in a long backlog, takes memory for what waits of it alone.
func TestBacklogIsCompacted(t *testing.T) {
	now := time.Now()
	q, behind, _ := filled(joinLimits, 20_000, now)
	for range 100 {
		require.Equal(t, 10_000, q.cut(now).len())
		put(&q, behind, 10_000, 100, now)
	}
	require.Equal(t, 20_000, q.rows)
	require.Less(t, cap(q.active[0].wait), 100_000)
}
