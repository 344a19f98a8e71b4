package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// The drain looks at the ring this often: while records come, and after a while without any.
const (
	drainEvery = time.Millisecond
	drainIdle  = 10 * time.Millisecond
	idleAfter  = 100 // empty looks
	// queueRounds is how many times in a row the queue is copied and synced.
	queueRounds = 8
	// backRecords and backBytes are what the queue may still hold when the ring takes over: more would keep
	// Append waiting for too long, and while records come none of it ever gets empty by itself.
	backRecords = 1024
	backBytes   = 256 << 10
	freeEvery   = time.Second
)

// disk is the part of a log that is on disk. Its goroutine, the drain, owns the files; what it shares
// with the callers is in Log, under mu.
type disk struct {
	l     *Log
	w     writer
	mark  mark
	fs    FS // Config.FS, watched
	watch watch

	syncedAt   time.Time
	freeAt     time.Time
	failedAt   time.Time     // of the last try to write again
	backoff    time.Duration // until the next
	ringFailed error         // guarded by Log.mu: why the mapping can't be used any more
	ringLost   bool          // what the failed ring still held was looked at
	trimmed    bool          // records were released that are in no segment, and the mark on disk doesn't say so
	markAt     time.Time
	markStale  bool      // the mark's last sync failed: what was written before it proves nothing
	removeAt   time.Time // of the last deletion that failed
	spareAt    time.Time // of the last allocation that failed
	closeError error
}

// run is the drain.
func (d *disk) run() {
	l := d.l
	looks := make(chan struct{})
	go func() {
		defer close(looks)
		d.look()
	}()
	defer func() {
		<-looks
		close(l.idle)
	}()
	t := time.NewTimer(drainEvery)
	defer t.Stop()
	for quiet := 0; ; {
		select {
		case <-l.stop:
			d.finish()
			return
		case <-t.C:
		case <-l.kick:
		}
		if d.cycle() {
			quiet = 0
		} else {
			quiet++
		}
		every := drainEvery
		if quiet > idleAfter {
			every = drainIdle
		}
		t.Reset(every)
	}
}

// passed reports whether d has passed since then. A clock that jumped back has done away with what it was set to
// measure: then it has passed.
func passed(now, since time.Time, d time.Duration) bool {
	e := now.Sub(since)
	return e >= d || e < 0
}

// cycle moves forward what there is, and reports whether there was anything.
func (d *disk) cycle() bool {
	l, now := d.l, d.l.clock()
	d.checkFree(now)
	l.mu.Lock()
	degraded, failed, waiting := l.state.State == Degraded && !l.strained, d.ringFailed, len(l.waiting) > 0
	work := l.ring.head != l.ring.drained || !l.queue.empty()
	l.mu.Unlock()
	if failed != nil && !degraded {
		d.degrade(failed)
		degraded = true
	}
	if degraded {
		d.trim()
		if !passed(now, d.failedAt, d.backoff) {
			return true
		}
	}
	err := d.forward(waiting || degraded, now)
	if err == nil && degraded {
		err = d.w.allocateSpare() // proof that the disk takes something, when there was nothing to write
	}
	switch {
	case err != nil:
		d.degrade(err)
	case degraded:
		d.recovered()
	default:
		d.relax()
	}
	d.release(now)
	d.allocateAhead(now)
	return work || waiting || degraded
}

// allocateAhead makes the next segment's file when half of this one is used. Where that fails there is still
// this one's room, so it is only tried again.
func (d *disk) allocateAhead(now time.Time) {
	if d.w.f == nil || d.w.spare || d.w.off < d.w.size/2 || !passed(now, d.spareAt, freeEvery) {
		return
	}
	if err := d.w.allocateSpare(); err != nil {
		d.spareAt = now
		d.l.cfg.Logger.Warn("wal: the next segment can't be allocated", "dir", d.l.cfg.Dir, "error", err)
	}
}

