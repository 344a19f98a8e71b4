package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// A frame holds one record, in the ring as in a segment. All integers are little-endian.
//
//	 0       4       8              16 17             25
//	+-------+-------+---------------+--+---------------+---------- - -
//	|length | crc   | sequence      |ty| synced offset | payload
//	+-------+-------+---------------+--+---------------+---------- - -
//
// length counts what follows crc: 17 and the payload, so that it is never 0 and zeros are no frame. crc is
// CRC-32C over what follows it, begun from salt XOR length. The salt is made of the log's id, the segment's
// number or the ring's lap, and a generation that is new at each open: a frame of an earlier use of the
// same bytes never passes. synced offset is how much of the segment was known to be on the disk when the
// frame was written (0 in the ring): a bad frame below a later one's synced offset is damage; one
// above all of them is the torn end of a crash.
const (
	frameHeader = 25
	frameFixed  = 17 // the part of the header that length counts
	// largest bounds a record that is read: a quarter of the largest ring. The log's own MaxRecord may have been
	// larger when it was written.
	largest = 1 << 28
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// logID tells logs apart, so that a file of one is never read as another's.
type logID [16]byte

func salt(id logID, kind byte, number, generation uint64) uint32 {
	var b [33]byte
	copy(b[:], id[:])
	b[16] = kind
	binary.LittleEndian.PutUint64(b[17:], number)
	binary.LittleEndian.PutUint64(b[25:], generation)
	// This is crc32.Checksum, which would have b on the heap, for each frame that is read from the ring.
	crc := ^uint32(0)
	for _, v := range b {
		crc = castagnoli[byte(crc)^v] ^ crc>>8
	}
	return ^crc
}

const (
	kindSegment = 's'
	kindRing    = 'r'
)

// putFrame writes a frame to b, which must hold frameHeader + len(payload) bytes.
func putFrame(b []byte, salt uint32, seq uint64, typ byte, synced int64, payload []byte) {
	n := uint32(frameFixed + len(payload))
	b = b[: frameHeader+len(payload) : frameHeader+len(payload)]
	binary.LittleEndian.PutUint32(b, n)
	binary.LittleEndian.PutUint64(b[8:], seq)
	b[16] = typ
	binary.LittleEndian.PutUint64(b[17:], uint64(synced))
	copy(b[frameHeader:], payload)
	binary.LittleEndian.PutUint32(b[4:], crc32.Update(salt^n, castagnoli, b[8:]))
}

// frame is a frame that was read. Its payload aliases what it was read from.
type frame struct {
	seq     uint64
	typ     byte
	synced  int64
	payload []byte
}

func (f *frame) size() int { return frameHeader + len(f.payload) }

// readFrame reads the frame that b begins with, and reports whether there is a whole and true one whose
// payload is at most maxRecord bytes long.
func readFrame(b []byte, salt uint32, maxRecord int) (frame, bool) {
	n := frameLength(b)
	if n < frameFixed || n > frameFixed+maxRecord || len(b) < n+8 {
		return frame{}, false
	}
	b = b[:n+8]
	if crc32.Update(salt^uint32(n), castagnoli, b[8:]) != binary.LittleEndian.Uint32(b[4:]) {
		return frame{}, false
	}
	return frame{
		seq:     binary.LittleEndian.Uint64(b[8:]),
		typ:     b[16],
		synced:  int64(binary.LittleEndian.Uint64(b[17:])),
		payload: b[frameHeader:],
	}, true
}

// frameLength returns the length field of the frame that b begins with, 0 where b is too short.
func frameLength(b []byte) int {
	if len(b) < frameHeader {
		return 0
	}
	n := binary.LittleEndian.Uint32(b)
	if n > 1<<30 {
		return 0
	}
	return int(n)
}

// A header says what a file is. Segments and the mark's slots begin with one, the ring's first page too.
//
//	 0        8    12   16              32       40       48       56       64
//	+--------+----+----+---------------+--------+--------+--------+--------+
//	| magic  |ver | crc| log id        | a      | b      | c      | d      |
//	+--------+----+----+---------------+--------+--------+--------+--------+
//
// crc is CRC-32C over the 64 bytes with crc itself zero. What a to d are:
//
//	segment  number, first sequence, generation, 0; stands twice, at 0 and 64, against a bad byte
//	mark     counter, released, synced, kept; two slots, at 0 and 4096, written in turn
//	ring     size, 0, generation, 0; stands twice, at 0 and 2048, each with the tail 128 behind it
//
// The 64 bytes, and what magic, ver and crc mean, are the same in every version: so that a program can say of a
// log of another version what it is.
const headerSize = 64

// Version is the version of the format.
const Version = 1

const (
	magicSegment = "FTRLSEG\n"
	magicMark    = "FTRLMRK\n"
	magicRing    = "FTRLRNG\n"
)

// ErrVersion is the error of opening a log of a format that this program doesn't know. Nothing was changed.
var ErrVersion = errors.New("wal: the log is of another format; run the program that wrote it, or ship its records with that first")

var errHeader = errors.New("wal: not a valid header")

type header struct {
	id         logID
	a, b, c, d uint64
}

func (h *header) append(dst []byte, magic string) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, Version)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = append(dst, h.id[:]...)
	for _, v := range [...]uint64{h.a, h.b, h.c, h.d} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	binary.LittleEndian.PutUint32(dst[start+12:], crc32.Checksum(dst[start:], castagnoli))
	return dst
}

