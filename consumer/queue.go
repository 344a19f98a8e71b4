package consumer

import (
	"slices"
	"time"
)

// quantum is what a partition may put into a batch at each of its turns, in bytes: small beside a batch, so that
// whoever has little waiting is in the next one.
const quantum = 4 << 10

// queue holds the rows that wait for a batch, those of each partition in their order. A batch takes from the
// partitions by deficit round robin (Shreedhar and Varghese, 1995): at its turn a partition is credited a quantum,
// and gives so much, so that each has an equal share of the bytes whatever the others have waiting, and what it
// doesn't need is the others'. It is guarded by its flow's mutex.
type queue struct {
	limits  Batch
	patient bool // rows wait for FlushInterval, when the worker has caught up too

	active []*backlog // with rows that wait; the first has its turn
	begun  bool       // the first has its credit for this turn
	latest *backlog   // that a row was added to
	rows   int
	bytes  int64
	memory int64

	idle  bool      // the writer waits for a batch
	ahead int       // batches that were cut and are not being written yet
	last  time.Time // when a batch was cut
	pace  pace
}

// writerIdle says that the writer waits for a batch.
func (f *flow) writerIdle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.idle = true
	signal(f.wake)
}

// writing says that the writer has taken b to be written now, and returns what is to be written with it and isn't decoded yet; nil if
// that is nothing.
func (f *flow) writing(b *batch) (late *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.idle = false
	f.queue.ahead--
	late = f.queue.latecomers(b, time.Now())
	signal(f.wake)
	return late
}

// passed says that a batch was cut of which nothing is to be written.
func (f *flow) passed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.ahead--
	signal(f.wake)
}

// wrote says how long the write of b took.
func (f *flow) wrote(b *batch, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue.pace.wrote(b, took)
}

// backlog is what waits of a partition.
type backlog struct {
	part   *partition
	wait   []waiting // wait[head:]
	head   int
	credit int64
}

type waiting struct {
	item
	bytes int64
	came  time.Time
}

func newQueue(limits Batch) queue { return queue{limits: limits, pace: newPace(limits)} }

func (q *queue) add(it item, bytes int64, now time.Time) {
	s := q.latest
	if s == nil || s.part != it.part {
		s = q.backlog(it.part)
		q.latest = s
	}
	s.compact()
	s.wait = append(s.wait, waiting{it, bytes, now})
	q.rows++
	q.bytes += bytes
	q.memory += it.size
	if s.caughtUp() {
		q.pace.came(s.part, now)
	}
}

// compact gives back the place of what was taken: a partition that is behind may have something waiting for as long as it is.
func (s *backlog) compact() {
	if s.head >= 4096 && s.head*2 >= len(s.wait) {
		s.wait, s.head = slices.Delete(s.wait, 0, s.head), 0
	}
}

// backlog returns that of p, a new one at the end of the round where there is none.
func (q *queue) backlog(p *partition) *backlog {
	for _, s := range q.active {
		if s.part == p {
			return s
		}
	}
	s := &backlog{part: p}
	q.active = append(q.active, s)
	return s
}

// caughtUp reports whether all that is known to be in the partition was read.
func (s *backlog) caughtUp() bool { return s.part.caughtUp() }

// caughtUp reports whether all that is known to be in it was read, by whoever had it before too.
func (p *partition) caughtUp() bool { return p != nil && p.next() >= p.high }

func (q *queue) empty() bool { return q.rows == 0 }

// full reports whether there is enough for a batch.
func (q *queue) full(now time.Time) bool {
	return q.rows > 0 && (q.rows >= q.limit(now) || q.bytes >= q.limits.MaxBytes)
}

// short is the memory of what waits, where that is short of a batch.
func (q *queue) short() int64 {
	if q.rows >= q.limits.MaxSize || q.bytes >= q.limits.MaxBytes {
		return 0
	}
	return q.memory
}

// limit is the most rows of a batch.
func (q *queue) limit(now time.Time) int {
	if q.patient {
		return q.limits.MaxSize
	}
	return q.pace.limit(now)
}

