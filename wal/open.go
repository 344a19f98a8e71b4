package wal

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
)

const (
	ringName = "ring"
	lockName = "lock"
)

// Open opens the log in cfg.Dir, making it where there is none, and recovers what an earlier run left:
// what its ring held is copied to a segment and synced before the ring is used again. Everything above
// the mark will be read again. It reads only the last segment's records, so it takes some tens of
// milliseconds however long the log is. The errors name the file: ErrLocked, ErrVersion, those of cfg, and
// those of the file system.
func Open(cfg Config) (*Log, error) {
	cfg = cfg.withDefaults(true)
	if err := cfg.validate(true); err != nil {
		return nil, err
	}
	if err := cfg.FS.MkdirAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("wal: making the directory: %w", err)
	}
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, lockName))
	if err != nil {
		return nil, err
	}
	l := newLog(cfg)
	l.lock = lock
	if err := l.recover(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	go l.disk.run()
	return l, nil
}

func newGeneration() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return binary.LittleEndian.Uint64(b[:])
}

// recover reads the state that the files are in and makes them ready for appending.
func (l *Log) recover() (err error) {
	dir := l.cfg.Dir
	m, found, err := readMark(l.cfg.FS, filepath.Join(dir, markName))
	if err != nil {
		return err
	}
	segs, ids, err := l.findSegments()
	if err != nil {
		return err
	}
	if !found {
		if m.id, err = l.foundID(ids); err != nil {
			return err
		}
		if len(segs) > 0 {
			m.released = segs[0].first - 1
		}
	}
	for i, id := range ids {
		if id != m.id {
			return fmt.Errorf("wal: %s belongs to another log; move it to a directory of its own", segs[i].name)
		}
	}
	l.segs, l.released = segs, m.released
	l.disk = &disk{l: l, mark: m, watch: watch{clock: l.clock}}
	l.disk.fs = watchedFS{l.cfg.FS, &l.disk.watch}
	l.disk.w = writer{
		fs: l.disk.fs, dir: dir, id: m.id, gen: newGeneration(), size: l.cfg.SegmentSize,
		begun: l.segmentBegun, written: l.segmentWritten,
	}
	if len(segs) > 0 {
		l.disk.w.number = segs[len(segs)-1].number + 1
	}
	if err := l.disk.mark.open(l.disk.fs, filepath.Join(dir, markName)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.disk.w.abandon()
			err = errors.Join(err, l.disk.mark.f.Close())
		}
	}()
	losses, err := l.recoverTail()
	if err != nil {
		return err
	}
	if err := l.disk.mark.write(l.released, l.durable, l.durable); err != nil {
		return fmt.Errorf("wal: writing the mark: %w", err)
	}
	if err := l.makeRing(); err != nil {
		return err
	}
	for _, loss := range losses { // last: an Open that fails is tried again, and would tell them again
		l.noteLoss(loss)
	}
	return nil
}

