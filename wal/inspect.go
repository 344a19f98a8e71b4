package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Report is what Inspect found in a log's directory.
type Report struct {
	Dir      string
	InUse    bool   // a process has the log open; what is reported may have changed meanwhile
	Released uint64 // the mark: every record at or below it is done with
	Synced   uint64 // the mark: every record at or below it has been on the disk
	HasMark  bool
	Segments []SegmentReport
	Ring     RingReport
	Damaged  []string // copies of damaged segments that were set aside
	Pending  uint64   // records above the mark that can be read
	Missing  []Loss   // ranges above the mark that can't
}

// SegmentReport is what one segment file holds.
type SegmentReport struct {
	Name        string
	Bytes       int64  // of the file
	Used        int64  // up to the end of its last record
	First, Last uint64 // sequences; Last below First: none
	Records     int
	Holes       int    // bad places with records behind them
	Problem     string // "" for none
}

// RingReport is what the staging ring holds that its tail has not passed.
type RingReport struct {
	Size        int64  // of the file
	Bytes       int64  // of its records
	First, Last uint64 // sequences; 0 where it holds nothing
	Records     int
	Problem     string // "" for none
}

// Inspect looks at the log in cfg.Dir without changing anything, and without its lock: for people, whether a
// process has it open or not. Of cfg only Dir and FS matter. Each record above the mark is given to
// visit, if that isn't nil, once and in order; its payload is valid until visit returns. It holds the ring and two
// segments in memory.
//
// Of a log in use it can't see everything at one moment: a record may be appended where the ring was read already, and
// not yet be in the segment that is read next. So what seems to be missing there is looked for again.
func Inspect(cfg Config, visit func(Record)) (Report, error) {
	r, err := inspect(cfg, visit)
	for tries := 0; tries < 3 && err == nil && r.InUse && len(r.Missing) > 0; tries++ {
		var again Report
		again, err = inspect(cfg, nil)
		r.Missing = inBoth(r.Missing, again.Missing)
	}
	return r, err
}

// inBoth returns what two lists of losses, in order, have in common.
func inBoth(a, b []Loss) (both []Loss) {
	for _, x := range a {
		for _, y := range b {
			if from, to := max(x.From, y.From), min(x.To, y.To); from <= to {
				both = append(both, Loss{From: from, To: to, Name: x.Name, Reason: x.Reason})
			}
		}
	}
	return both
}

func inspect(cfg Config, visit func(Record)) (r Report, err error) {
	if cfg.FS == nil {
		cfg.FS = readOnlyFS{OSFS()}
	}
	cfg = cfg.withDefaults(true)
	r.Dir = cfg.Dir
	names, err := cfg.FS.ReadDir(cfg.Dir)
	if err != nil {
		return r, fmt.Errorf("wal: listing %s: %w", cfg.Dir, err)
	}
	if !slices.Contains(names, lockName) {
		return r, fmt.Errorf("wal: %s is not the directory of a log: it has no file named %s", cfg.Dir, lockName)
	}
	r.InUse = inUse(cfg)
	m, found, err := readMark(cfg.FS, filepath.Join(cfg.Dir, markName))
	if err != nil {
		return r, err
	}
	// The ring first: what it passes on meanwhile is in the segments when they are read.
	ring, err := loadRing(cfg.FS, cfg.Dir, m.id)
	switch {
	case errors.Is(err, ErrVersion) || errors.Is(err, errForeignRing):
		r.Ring.Problem = err.Error()
	case err != nil:
		return r, err
	default:
		r.Ring.Problem = ring.damage
	}
	r.Ring.Size = ring.size
	released := max(m.released, ring.released)
	r.HasMark, r.Released, r.Synced = found, released, m.synced
	v := &inspection{report: &r, visit: visit, next: released + 1, id: m.id}
	if !found {
		v.id = ring.id
	}
	if err := v.segments(cfg); err != nil {
		return r, err
	}
	v.ring(ring, filepath.Join(cfg.Dir, ringName))
	if r.Damaged, err = cfg.FS.ReadDir(filepath.Join(cfg.Dir, damagedDir)); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	slices.Sort(r.Damaged)
	v.missing(m.synced, "", "the mark says they were on the disk")
	v.missing(m.kept, "", "they were not on the disk yet")
	return r, err
}

