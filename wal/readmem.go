package wal

// readMemory reads what is not in a segment: the ring of a log that can't write, and the queue. Where a segment
// has got more since news was taken, the next record may be there by now, and is to be looked for there first.
func (r *Reader) readMemory(dst []Record, most int, news <-chan struct{}) []Record {
	r.mem = r.mem[:0]
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news != news {
		return dst
	}
	n := len(dst)
	r.next = l.gaps.past(r.next) // told already
	if l.ring != nil && l.disk.ringFailed == nil && r.next < l.ring.headSeq {
		dst = r.readRing(dst, most)
	}
	for len(dst)-n < most && len(r.mem) < memBatch {
		p, ok := l.queue.find(r.next, r.queue)
		if !ok || p.seq != r.next { // what comes before is in a ring that failed, and not given up yet
			break
		}
		typ, payload := p.at()
		dst = append(dst, Record{Seq: p.seq, Type: typ, Payload: r.copy(payload)})
		r.next = p.seq + 1
		r.queue = p.behind()
	}
	return dst
}

func (r *Reader) readRing(dst []Record, most int) []Record {
	ring, n := r.l.ring, len(dst)
	if r.ringOf != ring || r.ringOff < ring.tail || r.ringSeq > r.next {
		r.ringOf, r.ringOff, r.ringSeq = ring, ring.tail, ring.tailSeq
	}
	_ = guarded(func() error { // a ring that fails is the drain's to deal with
		for len(dst)-n < most && len(r.mem) < memBatch && r.ringSeq < ring.headSeq {
			f, after, ok := ring.next(r.ringOff, ring.head)
			if !ok {
				return nil
			}
			if f.seq > r.next {
				return nil // it is on its way to a segment
			}
			if f.seq == r.next {
				dst = append(dst, Record{Seq: f.seq, Type: f.typ, Payload: r.copy(f.payload)})
				r.next = f.seq + 1
			}
			r.ringOff, r.ringSeq = after, f.seq+1
		}
		return nil
	})
	return dst
}

// copy returns a copy of b in the reader's memory. An earlier copy stays where it is when the memory grows.
func (r *Reader) copy(b []byte) []byte {
	at := len(r.mem)
	r.mem = append(r.mem, b...)
	return r.mem[at:len(r.mem):len(r.mem)]
}
