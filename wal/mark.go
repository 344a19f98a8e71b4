package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// mark is the checkpoint file: two slots, written in turn, so that a torn write leaves the other. It need not
// be on the disk before anything else but the deletion of a segment: a stale one costs records read twice.
type mark struct {
	f        File
	id       logID
	counter  uint64
	released uint64 // every record at or below it is done with
	synced   uint64 // every record at or below it has been on the disk
	kept     uint64 // every record at or below it was in the ring or a segment
}

const (
	markName = "mark"
	markSlot = 4096
)

// readMark reads the file's valid slot that was written last; the zero mark where there is none.
func readMark(fsys FS, name string) (m mark, found bool, err error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, false, nil
	}
	if err != nil {
		return mark{}, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for slot := range 2 {
		b := make([]byte, headerSize)
		if _, err := f.ReadAt(b, int64(slot)*markSlot); err != nil && !errors.Is(err, io.EOF) {
			return mark{}, false, fmt.Errorf("wal: reading %s: %w", name, err)
		}
		h, err := parseHeader(b, magicMark)
		if errors.Is(err, ErrVersion) {
			return mark{}, false, fmt.Errorf("%s: %w", name, err)
		}
		if err == nil && (!found || h.a > m.counter) {
			m = mark{id: h.id, counter: h.a, released: h.b, synced: h.c, kept: h.d}
			found = true
		}
	}
	return m, found, nil
}

// open opens the file for writing, making it if it isn't there.
func (m *mark) open(fsys FS, name string) (err error) {
	m.f, err = fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		m.f, err = fsys.Create(name)
	}
	return err
}

// write writes the next slot. The mark never goes back.
func (m *mark) write(released, synced, kept uint64) error {
	released, synced, kept = max(released, m.released), max(synced, m.synced), max(kept, m.kept)
	h := header{id: m.id, a: m.counter + 1, b: released, c: synced, d: kept}
	if _, err := m.f.WriteAt(h.append(nil, magicMark), int64(h.a%2)*markSlot); err != nil {
		return err
	}
	m.counter, m.released, m.synced, m.kept = h.a, released, synced, kept
	return nil
}
