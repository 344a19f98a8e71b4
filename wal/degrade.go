package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// degrade gives up the file that is being written, and everything in it that was not synced: the ring and
// the queue still have that.
func (d *disk) degrade(reason error) {
	l, now := d.l, d.l.clock()
	d.salvage()
	d.w.abandon()
	d.backoff = min(max(2*d.backoff, l.cfg.RetryMin), l.cfg.RetryMax)
	d.failedAt = now
	l.mu.Lock()
	r := l.ring
	r.drained, r.drainedSeq = r.tail, r.tailSeq
	s := d.w.seg
	if s != nil && l.cfg.Sync != SyncNone {
		l.setEnd(s, max(min(s.end, d.w.synced), dataStart))
	}
	empty := s != nil && s.end == dataStart
	changed := l.state.State != Degraded
	l.strained, l.hung, l.queue.pinned = false, false, false
	if changed {
		l.stats.DegradedTimes++
		l.state = StateChange{State: Degraded, Reason: reason, Since: now}
	} else {
		l.state.Reason = reason
	}
	l.fail(fmt.Errorf("%w: %w", ErrDegraded, reason))
	state := l.state
	l.tellReaders()
	l.mu.Unlock()
	if empty {
		d.discard(s)
	}
	if changed {
		l.cfg.Logger.Error("wal: degraded: events are in memory only until the disk takes them again", "dir", l.cfg.Dir, "reason", reason)
		l.tellState(state)
	}
}

// salvage syncs what was copied to a file that is given up, where the copy is all there is of it: of a ring that failed,
// or that was trusted to the kernel.
func (d *disk) salvage() {
	l := d.l
	l.mu.Lock()
	failed := d.ringFailed
	l.mu.Unlock()
	if failed == nil && l.cfg.Sync != SyncNone {
		return
	}
	_ = d.w.flush() // what wasn't flushed doesn't count as copied
	if d.w.sync() != nil {
		return
	}
	l.mu.Lock()
	r := l.ring
	r.tail, r.tailSeq = r.drained, r.drainedSeq
	l.copied, l.durable = max(l.copied, r.tailSeq-1), max(l.durable, r.tailSeq-1)
	l.mu.Unlock()
}

// discard deletes a segment that was given up with nothing in it: each try to write again makes one, and a
// disk that goes on failing would be filled with them.
func (d *disk) discard(s *segment) {
	l := d.l
	l.mu.Lock()
	segs := l.segs
	i := slices.Index(segs, s)
	if i >= 0 {
		l.segs = slices.Delete(slices.Clone(segs), i, i+1) // before the file goes: a reader opens what is there
	}
	l.mu.Unlock()
	err := d.fs.Remove(s.name)
	kept := err != nil && !errors.Is(err, fs.ErrNotExist)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case kept:
		l.segs = segs // it stands as an empty segment, and goes when it is released
		return
	case i >= 0:
		l.bytes -= s.end
	}
	d.w.seg = nil
}

// recovered says that everything is on disk again.
func (d *disk) recovered() {
	l := d.l
	l.mu.Lock()
	since := l.state.Since
	l.state = StateChange{State: Healthy, Since: l.clock()}
	l.strained, l.hung, l.queue.pinned = false, false, false
	state := l.state
	l.mu.Unlock()
	d.backoff = 0
	l.cfg.Logger.Warn("wal: healthy again", "dir", l.cfg.Dir, "degraded_for", state.Since.Sub(since))
	l.tellState(state)
}

func (l *Log) tellState(s StateChange) {
	if l.cfg.OnState != nil {
		l.cfg.OnState(s)
	}
}

// trimFrames is how many frames of the ring are passed in one go, while Append has to wait.
const trimFrames = 512

// trim drops from ring and queue what was released while it could not be written. It is in no segment then, and
// only the mark tells it from what is lost.
func (d *disk) trim() {
	for d.trimSome() {
	}
}

// trimSome drops a part, and reports whether there is more.
func (d *disk) trimSome() (more bool) {
	l := d.l
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.ring
	if r.tailSeq <= l.released || !l.queue.empty() && l.queue.chunks[0].first <= l.released {
		d.trimmed = true
	}
	if r.tailSeq <= l.released && d.ringFailed == nil {
		off, seq := r.tail, r.tailSeq
		_ = d.ringFails(guarded(func() error {
			for n := 0; seq <= l.released && off < r.head; n++ {
				if more = n == trimFrames; more {
					break
				}
				_, after, ok := r.next(off, r.head)
				if !ok {
					return &ringError{fmt.Sprintf("its bytes are not what was put there, at %d", off)}
				}
				off = after
				seq++
			}
			return nil
		}))
		_ = d.setTail(off, seq)
		r.drained, r.drainedSeq = r.tail, r.tailSeq
		l.copied = max(l.copied, seq-1)
	}
	l.queue.release(l.released)
	return more
}

// explainTrimmed makes the mark say that what was trimmed was released, before anything behind it is written.
func (d *disk) explainTrimmed() error {
	if !d.trimmed {
		return nil
	}
	l := d.l
	l.mu.Lock()
	released, durable, kept := l.released, l.durable, l.kept()
	l.mu.Unlock()
	if err := d.mark.write(released, durable, kept); err != nil {
		return err
	}
	if err := d.mark.f.Sync(); err != nil {
		return err
	}
	d.trimmed = false
	return nil
}
