package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// The errors of Append and of the calls that wait.
var (
	// ErrFull: the log holds as much as it may (MaxBytes, MaxOverflow or MinFree). The record was not taken.
	ErrFull = errors.New("wal: full")
	// ErrTooLarge: the record is over MaxRecord. It was not taken.
	ErrTooLarge = errors.New("wal: record too large")
	// ErrClosed: the log is closed.
	ErrClosed = errors.New("wal: closed")
	// ErrDegraded: what was to be synced can't be, for now.
	ErrDegraded = errors.New("wal: degraded")
	// ErrNotDurable: the log is in memory, so there is nothing to sync to.
	ErrNotDurable = errors.New("wal: in memory")
)

// State says how a log is.
type State uint8

// The states.
const (
	Healthy  State = iota // records survive a kill -9 once Append has returned
	Degraded              // records may be in memory alone; the log tries to get well by itself
	Closed
)

// String returns the state in lower case.
func (s State) String() string { return [...]string{"healthy", "degraded", "closed"}[s] }

// StateChange says that a log's state changed, why, and since when.
type StateChange struct {
	State  State
	Reason error // nil when healthy
	Since  time.Time
}

// Loss is a range of records that were in the log and can't be read any more.
type Loss struct {
	From, To uint64 // sequences, both inclusive
	Name     string // the file it was found in, "" for none
	Reason   string
}

// Records is how many records were lost.
func (l Loss) Records() uint64 { return l.To - l.From + 1 }

// Stats is a log's state in numbers.
type Stats struct {
	StateChange          // the state now
	Next          uint64 // sequence of the next record
	Released      uint64 // the mark
	Synced        uint64 // last sequence known to be on the disk
	Bytes         int64  // held: files, ring and memory
	Segments      int    // files
	Overflow      uint64 // records in memory alone, for a log on disk
	Unprotected   uint64 // records ever taken that a kill -9 could have lost
	Lost          uint64 // records found missing or unreadable
	Damaged       uint64 // places in segments found damaged
	Recovered     uint64 // records that Open found and that were not released
	MarkErrors    uint64 // failed writes of the mark: records may be read twice after a restart
	RemoveErrors  uint64 // failed deletions of segments, tried again
	OverflowLost  uint64 // records that Close could save nowhere
	DegradedTimes uint64 // how often it became degraded
}

// Log is a write-ahead log, made by [Open] or [OpenMemory]. All of its methods may be called concurrently.
type Log struct {
	cfg   Config
	disk  *disk // nil: in memory alone
	lock  io.Closer
	clock func() time.Time

	mu       sync.Mutex
	next     uint64 // sequence of the next record
	released uint64
	copied   uint64 // every record at or below it is in a segment for good, or released
	durable  uint64 // every record at or below it was synced there
	ring     *ring
	queue    queue
	queued   bool       // records go to the queue until it is empty
	segs     []*segment // ascending; the last may be being written
	state    StateChange
	strained bool  // Degraded, but the disk has not failed: the ring is as safe as ever
	hung     bool  // the drain is in a call that doesn't return
	full     bool  // under MinFree
	bytes    int64 // in files
	stats    Stats
	gaps     lost          // losses told already
	waiting  []syncWaiter  // Sync's callers
	news     chan struct{} // closed when there is more to read
	closed   bool

	kick chan struct{} // wakes the drain early
	stop chan struct{} // ends it
	done chan struct{} // closed when the log is closed for readers
	idle chan struct{} // closed when the drain has ended
}

// OpenMemory returns a log in memory alone: Append is cheaper still, and nothing survives the process.
// It never fails for a valid config; Dir and what concerns files is ignored.
func OpenMemory(cfg Config) (*Log, error) {
	cfg = cfg.withDefaults(false)
	if err := cfg.validate(false); err != nil {
		return nil, err
	}
	l := newLog(cfg)
	close(l.idle)
	return l, nil
}

func newLog(cfg Config) *Log {
	return &Log{
		cfg: cfg, clock: cfg.Clock, next: 1, state: StateChange{Since: cfg.Clock()},
		news: make(chan struct{}), kick: make(chan struct{}, 1), stop: make(chan struct{}),
		done: make(chan struct{}), idle: make(chan struct{}),
	}
}

// Append takes a record and returns its sequence, counted from 1. It never blocks on the disk, and does
// not keep payload. When it has returned without an error and with safe true, a kill -9 can't lose the
// record; with safe false the log is in memory, degraded, or its ring is full. The errors are
// ErrFull, ErrTooLarge and ErrClosed: the record was not taken and has no sequence.
func (l *Log) Append(typ byte, payload []byte) (seq uint64, safe bool, err error) {
	if len(payload) > l.cfg.MaxRecord {
		return 0, false, ErrTooLarge
	}
	l.mu.Lock()
	seq, safe, err = l.append(typ, payload)
	l.mu.Unlock()
	return seq, safe, err
}

