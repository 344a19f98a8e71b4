package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// degrade gives up the file that is being written, and everything in it that was not synced: the ring and
// the queue still have that.
func (d *disk) degrade(reason error) {
	l, now := d.l, d.l.clock()
	d.w.abandon()
	d.backoff = min(max(2*d.backoff, l.cfg.RetryMin), l.cfg.RetryMax)
	d.retryAt = now.Add(d.backoff)
	l.mu.Lock()
	r := l.ring
	r.drained, r.drainedSeq = r.tail, r.tailSeq
	if s := d.w.seg; s != nil && l.cfg.Sync != SyncNone {
		l.setEnd(s, max(min(s.end, d.w.synced), dataStart))
	}
	changed := l.state.State != Degraded
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
	if changed {
		l.cfg.Logger.Error("wal: degraded: events are in memory only until the disk takes them again", "dir", l.cfg.Dir, "reason", reason)
		l.tellState(state)
	}
}

// recovered says that everything is on disk again.
func (d *disk) recovered() {
	l := d.l
	l.mu.Lock()
	since := l.state.Since
	l.state = StateChange{State: Healthy, Since: l.clock()}
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

// trim drops from ring and queue what was released while it could not be written. It is in no segment then, and
// only the mark tells it from what is lost.
func (d *disk) trim() {
	l := d.l
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.ring
	if r.tailSeq <= l.released || !l.queue.empty() && l.queue.chunks[0].first <= l.released {
		d.trimmed = true
	}
	if r.tailSeq <= l.released && d.ringFailed == nil {
		off, seq := r.tail, r.tailSeq
		_ = guarded(func() error {
			for seq <= l.released && off < r.head {
				_, after, ok := r.next(off, r.head, l.cfg.MaxRecord)
				if !ok {
					break
				}
				off = after
				seq++
			}
			return r.setTail(off, seq)
		})
		r.drained, r.drainedSeq = r.tail, r.tailSeq
		l.copied = max(l.copied, seq-1)
	}
	l.queue.release(l.released)
}

// remakeRing replaces a ring whose mapping failed. What it held and was not yet copied is lost, and said so.
func (d *disk) remakeRing() error {
	l := d.l
	l.mu.Lock()
	failed, old := d.ringFailed, l.ring
	l.mu.Unlock()
	if failed == nil {
		return nil
	}
	if !d.ringLost {
		if err := d.saveRing(old); err != nil {
			return err
		}
		d.ringLost = true
	}
	name := filepath.Join(l.cfg.Dir, ringName)
	if err := l.cfg.FS.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := l.cfg.FS.Map(name, ringPage+l.cfg.RingSize)
	if err != nil {
		return err
	}
	r, err := newRing(m, d.w.id, newGeneration(), 0)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	l.mu.Lock()
	next := l.next
	if !l.queue.empty() {
		next = l.queue.chunks[0].first
	}
	r.restart(next) // all that came since the failure is in the queue
	l.ring, l.queued = r, true
	l.copied = max(l.copied, next-1)
	d.ringFailed, d.ringLost = nil, false
	l.mu.Unlock()
	return old.m.Close()
}

// saveRing writes what can still be read of a failed ring to a segment, and counts the rest as lost. An error is
// the disk's: it is tried again.
func (d *disk) saveRing(r *ring) error {
	l := d.l
	l.mu.Lock()
	off, seq, head, end := r.tail, r.tailSeq, r.head, r.headSeq
	l.mu.Unlock()
	var failed error
	_ = guarded(func() error { // a fault is the end of what can be read
		for seq < end && failed == nil {
			f, after, ok := r.next(off, head, l.cfg.MaxRecord)
			if !ok {
				break
			}
			if failed = d.w.add(f.seq, f.typ, f.payload); failed == nil {
				off, seq = after, f.seq+1
			}
		}
		return nil
	})
	if failed == nil {
		failed = d.w.flush()
	}
	if failed == nil {
		failed = d.w.sync()
	}
	if failed != nil {
		return failed
	}
	l.mu.Lock()
	r.tail, r.drained, r.tailSeq, r.drainedSeq = head, head, end, end
	l.mu.Unlock()
	if seq < end {
		l.noteLoss(Loss{From: seq, To: end - 1, Name: filepath.Join(l.cfg.Dir, ringName), Reason: "the ring's mapping failed"})
	}
	return nil
}

// explainTrimmed makes the mark say that what was trimmed was released, before anything behind it is written.
func (d *disk) explainTrimmed() error {
	if !d.trimmed {
		return nil
	}
	l := d.l
	l.mu.Lock()
	released, durable := l.released, l.durable
	l.mu.Unlock()
	if err := d.mark.write(released, durable); err != nil {
		return err
	}
	if err := d.mark.f.Sync(); err != nil {
		return err
	}
	d.trimmed = false
	return nil
}
