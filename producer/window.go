package producer

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// window follows the records of one log that were handed to Kafka: which are done, up to where all are, and how many
// are in flight to each destination. A record is done when the broker has acknowledged it, when it is a letter, or
// when the log has lost it.
type window struct {
	share share
	stir  chan struct{} // has a token when something has changed since the shipper looked

	mu       sync.Mutex
	marks    marks
	told     uint64 // the mark that the log knows
	inFlight int
	bytes    int64 // in flight
	waiters  map[uint64]chan<- error
	flushers []flusher
	lent     hold // what destinations hold beyond their reserves
	acked    time.Time
	lastErr  error // why a record came back last; nil once one was acknowledged
}

// flusher waits for every record up to seq.
type flusher struct {
	seq  uint64
	done chan struct{}
}

// releaseEvery is how many done records the log may be behind, since telling it takes the lock that Fire does.
const releaseEvery = 256

func newWindow(low uint64) *window {
	return &window{marks: newMarks(low), told: low, waiters: map[uint64]chan<- error{}, stir: make(chan struct{}, 1)}
}

// settled reports whether seq is done. Records are read again after a failure; those that were acknowledged
// meanwhile are not sent again.
func (w *window) settled(seq uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.marks.has(seq)
}

// verdict is what begin says.
type verdict uint8

const (
	mayGo     verdict = iota // it may be sent
	isDone                   // it is done already
	noRoom                   // its destination has no room
	hasFailed                // something of its destination has come back, and is to be dealt with first
)

// begin lets a record be sent where its destination has room. What is sent alone has room when nothing else is in
// flight to it, and keeps all else out.
func (w *window) begin(f *flight) verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := f.to
	switch {
	case w.marks.has(f.seq):
		return isDone
	case d.failed != 0:
		return hasFailed
	case d.alone || f.alone && d.held.records > 0 || w.full(d) || !w.share.room(d, &w.lent, f.size):
		return noRoom
	}
	w.inFlight++
	w.bytes += int64(f.size)
	w.share.take(d, &w.lent, f.size)
	d.alone = f.alone
	if d.since.IsZero() || d.held.records == 1 && d.behind == 0 {
		d.since = time.Now()
	}
	return mayGo
}

// landed takes back records that begin let through. It returns what the log is to be told to release, 0 for
// nothing.
func (w *window) landed(flights []*flight) (release uint64) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range flights {
		d := f.to
		w.inFlight--
		w.bytes -= int64(f.size)
		w.share.giveBack(d, &w.lent, f.size)
		if f.alone {
			d.alone = false
		}
		if f.err != nil {
			w.lastErr, d.lastErr = f.err, f.err
			if d.failed == 0 || f.seq < d.failed {
				d.failed, d.err, d.failedAlone = f.seq, f.err, f.alone
			}
			continue
		}
		w.markDone(f.seq, nil)
		w.acked, d.acked, w.lastErr, d.lastErr = now, now, nil, nil
		d.since = time.Time{}
		if d.held.records > 0 {
			d.since = now
		}
	}
	w.wake()
	return w.tell(w.inFlight == 0)
}

// takeBack undoes a begin whose record was not sent after all.
func (w *window) takeBack(f *flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight--
	w.bytes -= int64(f.size)
	w.share.giveBack(f.to, &w.lent, f.size)
	if f.alone {
		f.to.alone = false
	}
}

// full reports whether a destination has no room since all together have too much. Who has nothing in flight has room
// for longer, so that many that hang don't stop the others.
func (w *window) full(d *destination) bool {
	c := w.share.ceiling
	if d.held.records == 0 {
		return c != hold{} && w.bytes >= 2*c.bytes
	}
	return c != hold{} && (w.inFlight >= c.records || w.bytes >= c.bytes)
}

// failure returns what has come back of a destination once nothing of it is in flight any more, and forgets it;
// seq is 0 where nothing has.
func (w *window) failure(d *destination) (seq uint64, alone bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.failed == 0 || d.held.records > 0 {
		return 0, false, nil
	}
	seq, alone, err = d.failed, d.failedAlone, d.err
	d.failed, d.err, d.failedAlone = 0, nil, false
	return seq, alone, err
}

// ready reports whether more of a destination may be sent, with some room.
func (w *window) ready(d *destination) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d.failed == 0 && !d.alone && (d.held.records == 0 || d.held.records < w.share.reserve.records/2)
}

// stuck reports since when a destination has had something to send without anything of it being acknowledged,
// where others were acknowledged all the while, and why a record of it came back last; the zero time where that isn't
// so. recent is how long ago the last of the others may be at the most.
func (w *window) stuck(d *destination, now time.Time, recent time.Duration) (since time.Time, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.since.IsZero() || d.held.records == 0 && d.behind == 0 || !w.acked.After(d.since) || now.Sub(w.acked) > recent {
		return time.Time{}, nil
	}
	return d.since, d.lastErr
}