func parseHeader(b []byte, magic string) (h header, err error) {
	if len(b) < headerSize || string(b[:8]) != magic {
		return h, errHeader
	}
	var c [headerSize]byte
	copy(c[:], b)
	clear(c[12:16])
	if crc32.Checksum(c[:], castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return h, errHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != Version {
		return h, fmt.Errorf("%w (its version is %d, this program's %d)", ErrVersion, v, Version)
	}
	copy(h.id[:], b[16:])
	for i, p := range [...]*uint64{&h.a, &h.b, &h.c, &h.d} {
		*p = binary.LittleEndian.Uint64(b[32+8*i:])
	}
	return h, nil
}

// plausible tells from a frame's place, sequence and synced offset whether it could be one. It is asked before the
// checksum, so that bytes made up to look like long frames don't cost a checksum each.
type plausible struct {
	small bool // the sequences looked for are below 1<<48
	ok    func(at int, seq, synced uint64) bool
}

// smallSeq bounds the sequences whose two highest bytes are zeros, which are quick to look for.
const smallSeq = 1 << 48

// resync returns the offset of the first whole and true frame at or after off that is plausible, and whether there
// is one.
func resync(b []byte, off int, salt uint32, maxRecord int, p plausible) (int, bool) {
	for off+frameHeader <= len(b) {
		// Zeros, the usual thing to find here, are passed over eight at a time: all but the last byte
		// of them can't begin a frame.
		w := binary.LittleEndian.Uint64(b[off:])
		if w == 0 {
			off += 5
			continue
		} else if skip := bits.TrailingZeros64(w) / 8; skip > 3 {
			off += skip - 3
			continue
		}
		if p.small {
			const highest = 8 + 6 // of the sequence's bytes
			i := bytes.Index(b[off+highest:], []byte{0, 0})
			if i < 0 {
				break
			}
			if i > 0 {
				off += i
				continue
			}
		}
		if n := int(uint32(w)); n >= frameFixed && n <= frameFixed+maxRecord && off+n+8 <= len(b) &&
			(p.ok == nil || p.ok(off, binary.LittleEndian.Uint64(b[off+8:]), binary.LittleEndian.Uint64(b[off+17:]))) {
			if _, ok := readFrame(b[off:], salt, maxRecord); ok {
				return off, true
			}
		}
		off++
	}
	return len(b), false
}
