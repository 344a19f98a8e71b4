package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
)

// ringScan is what the bytes of a ring's file hold.
type ringScan struct {
	id       logID
	size     int64 // of the file
	gen      uint64
	tailSeq  uint64  // what is below it is in the segments or was released; 0 where there is no ring
	released uint64  // what the tail knows was released
	frames   []frame // whole, ascending; their payloads alias the bytes
	damage   string  // what is wrong with the bytes; "" for nothing
}

// loadRing reads the ring's file in dir; the zero id is any log's. The errors are those of the file system, ErrVersion, and that
// the ring is another log's than id.
func loadRing(fsys FS, dir string, id logID) (ringScan, error) {
	name := filepath.Join(dir, ringName)
	b, err := readFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return ringScan{}, nil
	}
	if err != nil {
		return ringScan{}, err
	}
	s, err := scanRing(b, id)
	if err != nil {
		return ringScan{}, fmt.Errorf("wal: %s: %w", name, err)
	}
	s.size = int64(len(b))
	return s, nil
}

var errForeignRing = errors.New("it belongs to another log; move it to a directory of its own")

// scanRing returns what a ring's file holds, from its tail on, around bytes that are bad.
func scanRing(b []byte, id logID) (ringScan, error) {
	page := make([]byte, ringPage)
	copy(page, b)
	if allZero(page) {
		return ringScan{}, nil // it was never made ready
	}
	r, damage, err := openRing(page)
	switch {
	case err != nil:
		return ringScan{}, err
	case r == nil:
		return ringScan{damage: damage, gen: uint64(crc32.Checksum(b, castagnoli))}, nil // a name for its copy
	case r.id != id && id != (logID{}):
		return ringScan{}, errForeignRing
	}
	s := ringScan{id: r.id, gen: r.gen, tailSeq: r.tailSeq, released: r.released, damage: damage}
	r.b = b[min(ringPage, len(b)):]
	if have := uint64(len(r.b)); have < r.size { // it was cut
		r.b = append(make([]byte, 0, r.size), r.b...)[:r.size]
	}
	r.b = r.b[:r.size]
	var missing uint64
	s.frames, missing = r.scan(r.tail, r.tail+r.size, r.tailSeq)
	if missing > 0 {
		s.damage = fmt.Sprintf("damaged: %d missing", missing)
	}
	return s, nil
}

type foundRing struct {
	ring
	released uint64
}

// openRing reads a ring's first page. Either of its two headers does, and either tail; nil where there is none.
func openRing(page []byte) (r *foundRing, damage string, err error) {
	for _, at := range [...]int{0, ringCopy} {
		h, herr := parseHeader(page[at:], magicRing)
		if errors.Is(herr, ErrVersion) {
			return nil, "", herr
		}
		if herr != nil || h.a < ringPage || h.a > 1<<30 || h.a&(h.a-1) != 0 {
			damage = "its header is bad"
			continue
		}
		for _, at := range [...]int{ringTail, ringCopy + ringTail} {
			b := page[at : at+tailSize]
			if crc32.Update(salt(h.id, kindTail, 0, h.c), castagnoli, b[:24]) != binary.LittleEndian.Uint32(b[24:]) {
				continue
			}
			if off := binary.LittleEndian.Uint64(b); r == nil || off > r.tail {
				r = &foundRing{ring: ring{size: h.a, id: h.id, gen: h.c}}
				r.tail, r.tailSeq, r.released = off, binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
			}
		}
		if r != nil {
			return r, "", nil // the other copy's damage costs nothing
		}
		damage = "its tail is bad"
	}
	return nil, damage, nil
}

// scan returns the whole frames from off, where the record seq begins, to the offset to, around bytes that are
// bad: their number is told by the sequence of the next whole frame behind them. What is bad with nothing whole
// behind it is the torn frame of a kill, or bytes of an earlier lap, and not missing. It may fault: see guarded.
func (r *ring) scan(off, to, seq uint64) (frames []frame, missing uint64) {
	good := off // where the last whole frame ended
	for off < to {
		lap := off / r.size * r.size
		b := r.b[:min(r.size, to-lap)]
		// The bytes passed bound what can be missing.
		at, ok := resync(b, int(off-lap), r.salt(off), largest, plausible{seq < smallSeq/2, func(at int, s, _ uint64) bool {
			return s >= seq && s-seq <= (lap+uint64(at)-good)/frameHeader
		}})
		if !ok {
			off = lap + r.size
			continue
		}
		f, _ := readFrame(b[at:], r.salt(off), largest)
		frames = append(frames, f)
		missing += f.seq - seq
		off, seq = lap+uint64(at+f.size()), f.seq+1
		good = off
	}
	return frames, missing
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
