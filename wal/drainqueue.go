package wal

import "errors"

// drainQueue copies a part of the queue to the segments, syncs and drops it, and reports whether there is
// more. An empty queue is left, and the ring used again.
func (d *disk) drainQueue() (more bool, err error) {
	l := d.l
	l.mu.Lock()
	if !l.queued {
		l.mu.Unlock()
		return false, nil
	}
	if l.ring.head != l.ring.tail {
		l.mu.Unlock()
		return true, d.drainRing() // a record was put before the queue began
	}
	if l.released > l.copied { // read from memory and released: it will be in no segment
		d.trimmed = true
	}
	if l.queue.empty() {
		l.ring.restart(l.next)
		err := d.setTail(l.ring.head, l.next)
		l.queued = err != nil
		l.mu.Unlock()
		return false, err
	}
	p, ok := l.queue.find(max(l.copied, l.released)+1, queuePos{})
	if !ok { // all of it is done with
		l.queue.release(max(l.copied, l.released))
		l.mu.Unlock()
		return true, nil
	}
	if back, err := d.backToRing(p); back || err != nil {
		l.mu.Unlock()
		return false, err
	}
	// What the chunk holds now stays as it is, and only this goroutine drops chunks, so its records may be
	// read after the unlock, from a copy of what says where they are.
	now := *p.c
	p.c = &now
	last := now.first + now.n - 1
	l.mu.Unlock()
	if err := d.explainTrimmed(); err != nil {
		return false, err
	}
	for {
		typ, payload := p.at()
		if err := d.w.add(p.seq, typ, payload); err != nil {
			return false, err
		}
		if p.seq == last {
			break
		}
		p = p.behind()
	}
	if err := errors.Join(d.w.flush(), d.w.sync()); err != nil {
		return false, err
	}
	l.mu.Lock()
	l.copied, l.durable = max(l.copied, last), max(l.durable, last)
	l.answer()
	l.queue.release(last)
	l.mu.Unlock()
	return true, nil
}

// backToRing moves what is left of the queue, from p on, to the ring, which is empty, and uses the ring again. It
// reports false, with nothing moved, where that is too much. Its error is that the ring failed.
func (d *disk) backToRing(p queuePos) (bool, error) {
	l := d.l
	last := l.queue.lastSeq()
	if last-p.seq >= backRecords {
		return false, nil
	}
	var bytes uint64
	for q := p; ; {
		_, payload := q.at()
		bytes += uint64(frameHeader + len(payload))
		if q.seq == last {
			break
		}
		q, _ = l.queue.find(q.seq+1, q)
	}
	if bytes > min(backBytes, l.ring.size/4) {
		return false, nil
	}
	l.ring.restart(p.seq)
	if err := d.setTail(l.ring.head, p.seq); err != nil {
		return false, err
	}
	for q := p; ; {
		typ, payload := q.at()
		if ok, err := l.ring.put(q.seq, typ, payload); !ok || err != nil {
			l.ring.restart(p.seq)
			return false, d.ringFails(err)
		}
		if q.seq == last {
			break
		}
		q, _ = l.queue.find(q.seq+1, q)
	}
	l.queue.release(last)
	l.queued = false
	return true, nil
}