// foundID returns the id of a log that has no mark: its segments', its ring's, or a new one.
func (l *Log) foundID(ids []logID) (logID, error) {
	if len(ids) > 0 {
		return ids[0], nil
	}
	b, err := readFile(l.cfg.FS, filepath.Join(l.cfg.Dir, ringName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return logID{}, err
	}
	page := make([]byte, ringPage)
	copy(page, b)
	r, _, err := openRing(page)
	switch {
	case err != nil:
		return logID{}, fmt.Errorf("wal: %s: %w", filepath.Join(l.cfg.Dir, ringName), err)
	case r != nil:
		return r.id, nil
	}
	return newLogID(), nil
}

func newLogID() (id logID) {
	_, _ = crand.Read(id[:])
	return id
}

func (l *Log) segmentBegun(s *segment) {
	l.mu.Lock()
	l.segs = append(l.segs, s)
	l.bytes += s.end
	l.mu.Unlock()
}

func (l *Log) segmentWritten(s *segment, end int64) {
	l.mu.Lock()
	l.setEnd(s, end)
	l.mu.Unlock()
}

// findSegments lists the segments by number. One without a true header is one whose making a crash stopped,
// if nothing is in it; otherwise it is set aside.
func (l *Log) findSegments() (segs []*segment, ids []logID, err error) {
	names, err := l.cfg.FS.ReadDir(l.cfg.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("wal: listing %s: %w", l.cfg.Dir, err)
	}
	var numbers []uint64
	for _, name := range names {
		if n, ok := parseSegmentName(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		s, id, err := l.openSegment(n)
		if err != nil {
			return nil, nil, err
		}
		if s != nil {
			segs, ids = append(segs, s), append(ids, id)
			l.bytes += s.end
		}
	}
	return segs, ids, nil
}

func (l *Log) openSegment(number uint64) (s *segment, id logID, err error) {
	name := segmentName(l.cfg.Dir, number)
	h, size, err := readHeader(l.cfg.FS, name)
	switch {
	case errors.Is(err, errHeader):
		return nil, id, l.badSegment(name)
	case err != nil:
		return nil, id, fmt.Errorf("wal: %s: %w", name, err)
	case h.a != number:
		return nil, id, fmt.Errorf("wal: %s says it is segment %d; give it back its name, %s", name, h.a, filepath.Base(segmentName("", h.a)))
	}
	return &segment{number: number, first: h.b, name: name, end: size, salt: salt(h.id, kindSegment, number, h.c)}, h.id, nil
}

func readHeader(fsys FS, name string) (h header, size int64, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return h, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if size, err = f.Size(); err != nil {
		return h, 0, err
	}
	h, err = readSegmentHeader(f)
	return h, size, err
}

// badSegment deals with a segment whose header can't be read, and without which nothing in it can.
func (l *Log) badSegment(name string) error {
	b, err := readFile(l.cfg.FS, name)
	if err != nil {
		return err
	}
	if allZero(b) {
		return l.cfg.FS.Remove(name) // a crash came between its making and its first write
	}
	if l.cfg.Strict {
		return fmt.Errorf("wal: %s: its header is damaged", name)
	}
	aside, err := setAside(l.cfg.FS, l.cfg.Dir, name, asideSegment(name, b))
	if err != nil {
		return fmt.Errorf("wal: setting aside %s: %w", name, err)
	}
	l.stats.Damaged++
	l.cfg.Logger.Error("wal: a segment's header is damaged; it was set aside", "file", name, "copy", aside)
	return l.cfg.FS.Remove(name)
}

// asideSegment names the copy of a segment that is removed: its number may be given again.
func asideSegment(name string, b []byte) string {
	return fmt.Sprintf("%s-%08x", filepath.Base(name), crc32.Checksum(b, castagnoli))
}

func syncFile(fsys FS, name string) error {
	f, err := fsys.Open(name)
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

// readFile returns what a file holds.
func readFile(fsys FS, name string) (_ []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("wal: reading %s: %w", name, err)
	}
	return b[:n], nil
}

// makeRing maps the ring and makes it empty. From here on what it held is gone, so it is on disk by now.
func (l *Log) makeRing() error {
	m, err := l.cfg.FS.Map(filepath.Join(l.cfg.Dir, ringName), ringPage+l.cfg.RingSize)
	if err != nil {
		return fmt.Errorf("wal: mapping the ring: %w", err)
	}
	if l.ring, err = newRing(m, l.disk.mark.id, newGeneration(), l.next, l.released); err != nil {
		return errors.Join(err, m.Close())
	}
	return nil
}

// HasRecords reports whether the directory may hold records that were not released: a look at the files from
// outside, for whoever looks for logs that nobody has open.
func HasRecords(dir string) bool {
	if inUse(Config{Dir: dir, FS: OSFS()}) {
		return false // its own process looks after it
	}
	r, err := Inspect(Config{Dir: dir}, nil)
	if err != nil {
		names, _ := OSFS().ReadDir(dir)
		return slices.Contains(names, lockName) // something is wrong with it, which Open will say
	}
	return r.Pending > 0 || len(r.Missing) > 0
}
