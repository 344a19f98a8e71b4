package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime/debug"
)

// ring is the staging ring: a page for its header, then size bytes of frames. Offsets count bytes since
// the ring was made ready and never wrap; offset % size is the place, offset / size the lap. A frame never
// lies across the end: what doesn't fit there begins the next lap, behind a skip mark.
//
// It is guarded by Log.mu, but for the bytes between drained and head, which nobody writes to and the
// drain reads without it.
type ring struct {
	m    Mapping
	page []byte // header
	b    []byte // frames
	size uint64
	id   logID
	gen  uint64

	head, drained, tail          uint64 // offsets: appended, copied to a segment, synced there
	headSeq, drainedSeq, tailSeq uint64 // sequences of the frames that begin there
	lapSalt                      uint32 // of head's lap
}

const (
	ringPage = 4096
	ringTail = 128  // place of the tail behind a header
	ringCopy = 2048 // place of the second header and tail, in another sector
	tailSize = 28
	kindTail = 't'
	skipMark = 0xffffffff
)

// newRing makes the mapping a fresh ring whose first record will be seq. What it held is no longer
// readable afterwards: its header goes first, so that nobody takes what is left of it for damage.
func newRing(m Mapping, id logID, gen, seq, released uint64) (*ring, error) {
	b := m.Bytes()
	r := &ring{m: m, page: b[:ringPage], b: b[ringPage:], size: uint64(len(b) - ringPage), id: id, gen: gen}
	return r, guarded(func() error {
		h := header{id: id, a: r.size, c: gen}
		for _, at := range [...]int{0, ringCopy} {
			copy(r.page[at:], h.append(nil, magicRing))
			r.putTail(at+ringTail, 0, seq, released)
		}
		for i := 0; i < len(r.b); i += ringPage { // fault every page in, for writing
			r.b[i]++
			r.b[i]--
		}
		r.restart(seq)
		return m.Written(0, ringPage)
	})
}

// restart makes seq the next record's; the ring is empty.
func (r *ring) restart(seq uint64) {
	r.drained, r.tail = r.head, r.head
	r.headSeq, r.drainedSeq, r.tailSeq = seq, seq, seq
	r.lapSalt = r.salt(r.head)
}

func (r *ring) salt(off uint64) uint32 { return salt(r.id, kindRing, off/r.size, r.gen) }

// guarded runs f, and turns a memory fault in it (SIGBUS: the file under the mapping was cut, or its disk
// failed) into an error.
func guarded(f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			err = faultError(p)
		}
	}()
	return f()
}

// put appends a record, and reports false where the ring has no room for it.
func (r *ring) put(seq uint64, typ byte, payload []byte) (ok bool, err error) {
	n := uint64(frameHeader + len(payload))
	head := r.head
	o := head & (r.size - 1)
	if o+n > r.size {
		head += r.size - o
	}
	if head+n-r.tail > r.size {
		return false, nil
	}
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			ok, err = false, faultError(p)
		}
	}()
	if head != r.head {
		if r.size-o >= 4 {
			binary.LittleEndian.PutUint32(r.b[o:], skipMark)
			if r.m.NeedsWritten() {
				if err := r.m.Written(ringPage+int(o), 4); err != nil {
					return false, err
				}
			}
		}
		o = 0
	}
	if o == 0 { // a lap begins, be it that the last frame ended right here
		r.lapSalt = r.salt(head)
	}
	putFrame(r.b[o:], r.lapSalt, seq, typ, 0, payload)
	if r.m.NeedsWritten() {
		if err := r.m.Written(ringPage+int(o), int(n)); err != nil {
			return false, err
		}
	}
	r.head = head + n
	r.headSeq = seq + 1
	return true, nil
}

// ringError says that the ring's mapping can't be used any more.
type ringError struct{ reason string }

func (e *ringError) Error() string { return "wal: the ring failed: " + e.reason }

func faultError(p any) error {
	if fault, ok := p.(interface{ Addr() uintptr }); ok {
		return &ringError{fmt.Sprintf("memory fault at %#x (was its file cut?)", fault.Addr())}
	}
	panic(p)
}

// next returns the frame at off and the offset behind it; false at to, or where the bytes are bad. It may
// fault: see guarded.
func (r *ring) next(off, to uint64) (f frame, after uint64, ok bool) {
	for off < to {
		o := off & (r.size - 1)
		rest := r.b[o:]
		if len(rest) < frameHeader || binary.LittleEndian.Uint32(rest) == skipMark {
			off += r.size - o
			continue
		}
		f, ok = readFrame(rest, r.salt(off), largest)
		return f, off + uint64(f.size()), ok
	}
	return frame{}, off, false
}

// setTail moves the tail, here and in the page. An error says that the page may have the old one, from which
// a ring that goes on can't be read: it is to be replaced.
func (r *ring) setTail(off, seq, released uint64) error {
	r.tail, r.tailSeq = off, seq
	return guarded(func() error {
		for _, at := range [...]int{ringTail, ringCopy + ringTail} {
			r.putTail(at, off, seq, released)
			if r.m.NeedsWritten() {
				if err := r.m.Written(at, tailSize); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// putTail writes the tail at a place of the page.
//
//	 0        8          16         24   28
//	+--------+----------+----------+----+
//	| offset | sequence | released | crc|
//	+--------+----------+----------+----+
//
// It says: what lies before offset, the records below sequence, is in the segments or was released; and how
// much was released, which the mark may not know yet. It stands twice, the second behind the first, so that
// one of them is whole whenever a kill comes and whatever bit rots.
func (r *ring) putTail(at int, off, seq, released uint64) {
	b := r.page[at : at+tailSize]
	binary.LittleEndian.PutUint64(b, off)
	binary.LittleEndian.PutUint64(b[8:], seq)
	binary.LittleEndian.PutUint64(b[16:], released)
	binary.LittleEndian.PutUint32(b[24:], crc32.Update(salt(r.id, kindTail, 0, r.gen), castagnoli, b[:24]))
}

// used is how many bytes wait for a sync.
func (r *ring) used() uint64 { return r.head - r.tail }
