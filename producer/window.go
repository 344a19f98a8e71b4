package producer

import (
	"slices"
	"sync"
)

// window follows the records of one log that were handed to Kafka: which are done, and up to where all are.
// A record is done when the broker has acknowledged it, when it is a letter, or when the log has lost it.
type window struct {
	mu       sync.Mutex
	change   *sync.Cond
	low      uint64 // every record at or below it is done
	told     uint64 // the low that the log knows
	done     []bool // of low+1, low+2 …
	inFlight int
	bytes    int64
	failed   uint64 // lowest record that came back since the last settle; 0 is none
	err      error  // why
	waiters  map[uint64]chan<- error
	flushers []flusher
}

// flusher waits for every record up to seq.
type flusher struct {
	seq  uint64
	done chan struct{}
}

// releaseEvery is how many done records the log may be behind, since telling it takes the lock that Fire does.
const releaseEvery = 256

func newWindow(low uint64) *window {
	w := &window{low: low, told: low, waiters: map[uint64]chan<- error{}}
	w.change = sync.NewCond(&w.mu)
	return w
}

func (w *window) isDone(seq uint64) bool {
	if seq <= w.low {
		return true
	}
	i := seq - w.low - 1
	return i < uint64(len(w.done)) && w.done[i]
}

// settled reports whether seq is done. Records are read again after a failure; those that were acknowledged
// meanwhile are not sent again.
func (w *window) settled(seq uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isDone(seq)
}

// begin lets a record be sent, once the window has room. It reports false, with nothing begun, when another
// has failed.
func (w *window) begin(size, most int, mostBytes int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.failed == 0 && w.inFlight > 0 && (w.inFlight >= most || w.bytes+int64(size) > mostBytes) {
		w.change.Wait()
	}
	if w.failed != 0 {
		return false
	}
	w.inFlight++
	w.bytes += int64(size)
	return true
}

// end takes back a record that begin let through. It returns what the log is to be told to release, 0 for
// nothing.
func (w *window) end(seq uint64, size int, err error) (release uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight--
	w.bytes -= int64(size)
	if err == nil {
		w.markDone(seq, nil)
	} else if w.failed == 0 || seq < w.failed {
		w.failed, w.err = seq, err
	}
	w.change.Broadcast()
	return w.tell(w.inFlight == 0)
}

// finish marks a record done that isn't in flight. why is told to whoever waits for its acknowledgement.
func (w *window) finish(seq uint64, why error) (release uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isDone(seq) {
		w.markDone(seq, why)
	}
	return w.tell(w.inFlight == 0)
}

// skip marks the records from one to another, inclusive, done: the log has lost them, and told so.
func (w *window) skip(from, to uint64) (release uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from = max(from, w.low+1)
	if from == w.low+1 && len(w.done) == 0 && from <= to {
		w.low = to // however many they are
		w.serveFlushers()
		for seq, told := range w.waiters {
			if seq <= to {
				told <- errLost
				delete(w.waiters, seq)
			}
		}
	}
	for ; from <= to; from++ {
		if !w.isDone(from) {
			w.markDone(from, errLost)
		}
	}
	return w.tell(w.inFlight == 0)
}

func (w *window) markDone(seq uint64, why error) {
	if told, ok := w.waiters[seq]; ok {
		told <- why
		delete(w.waiters, seq)
	}
	i := seq - w.low - 1
	for uint64(len(w.done)) <= i {
		w.done = append(w.done, false)
	}
	w.done[i] = true
	n := 0
	for n < len(w.done) && w.done[n] {
		n++
	}
	if n == 0 {
		return
	}
	w.low += uint64(n)
	w.done = w.done[:copy(w.done, w.done[n:])]
	w.serveFlushers()
}

func (w *window) serveFlushers() {
	for i := 0; i < len(w.flushers); i++ {
		if f := w.flushers[i]; f.seq <= w.low {
			close(f.done)
			w.flushers = append(w.flushers[:i], w.flushers[i+1:]...)
			i--
		}
	}
}

func (w *window) tell(now bool) uint64 {
	if w.low == w.told || !now && w.low < w.told+releaseEvery {
		return 0
	}
	w.told = w.low
	return w.low
}

// settle waits until nothing is in flight, and returns the lowest record that failed, and why; 0 where none
// did. The window lets records through again afterwards.
func (w *window) settle() (failed uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.inFlight > 0 {
		w.change.Wait()
	}
	failed, err = w.failed, w.err
	w.failed, w.err = 0, nil
	return failed, err
}

// idle waits until nothing is in flight, and reports whether nothing has failed.
func (w *window) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.inFlight > 0 {
		w.change.Wait()
	}
	return w.failed == 0
}

func (w *window) hasFailed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed != 0
}

// mark returns the sequence up to which all are done.
func (w *window) mark() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.low
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
	if w.isDone(seq) {
		return false
	}
	if told, ok := w.waiters[seq]; ok {
		told <- errLost
		delete(w.waiters, seq)
	}
	return true
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
	if seq <= w.low {
		close(done)
	} else {
		w.flushers = append(w.flushers, flusher{seq, done})
	}
	return done
}