// holds reports whether something of a destination is in flight, or has come back and was not yet dealt with.
func (w *window) holds(d *destination) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d.held.records > 0 || d.failed != 0
}

// startAnew forgets for how long a destination has taken nothing.
func (w *window) startAnew(d *destination) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.since, d.lastErr = time.Time{}, nil
}

// missed notes that a destination has something to send, and that its topic isn't known.
func (w *window) missed(d *destination) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.since.IsZero() {
		d.since = time.Now()
	}
}

// ackedSince reports whether something of a destination was acknowledged after a time.
func (w *window) ackedSince(d *destination, t time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return d.acked.After(t)
}

// restart divides what may be in flight anew. Nothing is in flight.
func (w *window) restart(s share) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.share, w.lent = s, hold{}
}

// reshare is restart while something is in flight.
func (w *window) reshare(s share, all iter.Seq[*destination]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.share, w.lent = s, hold{}
	for d := range all {
		s.lend(d, &w.lent, 1)
	}
}

// trouble returns why a record came back last, where none was acknowledged since.
func (w *window) trouble() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastErr
}

func (w *window) wake() {
	select {
	case w.stir <- struct{}{}:
	default:
	}
}

// wait returns after a while, or when something has changed.
func (w *window) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.stir:
	case <-t.C:
	case <-ctx.Done():
	}
}

// settle waits until nothing is in flight.
func (w *window) settle() {
	for {
		w.mu.Lock()
		n := w.inFlight
		w.mu.Unlock()
		if n == 0 {
			return
		}
		<-w.stir
	}
}

// finish marks a record done that isn't in flight. why is told to whoever waits for its acknowledgement.
func (w *window) finish(seq uint64, why error) (release uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.markDone(seq, why)
	return w.tell(w.inFlight == 0)
}

// skip marks the records from one to another, inclusive, done: the log has lost them, and told so.
func (w *window) skip(from, to uint64) (release uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if from = max(from, w.marks.low+1); from > to {
		return 0
	}
	if from == w.marks.low+1 { // however many they are
		w.marks.setTo(to)
		w.serveFlushers()
	} else {
		for seq := from; seq <= to; seq++ {
			w.marks.set(seq)
		}
	}
	for seq, told := range w.waiters {
		if from <= seq && seq <= to {
			told <- errLost
			delete(w.waiters, seq)
		}
	}
	return w.tell(w.inFlight == 0)
}

func (w *window) markDone(seq uint64, why error) {
	if told, ok := w.waiters[seq]; ok && !w.marks.has(seq) {
		told <- why
		delete(w.waiters, seq)
	}
	if w.marks.set(seq) {
		w.serveFlushers()
	}
}

func (w *window) serveFlushers() {
	w.flushers = slices.DeleteFunc(w.flushers, func(f flusher) bool {
		if f.seq > w.marks.low {
			return false
		}
		close(f.done)
		return true
	})
}

func (w *window) tell(now bool) uint64 {
	if w.marks.low == w.told || !now && w.marks.low < w.told+releaseEvery {
		return 0
	}
	w.told = w.marks.low
	return w.told
}

// mark returns the sequence up to which all are done, for the log to be told.
func (w *window) mark() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = max(w.told, w.marks.low)
	return w.marks.low
}

// await has told, which must have room, told when seq, which is not in the log yet, is done.
func (w *window) await(seq uint64, told chan<- error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiters[seq] = told
}

// forget takes await back.
func (w *window) forget(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiters, seq)
}

// lose tells whoever waits for seq that it is lost, and reports false where it is done.
func (w *window) lose(seq uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.marks.has(seq) {
		return false
	}
	if told, ok := w.waiters[seq]; ok {
		told <- errLost
		delete(w.waiters, seq)
	}
	return true
}

// waiter returns who waits for a record; nil where nobody does.
func (w *window) waiter(seq uint64) chan<- error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiters[seq]
}

// leave marks a record done that another log has now, where whoever waits for it waits on.
func (w *window) leave(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiters, seq)
	w.markDone(seq, nil)
}

// unflush takes flushed back.
func (w *window) unflush(done <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushers = slices.DeleteFunc(w.flushers, func(f flusher) bool { return f.done == done })
}

// flushed returns a channel that is closed once every record up to seq is done.
func (w *window) flushed(seq uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := make(chan struct{})
	if seq <= w.marks.low {
		close(done)
	} else {
		w.flushers = append(w.flushers, flusher{seq, done})
	}
	return done
}