// dueIn returns how long it is until a batch is due; false when nothing waits.
func (q *queue) dueIn(now time.Time, hurry bool) (time.Duration, bool) {
	if q.rows == 0 || !q.patient && q.ahead > 0 && q.pace.bounds(now) { // the writer will say when it has taken that
		return 0, false
	}
	if hurry || q.full(now) {
		return 0, true
	}
	var first time.Time
	for _, s := range q.active {
		due := s.wait[s.head].came.Add(q.limits.FlushInterval)
		if !q.patient && q.idle && s.caughtUp() { // nothing that it could wait for is there yet
			if soon := q.last.Add(q.limits.MinFlushInterval); soon.Before(due) {
				due = soon
			}
		}
		if first.IsZero() || due.Before(first) {
			first = due
		}
	}
	return max(first.Sub(now), 0), true
}

// next returns the batch that is due, and otherwise nil and how long it is until one is; 0 when there is
// nothing, or it can't be known. Hurry takes a batch that is not.
func (q *queue) next(now time.Time, hurry bool) (*batch, time.Duration) {
	wait, some := q.dueIn(now, hurry)
	if !some || wait > 0 {
		return nil, wait
	}
	return q.cut(now), 0
}

// cut takes a batch from the queue, which isn't empty.
func (q *queue) cut(now time.Time) *batch {
	limit := q.limit(now)
	b := &batch{items: make([]item, 0, min(q.rows, limit)), sample: q.pace.cut(now)}
	for q.rows > 0 && b.len() < limit {
		s := q.active[0]
		if !q.begun {
			q.begun = true
			s.credit += quantum
		}
		full := q.take(s, b, limit)
		switch {
		case full:
			limit = 0 // its turn goes on in the next batch
		case s.head == len(s.wait):
			q.drop(s)
		case b.len() < limit:
			q.active = append(q.active[1:], s)
			q.begun = false
		}
	}
	q.last = now
	return b
}

// take moves rows of s to b, as far as the credit goes. It reports whether the next has no room in b.
func (q *queue) take(s *backlog, b *batch, limit int) (full bool) {
	for s.head < len(s.wait) && b.len() < limit {
		w := &s.wait[s.head]
		if b.len() > 0 && b.bytes+w.bytes > q.limits.MaxBytes {
			return true
		}
		if w.bytes > s.credit {
			break
		}
		s.credit -= w.bytes
		b.add(w.item, w.bytes)
		q.rows--
		q.bytes -= w.bytes
		q.memory -= w.size
		*w = waiting{}
		s.head++
	}
	return false
}

// latecomers takes what waits of partitions that have caught up, for b, which was cut and decoded ahead and is to be written now: so
// the database need not wait for the decoding, nor these rows for a second write. It returns nil where nothing waits, and
// where more batches were cut already, which the rows of a partition must not overtake.
func (q *queue) latecomers(b *batch, now time.Time) *batch {
	if q.patient || q.ahead > 0 || !q.pace.bounds(now) {
		return nil
	}
	n, bytes := b.len(), b.bytes
	limit := min(n+max(n/4, fewest), q.limits.MaxSize)
	for more, full := true, false; more && !full; {
		more = false
		for _, s := range q.active {
			if s.head == len(s.wait) || !s.caughtUp() {
				continue
			}
			s.credit += quantum
			full = q.take(s, b, limit) || b.len() >= limit
			if more = more || s.head < len(s.wait); full {
				break
			}
		}
	}
	if b.len() == n {
		return nil
	}
	q.dropEmpty()
	q.last = now
	late := &batch{items: b.items[n:], bytes: b.bytes - bytes}
	b.items, b.bytes = b.items[:n:n], bytes
	return late
}

// dropEmpty takes what is empty out of the round.
func (q *queue) dropEmpty() {
	first := q.active[0]
	q.active = slices.DeleteFunc(q.active, func(s *backlog) bool { return s.head == len(s.wait) })
	if len(q.active) == 0 || q.active[0] != first {
		q.begun = false
	}
	q.latest = nil
}

// drop takes the first backlog, which is empty, out of the round.
func (q *queue) drop(s *backlog) {
	q.active[0] = nil
	q.active = q.active[1:]
	q.begun = false
	if q.latest == s {
		q.latest = nil
	}
}
