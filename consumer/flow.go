package consumer

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// flow is everything between fetch and commit: the partitions with their windows, the rows that wait for a
// batch, and the account of the memory they take.
type flow struct {
	limit int64 // MaxInFlightBytes

	mu     sync.Mutex
	parts  map[source]*partition
	queue  queue
	lanes  *lanes // nil: there is one database, and the queue is its
	bytes  int64  // in flight
	speed  speed  // at which it is done
	closed bool   // nothing more comes
	away   bool   // the sink is: all partitions are paused

	wake chan struct{} // for the writer: something was added or changed
	room chan struct{} // for the poller: memory came free
	idle chan struct{} // for a rebalance: hands were emptied
}

var errClosed = errors.New("closed")

func newFlow(limit int64, limits Batch) *flow {
	return &flow{
		limit: limit,
		parts: map[source]*partition{},
		queue: newQueue(limits),
		wake:  make(chan struct{}, 1),
		room:  make(chan struct{}, 1),
		idle:  make(chan struct{}, 1),
	}
}

// signal wakes the one that waits on c, or the next one to do so.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add takes in the records of a partition's fetch, and returns how many of them are no control records, and the memory
// they take.
func (f *flow) add(topic string, topicID [16]byte, fetched *kgo.FetchPartition, now time.Time) (n int, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := source{topic, fetched.Partition}
	p := f.parts[s]
	if p == nil {
		p = newPartition(s)
		f.parts[s] = p
	}
	if p.topicID != topicID { // once: letters read it without the lock
		p.topicID = topicID
	}
	p.high = max(p.high, readable(fetched))
	before := p.bytes
	for _, rec := range fetched.Records {
		if rec.Attrs.IsControl() {
			p.pass(rec.Offset, rec.LeaderEpoch, rec.Timestamp)
			continue
		}
		n++
		size := recordBytes(rec)
		it := item{part: p, n: p.add(rec.Offset, rec.LeaderEpoch, rec.Timestamp), size: memory(size), rec: rec}
		p.bytes += it.size
		if f.lanes != nil {
			f.lanes.add(it, size, now)
		} else {
			f.queue.add(it, size, now)
		}
	}
	f.bytes += p.bytes - before
	signal(f.wake)
	return n, p.bytes - before
}

// readable is the end of what can be read of a partition: an open transaction ends it before the high watermark.
func readable(f *kgo.FetchPartition) int64 {
	if f.LastStableOffset < 0 { // a broker that knows no transactions
		return f.HighWatermark
	}
	return f.LastStableOffset
}

// take waits for a batch that is due. It returns errClosed when nothing more will come.
func (f *flow) take(ctx context.Context) (*batch, error) {
	for {
		b, wait, err := f.due(time.Now())
		if b != nil || err != nil {
			return b, err
		}
		if err := sleepOr(ctx, wait, f.wake); err != nil {
			return nil, err
		}
	}
}

// due returns the batch that is due, if there is one, or how long it is until then (0: nobody knows).
func (f *flow) due(now time.Time) (*batch, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// A batch that takes a quarter of the memory may hold up the fetching of what it waits for.
	b, wait := f.queue.next(now, f.closed || f.queue.memory*4 >= f.limit)
	switch {
	case b != nil:
		f.queue.ahead++
	case f.closed && f.queue.empty():
		return nil, 0, errClosed
	}
	return b, wait, nil
}

func (f *flow) holdLocked(b *batch) {
	for i := range b.items {
		b.items[i].part.held++
	}
}

// hold takes into the caller's hands what of b is still ours; nil when that is nothing.
func (f *flow) hold(b *batch) *batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	b = b.only(func(i int) bool { return !b.items[i].part.revoking && !b.items[i].part.dropped })
	if b.len() == 0 {
		return nil
	}
	f.holdLocked(b)
	return b
}

// release takes b out of the caller's hands, not done.
func (f *flow) release(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range b.items {
		b.items[i].part.held--
	}
	signal(f.idle)
}

// keep returns what of b, which is in the caller's hands, is still ours, and lets go of the rest.
func (f *flow) keep(b *batch) *batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return b.only(func(i int) bool {
		p := b.items[i].part
		if p.dropped {
			p.held--
		}
		return !p.dropped
	})
}

// done says that the held items are stored or letters, and takes them out of the caller's hands.
func (f *flow) done(items []item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.bytes
	defer func() { f.speed.done(before-f.bytes, time.Now()) }()
	for i := range items {
		it := &items[i]
		it.part.held--
		if it.part.dropped {
			continue
		}
		it.part.done(it.n)
		it.part.bytes -= it.size
		f.bytes -= it.size
	}
	signal(f.room)
	signal(f.idle)
}

