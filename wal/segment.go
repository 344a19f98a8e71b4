package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// segment is one segment file. Its records have sequences from first on, ascending, without a hole
// unless it is damaged.
type segment struct {
	number uint64
	first  uint64
	name   string
	salt   uint32
	end    int64 // bytes that may be read; -1: to the end of the file
}

const (
	segmentSuffix = ".seg"
	spareName     = "spare" // the segment allocated ahead, not yet in use
	damagedDir    = "damaged"
	dataStart     = 2 * headerSize
)

func segmentName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, segmentSuffix))
}

func parseSegmentName(name string) (number uint64, ok bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil
}

// readSegmentHeader reads either copy of a segment's header.
func readSegmentHeader(f io.ReaderAt) (header, error) {
	b := make([]byte, dataStart)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return header{}, err
	}
	h, err := parseHeader(b, magicSegment)
	if errors.Is(err, errHeader) {
		h, err = parseHeader(b[headerSize:], magicSegment)
	}
	if err == nil && h.b == 0 { // sequences begin at 1
		err = errHeader
	}
	return h, err
}

// writer appends frames to the segments of a log. It belongs to the drain's goroutine.
type writer struct {
	fs   FS
	dir  string
	id   logID
	gen  uint64
	size int64

	f      File // nil: the next record begins a new segment
	seg    *segment
	number uint64 // of the next segment
	off    int64  // bytes written to f
	synced int64  // bytes of them known to be on the disk
	buf    []byte // frames not yet written
	spare  bool   // a spare is allocated
	dirty  bool   // something was written since the last sync
	failed error  // of f's sync: a second one would prove nothing

	begun   func(*segment)              // a segment was made
	written func(s *segment, end int64) // its first end bytes may be read
}

const writeSize = 256 << 10

// add appends a record to the buffer, beginning a segment where one is needed.
func (w *writer) add(seq uint64, typ byte, payload []byte) error {
	n := frameHeader + len(payload)
	if w.f != nil && w.off+int64(len(w.buf)+n) > w.size {
		if err := w.finish(); err != nil {
			return err
		}
	}
	if w.f == nil {
		if err := w.begin(seq); err != nil {
			return err
		}
	}
	if len(w.buf)+n > cap(w.buf) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if n > cap(w.buf) {
		w.buf = make([]byte, 0, max(n, writeSize))
	}
	b := w.buf[len(w.buf) : len(w.buf)+n]
	putFrame(b, w.seg.salt, seq, typ, w.synced, payload) // payload may be in a ring, and fault
	w.buf = w.buf[:len(w.buf)+n]
	return nil
}

// begin makes the next segment, whose first record is seq.
func (w *writer) begin(seq uint64) error {
	if err := w.allocateSpare(); err != nil {
		return err
	}
	name := segmentName(w.dir, w.number)
	f, err := w.make(name, seq)
	if err != nil {
		return fmt.Errorf("wal: making segment %s: %w", name, err)
	}
	w.seg = &segment{number: w.number, first: seq, name: name, end: dataStart, salt: salt(w.id, kindSegment, w.number, w.gen)}
	w.f, w.off, w.synced, w.dirty = f, dataStart, 0, true
	w.number++
	w.begun(w.seg)
	return nil
}

// make turns the spare into the segment called name. It is not open while it gets that name: not every system
// allows it.
func (w *writer) make(name string, seq uint64) (f File, err error) {
	spare := filepath.Join(w.dir, spareName)
	if f, err = w.fs.Open(spare); err != nil {
		return nil, err
	}
	h := header{id: w.id, a: w.number, b: seq, c: w.gen}
	_, err = f.WriteAt(h.append(h.append(nil, magicSegment), magicSegment), 0)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err = w.fs.Rename(spare, name); err != nil {
		return nil, err
	}
	w.spare = false
	if err = w.fs.SyncDir(w.dir); err != nil {
		return nil, err
	}
	return w.fs.Open(name)
}

// allocateSpare makes the file that the next segment will be, so that a full disk shows before there is
// something to write.
func (w *writer) allocateSpare() error {
	if w.spare {
		return nil
	}
	name := filepath.Join(w.dir, spareName)
	f, err := w.fs.Create(name)
	if err != nil {
		return err
	}
	err = f.Allocate(w.size)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, w.fs.Remove(name))
	}
	w.spare = true
	return nil
}

// flush writes the buffer to the file.
func (w *writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	n, err := w.f.WriteAt(w.buf, w.off)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	w.off += int64(n)
	w.buf, w.dirty = w.buf[:0], true
	w.written(w.seg, w.off)
	return nil
}

// sync makes what was flushed durable.
func (w *writer) sync() error {
	if w.f == nil || !w.dirty {
		return nil
	}
	if w.failed != nil {
		return w.failed
	}
	if w.failed = w.f.Sync(); w.failed != nil {
		return w.failed
	}
	w.synced, w.dirty = w.off, false
	return nil
}

// finish flushes, cuts the file to what it holds, syncs and closes it. The next record begins a new one.
func (w *writer) finish() error {
	if w.f == nil {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.f.Truncate(w.off); err != nil {
		return err
	}
	w.dirty = true
	if err := w.sync(); err != nil {
		return err
	}
	err := w.f.Close()
	w.f = nil
	return err
}

// abandon gives up the file after an error: it is never written to nor synced again.
func (w *writer) abandon() {
	if w.f != nil {
		_ = w.f.Close() // it is given up because of an error already
	}
	w.f, w.buf, w.dirty, w.failed = nil, w.buf[:0], false, nil
}
