package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// flow is everything between fetch and commit: the partitions with their windows, the rows that wait for a
// batch, and the account of the memory they take.
type flow struct {
	limit int64 // MaxInFlightBytes

	mu     sync.Mutex
	parts  map[source]*partition
	queue  queue
	bytes  int64 // in flight
	closed bool  // nothing more comes

	wake chan struct{} // for the writer: something was added or changed
	room chan struct{} // for the poller: memory came free
	idle chan struct{} // for a rebalance: hands were emptied
}

var errClosed = errors.New("closed")

func newFlow(limit int64, limits Batch) *flow {
	return &flow{
		limit: limit,
		parts: map[source]*partition{},
		queue: queue{limits: limits},
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

// decoded is a record after decoding: a row, or the letter it is to become.
type decoded struct {
	row    sinkers.Row
	letter *letter // nil when there is a row
}

// take in the records of one partition's fetch; the letters among them are returned with their items.
func (f *flow) add(s source, fetched fetched, now time.Time) []*letter {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[s]
	if p == nil {
		p = newPartition(s)
		f.parts[s] = p
	}
	p.topicID = fetched.topicID
	p.high = max(p.high, fetched.high)
	var letters []*letter
	for i, rec := range fetched.records {
		size := recordBytes(rec)
		it := item{part: p, n: p.add(rec.Offset, rec.LeaderEpoch), size: memory(size), rec: rec}
		p.bytes += it.size
		f.bytes += it.size
		if l := fetched.decoded[i].letter; l != nil {
			l.item = it
			letters = append(letters, l)
			continue
		}
		f.queue.add(fetched.decoded[i].row, it, size, now)
	}
	signal(f.wake)
	return letters
}

// take waits for a batch that is due and puts it into the caller's hands. It returns nil at the time wakeAt
// (if that isn't zero) without one, and errClosed when nothing more will come.
func (f *flow) take(ctx context.Context, wakeAt time.Time) (*batch, error) {
	for {
		b, wait, err := f.due(time.Now())
		if b != nil || err != nil {
			return b, err
		}
		if !wakeAt.IsZero() {
			until := time.Until(wakeAt)
			if until <= 0 {
				return nil, nil
			}
			if wait == 0 || until < wait {
				wait = until
			}
		}
		if err := sleepOr(ctx, wait, f.wake); err != nil {
			return nil, err
		}
	}
}

// due returns the batch that is due, if there is one, or how long it is until then.
func (f *flow) due(now time.Time) (*batch, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		// When half of the memory is in use nothing is gained by waiting for more.
		b, wait := f.queue.next(now, f.closed || f.bytes*2 >= f.limit)
		if b == nil {
			if f.closed && f.queue.empty() {
				return nil, 0, errClosed
			}
			return nil, wait, nil
		}
		b = b.only(func(i int) bool { return !b.items[i].part.revoking && !b.items[i].part.dropped })
		if b.len() > 0 {
			f.holdLocked(b)
			return b, 0, nil
		}
	}
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

// lettersDone says that letters in hand were sent, and that others could not be; neither are in hand then.
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

// pauses decides which partitions are to be paused, from what they take of the memory and whether their
// letters get through.
func (f *flow) pauses() map[source]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	paused := map[source]bool{}
	for s, p := range f.parts {
		share := f.limit / int64(len(f.parts))
		switch {
		case p.bytes > share && f.bytes*2 > f.limit:
			p.over = true
		case p.bytes*2 <= share || f.bytes*4 <= f.limit:
			p.over = false
		}
		if p.over || p.waiting > 0 {
			paused[s] = true
		}
	}
	return paused
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