// holdLetters takes into the caller's hands those letters whose partition is still ours.
func (f *flow) holdLetters(letters []*letter) []*letter {
	f.mu.Lock()
	defer f.mu.Unlock()
	var held []*letter
	for _, l := range letters {
		if p := l.item.part; !p.revoking && !p.dropped {
			p.held++
			held = append(held, l)
		}
	}
	return held
}

// lettersDone says that letters in hand were sent and noted, and that others could not be; neither are in hand then.
func (f *flow) lettersDone(sent, failed []*letter) {
	items := make([]item, len(sent))
	for i, l := range sent {
		items[i] = l.item
	}
	f.done(items)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range sent {
		if l.waits {
			l.item.part.waiting--
		}
	}
	for _, l := range failed {
		l.item.part.held--
		if !l.waits {
			l.waits = true
			l.item.part.waiting++
		}
	}
	signal(f.idle)
}

// dropLocked ends an assignment; what is in flight of it is forgotten.
func (f *flow) dropLocked(p *partition) {
	p.gone, p.dropped = true, true
	f.bytes -= p.bytes
	p.bytes = 0
	if f.parts[p.source] == p {
		delete(f.parts, p.source)
	}
	signal(f.room)
	signal(f.wake)
}

// close says that nothing more comes: what waits for a batch is due now.
func (f *flow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	signal(f.wake)
}

// waitRoom waits until there is memory for more, and returns how much.
func (f *flow) waitRoom(ctx context.Context) (int64, error) {
	for {
		f.mu.Lock()
		free := f.limit - f.bytes
		f.mu.Unlock()
		if free > 0 {
			return free, ctx.Err()
		}
		if err := sleepOr(ctx, 0, f.room); err != nil {
			return 0, err
		}
	}
}

// dirty returns what there is to commit, of the given partitions or, if parts is nil, of all.
func (f *flow) dirty(parts []*partition) (marks []mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if parts == nil {
		for _, p := range f.parts {
			parts = append(parts, p)
		}
	}
	for _, p := range parts {
		if p.dirty() {
			marks = append(marks, mark{p, p.mark, p.epoch})
		}
	}
	return marks
}

// pauses decides which partitions are to be paused: when more than half of the memory is taken, those that have
// more than half as much again as the mean, so that the others have the rest; those whose letters don't get through;
// and all, while the sink is away. Pausing is for floods, and for what waits for a database that is away, alone, since it
// costs: the client throws away what it has read ahead, and once resumed the partition waits for the fetch
// that is under way without it. So it is resumed while there is still much of it to write; and for a database that would
// have written that before the fetch returns no flood is paused: it would wait for the flood. While all partitions of the
// one database are behind there is nobody whom a flood could hold up, and it takes three times the mean.
func (f *flow) pauses() map[source]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	mean := f.bytes / max(int64(len(f.parts)), 1)
	over, under := mean*3/2, mean*5/4
	if f.lanes == nil && f.allBehindLocked() {
		over, under = mean*3, mean*2
	}
	quick := f.lanes == nil && f.speed.takes(f.limit/2) < 2*fetchWait
	paused := map[source]bool{}
	for s, p := range f.parts {
		switch {
		case quick:
			p.over = false
		case f.bytes > f.limit/2 && p.bytes > over:
			p.over = true
		case f.bytes <= f.limit*7/16 || p.bytes <= under:
			p.over = false
		}
		if f.away || p.over || p.waiting > 0 {
			paused[s] = true
		}
	}
	return paused
}

// allBehindLocked reports whether there is something more to read of every partition.
func (f *flow) allBehindLocked() bool {
	for _, p := range f.parts {
		if p.caughtUp() {
			return false
		}
	}
	return true
}

// speed is at what rate something is done, lately.
type speed struct {
	bytes float64 // done, those of the last speedSpan weighing most
	since time.Time
}

const speedSpan = time.Second

func (s *speed) done(bytes int64, now time.Time) {
	s.bytes = s.bytes*math.Exp(-now.Sub(s.since).Seconds()/speedSpan.Seconds()) + float64(bytes)
	s.since = now
}

// takes returns how long so many bytes take at that rate.
func (s *speed) takes(bytes int64) time.Duration {
	if s.bytes <= 0 {
		return math.MaxInt64
	}
	return time.Duration(min(float64(bytes)/s.bytes*float64(speedSpan), math.MaxInt64/2))
}

// setAway says whether the sink is away.
func (f *flow) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

// sleepOr waits for c, for d (0: for ever), or for ctx, whose cause it returns.
func sleepOr(ctx context.Context, d time.Duration, c <-chan struct{}) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-after:
	case <-c:
	}
	return nil
}
