package wal

import (
	"encoding/binary"
)

// queue is a log's memory: records in order, in chunks that are used again. It is all of a log in
// memory, and the overflow of a log on disk. It is guarded by Log.mu.
//
// In a chunk a record is its length u32, its type u8 and its payload; sequences are counted from the
// chunk's first.
type queue struct {
	chunks []*chunk
	spares [][]byte // of chunks that were dropped
	pinned bool     // somebody may be reading a chunk that is dropped: it isn't used again
	bytes  int64
	count  uint64
}

type chunk struct {
	b     []byte
	first uint64 // sequence of the first record
	n     uint64 // records
}

const (
	chunkSize   = 256 << 10
	maxSpares   = 16 // chunks kept for reuse: 4 MiB
	queueHeader = 5
)

func (q *queue) push(seq uint64, typ byte, payload []byte) {
	n := queueHeader + len(payload)
	c := q.last()
	if c == nil || cap(c.b)-len(c.b) < n || c.first+c.n != seq {
		c = q.take(n)
		c.first = seq
		q.chunks = append(q.chunks, c)
	}
	c.b = binary.LittleEndian.AppendUint32(c.b, uint32(len(payload)))
	c.b = append(c.b, typ)
	c.b = append(c.b, payload...)
	c.n++
	q.bytes += int64(n)
	q.count++
}

func (q *queue) last() *chunk {
	if len(q.chunks) == 0 {
		return nil
	}
	return q.chunks[len(q.chunks)-1]
}

func (q *queue) take(n int) *chunk {
	if i := len(q.spares) - 1; i >= 0 && n <= chunkSize {
		b := q.spares[i]
		q.spares = q.spares[:i]
		return &chunk{b: b[:0]} // a chunk of its own: readers tell places apart by it
	}
	return &chunk{b: make([]byte, 0, max(chunkSize, n))}
}

func (q *queue) empty() bool { return q.count == 0 }

// lastSeq returns the last record's sequence; the queue must not be empty.
func (q *queue) lastSeq() uint64 { c := q.last(); return c.first + c.n - 1 }

// release drops what is at or below upTo, a chunk at a time: one that is done with in part stays whole, and
// its records count until the last of them is released.
func (q *queue) release(upTo uint64) {
	n := 0
	for n < len(q.chunks) && q.chunks[n].first+q.chunks[n].n <= upTo+1 {
		c := q.chunks[n]
		q.bytes -= int64(len(c.b))
		q.count -= c.n
		if !q.pinned && len(q.spares) < maxSpares && cap(c.b) == chunkSize {
			q.spares = append(q.spares, c.b)
		}
		q.chunks[n] = nil
		n++
	}
	if n == len(q.chunks) {
		q.chunks = q.chunks[:0]
		return
	}
	q.chunks = q.chunks[n:]
}

// queuePos is a reader's place: the record seq begins at off of the chunk c.
type queuePos struct {
	c   *chunk
	off int
	seq uint64
}

// find returns the place of the first record at or above seq, and whether there is one. hint is a place
// found or left earlier.
func (q *queue) find(seq uint64, hint queuePos) (queuePos, bool) {
	for i := len(q.chunks) - 1; i >= 0; i-- {
		c := q.chunks[i]
		if c.first > seq && i > 0 {
			continue
		}
		if c.first+c.n <= seq {
			if i+1 == len(q.chunks) {
				return queuePos{}, false
			}
			c = q.chunks[i+1]
		}
		p := queuePos{c: c, seq: c.first}
		if hint.c == c && hint.seq >= c.first && hint.seq <= seq && hint.seq < c.first+c.n {
			p = hint
		}
		for p.seq < seq {
			p.off += queueHeader + int(binary.LittleEndian.Uint32(p.c.b[p.off:]))
			p.seq++
		}
		return p, true
	}
	return queuePos{}, false
}

// at returns the record at p, which find returned.
func (p queuePos) at() (typ byte, payload []byte) {
	n := int(binary.LittleEndian.Uint32(p.c.b[p.off:]))
	start := p.off + queueHeader
	return p.c.b[p.off+4], p.c.b[start : start+n : start+n]
}

// behind returns the place behind p's record, in the same chunk: a record's if it has one more.
func (p queuePos) behind() queuePos {
	_, payload := p.at()
	p.off += queueHeader + len(payload)
	p.seq++
	return p
}