// readOnlyFS opens files for reading alone, so that a copy of a log on a medium that can't be written to can be
// looked at.
type readOnlyFS struct{ FS }

func (readOnlyFS) Open(name string) (File, error) { return openFile(name, os.O_RDONLY) }

func inUse(cfg Config) bool {
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, lockName))
	if err != nil {
		return true
	}
	return lock.Close() != nil
}

// inspection goes through a log's records in order.
type inspection struct {
	report *Report
	visit  func(Record)
	next   uint64 // the sequence that should come next
	id     logID
}

func (v *inspection) segments(cfg Config) error {
	names, err := cfg.FS.ReadDir(cfg.Dir)
	if err != nil {
		return fmt.Errorf("wal: listing %s: %w", cfg.Dir, err)
	}
	var numbers []uint64
	for _, name := range names {
		if n, ok := parseSegmentName(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	var f, following *segmentFile // two at a time: a log may be long
	for _, n := range numbers {
		next, err := readSegmentFile(cfg, n)
		if err != nil {
			return err
		}
		if f, following = following, next; f != nil {
			v.segment(f, following.seg)
		}
	}
	if following != nil {
		v.segment(following, nil)
	}
	return nil
}

type segmentFile struct {
	name   string
	b      []byte
	seg    *segment // nil: its header is bad, or it is gone
	gone   bool
	id     logID
	reason error
}

func readSegmentFile(cfg Config, number uint64) (*segmentFile, error) {
	s := &segmentFile{name: segmentName(cfg.Dir, number)}
	var err error
	if s.b, err = readFile(cfg.FS, s.name); errors.Is(err, fs.ErrNotExist) {
		s.gone = true // released and deleted meanwhile
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	var h header
	if h, s.reason = readSegmentHeader(bytes.NewReader(s.b)); s.reason == nil {
		s.id = h.id
		s.seg = &segment{number: number, first: h.b, name: s.name, salt: salt(h.id, kindSegment, h.a, h.c)}
	}
	return s, nil
}

func (v *inspection) segment(f *segmentFile, following *segment) {
	r := SegmentReport{Name: filepath.Base(f.name), Bytes: int64(len(f.b))}
	if f.seg == nil {
		switch {
		case f.gone:
			return
		case errors.Is(f.reason, errHeader):
			r.Problem = "its header is damaged"
		default:
			r.Problem = f.reason.Error()
		}
		v.report.Segments = append(v.report.Segments, r)
		return
	}
	if !v.report.HasMark && v.id == (logID{}) {
		v.id = f.id
		v.next = f.seg.first
	}
	if f.id != v.id {
		r.Problem = "it belongs to another log"
	}
	r.First = f.seg.first
	var t tail
	t, r.Used = scanFrames(f.b[min(dataStart, len(f.b)):], f.seg, func(fr frame) {
		r.Records++
		if following != nil && following.first <= v.next && fr.seq >= following.first {
			return // written anew in the next segment
		}
		v.record(fr, f.name)
	})
	r.Last, r.Holes = t.last, t.holes
	if t.damaged || t.holes > 0 {
		r.Problem = "damaged"
	}
	v.report.Segments = append(v.report.Segments, r)
}

func (v *inspection) record(f frame, name string) {
	if f.seq < v.next {
		return
	}
	if f.seq > v.next {
		v.missing(f.seq-1, name, "damaged or missing")
	}
	v.next = f.seq + 1
	v.report.Pending++
	if v.visit != nil {
		v.visit(Record{Seq: f.seq, Type: f.typ, Payload: f.payload})
	}
}

// missing notes that what should come next, up to to, is missing.
func (v *inspection) missing(to uint64, name, reason string) {
	if v.next <= to {
		v.report.Missing = append(v.report.Missing, Loss{From: v.next, To: to, Name: name, Reason: reason})
		v.next = to + 1
	}
}

func (v *inspection) ring(s ringScan, name string) {
	if s.tailSeq > 0 {
		v.missing(s.tailSeq-1, "", "the ring says they were on the disk")
	}
	r := &v.report.Ring
	for i, f := range s.frames {
		if i == 0 {
			r.First = f.seq
		}
		r.Last = f.seq
		r.Records++
		r.Bytes += int64(f.size())
		v.record(f, name)
	}
}
