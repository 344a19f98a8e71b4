package wal

import (
	"errors"
	"io/fs"
	"path/filepath"
)

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
	// Nobody looks at a failed ring's bytes any more. Where a mapped file is an open one it can't be removed.
	if err := old.m.Close(); err != nil {
		l.cfg.Logger.Warn("wal: the failed ring can't be closed", "dir", l.cfg.Dir, "error", err)
	}
	name := filepath.Join(l.cfg.Dir, ringName)
	if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := d.fs.Map(name, ringPage+l.cfg.RingSize)
	if err != nil {
		return err
	}
	l.mu.Lock()
	released, next := l.released, l.next
	if !l.queue.empty() {
		next = l.queue.chunks[0].first // all that came since the failure is in the queue
	}
	l.mu.Unlock()
	r, err := newRing(m, d.w.id, newGeneration(), next, released)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	l.mu.Lock()
	l.ring, l.queued = r, true
	l.copied = max(l.copied, next-1)
	d.ringFailed, d.ringLost = nil, false
	l.mu.Unlock()
	return nil
}

// saveRing writes what can still be read of a failed ring to a segment, and counts the rest as lost. An error is
// the disk's: it is tried again.
func (d *disk) saveRing(r *ring) error {
	l := d.l
	l.mu.Lock()
	off, seq, head, end := r.tail, r.tailSeq, r.head, r.headSeq
	l.mu.Unlock()
	c, faults := r.clone()
	frames, _ := c.scan(off, head, seq)
	name := filepath.Join(l.cfg.Dir, ringName)
	if uint64(len(frames)) < end-seq && !faults {
		aside, err := setAside(d.fs, l.cfg.Dir, name, asideName(r.gen))
		if err != nil {
			return err
		}
		l.cfg.Logger.Error("wal: the ring is damaged; it is read around the damage", "file", name, "copy", aside)
	}
	next := seq
	var losses []Loss
	lose := func(to uint64) {
		if next <= to {
			losses = append(losses, Loss{From: next, To: to, Name: name, Reason: "the ring's mapping failed"})
		}
	}
	for _, f := range frames {
		if err := d.w.add(f.seq, f.typ, f.payload); err != nil {
			return err
		}
		lose(f.seq - 1)
		next = f.seq + 1
	}
	lose(end - 1)
	if err := errors.Join(d.w.flush(), d.w.sync()); err != nil {
		return err
	}
	l.mu.Lock()
	r.tail, r.drained, r.tailSeq, r.drainedSeq = head, head, end, end
	l.copied = max(l.copied, end-1)
	l.mu.Unlock()
	for _, loss := range losses {
		l.noteLoss(loss)
	}
	return nil
}

// clone returns a copy of the ring in memory, with zeros where its pages fault.
func (r *ring) clone() (c *ring, faults bool) {
	c = &ring{size: r.size, id: r.id, gen: r.gen, b: make([]byte, r.size)}
	for i := 0; i < len(r.b); i += ringPage {
		if guarded(func() error { copy(c.b[i:i+ringPage], r.b[i:]); return nil }) != nil {
			clear(c.b[i : i+ringPage])
			faults = true
		}
	}
	return c, faults
}
