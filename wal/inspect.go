package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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
	Bytes       int64
	First, Last uint64 // sequences; 0 where it holds nothing
}

// Inspect looks at the log in cfg.Dir without changing anything, and without its lock: for people, whether a
// process has it open or not. Of cfg only Dir, MaxRecord and FS matter. Each record above the mark is given to
// visit, if that isn't nil, once and in order; its payload is valid until visit returns.
func Inspect(cfg Config, visit func(Record)) (r Report, err error) {
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
	r.HasMark, r.Released, r.Synced = found, m.released, m.synced
	v := &inspection{report: &r, visit: visit, next: m.released + 1, id: m.id, maxRecord: cfg.MaxRecord}
	if err := v.segments(cfg, names); err != nil {
		return r, err
	}
	if err := v.ring(cfg); err != nil {
		return r, err
	}
	if r.Damaged, err = cfg.FS.ReadDir(filepath.Join(cfg.Dir, damagedDir)); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	slices.Sort(r.Damaged)
	if r.Synced >= v.next {
		v.missing(r.Synced, "", "the mark says they were on the disk")
	}
	return r, err
}

func inUse(cfg Config) bool {
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, lockName))
	if err != nil {
		return true
	}
	return lock.Close() != nil
}

// inspection goes through a log's records in order.
type inspection struct {
	report    *Report
	visit     func(Record)
	next      uint64 // the sequence that should come next
	id        logID
	maxRecord int
}

func (v *inspection) segments(cfg Config, names []string) error {
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
	seg    *segment // nil: its header is bad
	id     logID
	reason error
}

func readSegmentFile(cfg Config, number uint64) (*segmentFile, error) {
	s := &segmentFile{name: segmentName(cfg.Dir, number)}
	var err error
	if s.b, err = readFile(cfg.FS, s.name); errors.Is(err, fs.ErrNotExist) {
		return s, nil // released and deleted meanwhile
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
		if f.reason != nil {
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
	t, r.Used = scanFrames(f.b[min(dataStart, len(f.b)):], f.seg, v.maxRecord, func(fr frame) {
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
		v.missing(f.seq-1, name, "missing")
	}
	v.next = f.seq + 1
	v.report.Pending++
	if v.visit != nil {
		v.visit(Record{Seq: f.seq, Type: f.typ, Payload: f.payload})
	}
}

func (v *inspection) missing(to uint64, name, reason string) {
	v.report.Missing = append(v.report.Missing, Loss{From: v.next, To: to, Name: name, Reason: reason})
	v.next = to + 1
}

func (v *inspection) ring(cfg Config) error {
	l := &Log{cfg: cfg}
	frames, err := l.ringFrames(v.id)
	if err != nil {
		return err
	}
	for i, f := range frames {
		if i == 0 {
			v.report.Ring.First = f.seq
			if f.seq > max(v.next, v.report.Synced+1) {
				v.next = f.seq // what is missing before it was released: see recoverTail
			}
		}
		v.report.Ring.Last = f.seq
		v.report.Ring.Bytes += int64(f.size())
		v.record(f, filepath.Join(cfg.Dir, ringName))
	}
	return nil
}