// forward copies ring and queue to the segments, and syncs them where that is due.
func (d *disk) forward(force bool, now time.Time) error {
	if err := d.explainTrimmed(); err != nil {
		return err
	}
	if err := d.remakeRing(); err != nil {
		return err
	}
	if err := d.drainRing(); err != nil {
		return err
	}
	l := d.l
	due := force || d.queued()
	switch l.cfg.Sync {
	case SyncInterval:
		due = due || passed(now, d.syncedAt, l.cfg.SyncEvery)
	case SyncCommit:
		due = true
	case SyncNone:
		if err := d.trust(); err != nil {
			return err
		}
	}
	if !due {
		return nil
	}
	for range queueRounds { // then the rest of a cycle has its turn
		if err := d.sync(now); err != nil {
			return err
		}
		more, err := d.drainQueue()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// drainRing copies what the ring holds to the segments.
func (d *disk) drainRing() error {
	l := d.l
	l.mu.Lock()
	r := l.ring
	off, to, seq := r.drained, r.head, r.drainedSeq
	l.mu.Unlock()
	if off == to {
		return nil
	}
	err := guarded(func() error {
		for off < to {
			f, after, ok := r.next(off, to)
			if !ok {
				return &ringError{fmt.Sprintf("its bytes are not what was put there, at %d", off)}
			}
			if err := d.w.add(f.seq, f.typ, f.payload); err != nil {
				return err
			}
			off, seq = after, f.seq+1
		}
		return nil
	})
	if err == nil {
		err = d.w.flush()
	}
	if err != nil {
		if bad := (*ringError)(nil); errors.As(err, &bad) {
			l.mu.Lock()
			err = d.ringFails(bad)
			l.mu.Unlock()
		}
		return err
	}
	l.mu.Lock()
	r.drained, r.drainedSeq = to, seq
	l.mu.Unlock()
	return nil
}

// setTail moves the ring's tail. An error is noted as the ring's failure. The caller holds Log.mu.
func (d *disk) setTail(off, seq uint64) error {
	return d.ringFails(d.l.ring.setTail(off, seq, d.l.released))
}

// ringFails notes that the mapping can't be used any more, if err says so. The caller holds Log.mu.
func (d *disk) ringFails(err error) error {
	if err != nil && d.ringFailed == nil {
		d.ringFailed, d.l.queued = err, true
	}
	return err
}

// sync syncs what was written, moves the ring's tail and the mark, and answers those who wait.
func (d *disk) sync(now time.Time) error {
	// Whoever began to wait after the ring was copied has a record in it still.
	if err := d.drainRing(); err != nil {
		return err
	}
	if err := d.w.sync(); err != nil {
		return err
	}
	d.syncedAt = now
	err := d.trust()
	l := d.l
	l.mu.Lock()
	l.durable = max(l.durable, l.ring.drainedSeq-1)
	l.answer()
	l.mu.Unlock()
	return err
}

// trust takes what was copied to the segments for safe there: its room in the ring is free.
func (d *disk) trust() error {
	l := d.l
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.ring
	if r.tail == r.drained {
		return nil
	}
	l.copied = max(l.copied, r.drainedSeq-1)
	return d.setTail(r.drained, r.drainedSeq)
}

// finish is the drain's end: everything to the disk, once, whatever the backoff says.
func (d *disk) finish() {
	l, now := d.l, d.l.clock()
	err := d.forward(true, now)
	for err == nil && d.queued() {
		err = d.forward(true, now)
	}
	if err == nil {
		err = d.w.finish()
	}
	if err != nil {
		d.salvage()
		d.w.abandon()
	}
	l.mu.Lock()
	l.fail(ErrClosed)
	if !l.queue.empty() {
		first := max(max(l.released, l.copied)+1, l.queue.chunks[0].first)
		l.stats.OverflowLost = l.queue.lastSeq() + 1 - min(first, l.queue.lastSeq()+1)
	}
	unsaved := l.stats.OverflowLost
	l.state = StateChange{State: Closed, Since: now}
	l.mu.Unlock()
	d.release(now)
	l.mu.Lock()
	released, synced, kept := l.released, l.durable, l.kept()
	l.mu.Unlock()
	err = errors.Join(err, d.mark.write(released, synced, kept), d.mark.f.Sync(), d.mark.f.Close(), l.ring.m.Close())
	if d.w.spare {
		err = errors.Join(err, d.fs.Remove(filepath.Join(l.cfg.Dir, spareName)))
	}
	if unsaved > 0 {
		err = errors.Join(err, fmt.Errorf("%d records were in memory alone and are gone", unsaved))
	}
	if err = errors.Join(err, l.lock.Close()); err != nil {
		d.closeError = fmt.Errorf("wal: closing %s: %w", l.cfg.Dir, err)
	}
}

// queued reports whether records go to the queue.
func (d *disk) queued() bool {
	d.l.mu.Lock()
	defer d.l.mu.Unlock()
	return d.l.queued
}