func (l *Log) append(typ byte, payload []byte) (seq uint64, safe bool, err error) {
	if l.closed {
		return 0, false, ErrClosed
	}
	if l.full || l.cfg.MaxBytes >= 0 && l.held()+int64(frameHeader+len(payload)) > l.cfg.MaxBytes {
		return 0, false, ErrFull
	}
	seq = l.next
	if l.disk != nil && !l.queued {
		ok, err := l.ring.put(seq, typ, payload)
		if ok {
			l.next++
			if l.ring.used() > l.ring.size/2 {
				l.wake()
			}
			if l.state.State == Degraded && !l.strained {
				l.stats.Unprotected++
				return seq, false, nil
			}
			return seq, true, nil
		}
		if err != nil && l.disk.ringFailed == nil {
			l.disk.ringFailed = err
		}
		l.queued = true
		l.wake()
	}
	if l.disk != nil {
		if l.queue.bytes+int64(queueHeader+len(payload)) > l.cfg.MaxOverflow {
			// The queue may have been emptied by a release: then the ring's next record isn't this log's.
			l.queued = !l.queue.empty() || l.disk.ringFailed != nil || l.ring.headSeq != l.next
			return 0, false, ErrFull
		}
		l.stats.Unprotected++
	}
	l.queue.push(seq, typ, payload)
	l.next++
	return seq, false, nil
}

// held is how many bytes the log holds.
func (l *Log) held() int64 {
	n := l.bytes + l.queue.bytes
	if l.ring != nil {
		n += int64(l.ring.head - l.ring.drained)
	}
	return n
}

func (l *Log) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// syncWaiter is a caller of Sync: it is told when every record up to seq is durable.
type syncWaiter struct {
	seq  uint64
	told chan<- error
}

// answer tells the callers of Sync whose records are durable.
func (l *Log) answer() {
	rest := l.waiting[:0]
	for _, w := range l.waiting {
		if w.seq <= max(l.durable, l.released) {
			w.told <- nil
		} else {
			rest = append(rest, w)
		}
	}
	l.waiting = rest
}

// fail tells every caller of Sync why not.
func (l *Log) fail(err error) {
	for _, w := range l.waiting {
		w.told <- err
	}
	l.waiting = nil
}

// setEnd makes the first end bytes of s readable.
func (l *Log) setEnd(s *segment, end int64) {
	l.bytes += end - s.end
	s.end = end
	l.tellReaders()
}

func (l *Log) tellReaders() {
	close(l.news)
	l.news = make(chan struct{})
}

// Release says that every record up to seq is done with: it will not be read again, not even after a
// restart, once the mark is written. Going back has no effect.
func (l *Log) Release(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq <= l.released {
		return
	}
	l.released = min(seq, l.next-1)
	if l.disk == nil || l.hung { // the drain, which would do it, is stuck
		l.queue.release(l.released)
	}
}

// Sync waits until every record appended before it is on the disk: it asks for a sync at once, which
// everybody who waits shares. It returns ErrDegraded, with the reason, where the disk refuses; ErrNotDurable for
// a log in memory; ErrClosed; or ctx's error.
func (l *Log) Sync(ctx context.Context) error {
	if l.disk == nil {
		return ErrNotDurable
	}
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return ErrClosed
	case l.state.State == Degraded && (!l.strained || l.hung):
		defer l.mu.Unlock()
		return fmt.Errorf("%w: %w", ErrDegraded, l.state.Reason)
	case max(l.durable, l.released)+1 == l.next:
		l.mu.Unlock()
		return nil
	}
	c := make(chan error, 1)
	l.waiting = append(l.waiting, syncWaiter{l.next - 1, c})
	l.wake()
	l.mu.Unlock()
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats returns the log's state in numbers.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.StateChange = l.state
	s.Next, s.Released, s.Synced = l.next, l.released, l.durable
	s.Bytes, s.Segments = l.held(), len(l.segs)
	if l.disk != nil {
		s.Overflow = l.queue.count
	}
	return s
}

// Drained reports whether every record was released.
func (l *Log) Drained() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.released+1 == l.next
}

// Close stops the log: Append and Read return ErrClosed, what was appended is copied to the segments and
// synced, the mark is written. It is idempotent, and returns what could not be saved, or ctx's error when it
// ended first; the rest is then in the ring, for the next Open, as after a kill -9.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
		close(l.done)
		if l.disk == nil {
			l.state = StateChange{State: Closed, Since: l.clock()}
		}
	}
	l.mu.Unlock()
	if l.disk == nil {
		return nil
	}
	select {
	case <-l.idle:
		return l.disk.closeError
	case <-ctx.Done():
	}
	select {
	case <-l.idle: // what ended at the same moment has ended
		return l.disk.closeError
	default:
		return fmt.Errorf("wal: closing %s: %w", l.cfg.Dir, ctx.Err())
	}
}
