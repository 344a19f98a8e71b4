package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// Record is one record that was read. Payload is valid until the reader's next call.
type Record struct {
	Seq     uint64
	Type    byte
	Payload []byte
}

// Reader returns a log's records in order. A log may have several, but one Reader must not be used
// concurrently.
type Reader struct {
	l    *Log
	next uint64 // sequence of the next record

	seg    *segment // nil: to be found
	f      File
	off    int64  // of the next frame
	buf    []byte // window of the file
	bufOff int64

	mem     []byte // copies of records in memory
	queue   queuePos
	ringOff uint64 // of the frame ringSeq in ringOf
	ringSeq uint64
	ringOf  *ring
}

// NewReader returns a reader that begins behind the mark. Close it when done.
func (l *Log) NewReader() *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Reader{l: l, next: l.released + 1}
}

// Seek makes seq the next record; where it was released, the first behind the mark is.
func (r *Reader) Seek(seq uint64) {
	r.next = seq
	r.leave()
	r.ringOf, r.queue = nil, queuePos{}
}

// Next returns the sequence of the next record.
func (r *Reader) Next() uint64 { return r.next }

// Close releases the reader's file.
func (r *Reader) Close() error {
	r.leave()
	return nil
}

func (r *Reader) leave() {
	if r.f != nil {
		_ = r.f.Close() // it was only read
	}
	r.f, r.seg, r.buf = nil, nil, r.buf[:0]
}

const (
	readSize = 256 << 10
	memBatch = 32 << 10 // bytes copied at a time while Fire has to wait
)

// Read appends at least one record to dst, and at most most, and returns it. It waits for a record until ctx
// ends. The payloads alias the reader's buffers. Records that were lost are passed over, counted and told
// to Config.OnLoss. The errors are ctx's, ErrClosed, and those of the file system; after one of
// these it may be called again.
func (r *Reader) Read(ctx context.Context, dst []Record, most int) ([]Record, error) {
	wait := drainEvery
	for {
		r.l.mu.Lock()
		closed, news := r.l.closed, r.l.news
		inMemory := r.l.disk == nil || r.l.queued || r.l.state.State == Degraded
		// Nothing may come behind a loss that was told already, so that only this gets the reader to its end.
		r.next = r.l.gaps.past(max(r.next, r.l.released+1))
		r.l.mu.Unlock()
		if closed {
			return dst, ErrClosed
		}
		n := len(dst)
		dst, err := r.readSegments(dst, most)
		if len(dst) > n {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
		if inMemory {
			if dst = r.readMemory(dst, most, news); len(dst) > n {
				return dst, nil
			}
		}
		if err := r.wait(ctx, news, inMemory, wait); err != nil {
			return dst, err
		}
		if wait < drainIdle {
			wait += wait / 4
		}
	}
}

// wait returns when there may be more. What goes to memory tells nobody, since that would cost the caller of
// Append, so it is looked for.
func (r *Reader) wait(ctx context.Context, news <-chan struct{}, inMemory bool, d time.Duration) error {
	var tick <-chan time.Time
	if inMemory {
		t := time.NewTimer(d)
		defer t.Stop()
		tick = t.C
	}
	select {
	case <-news:
	case <-tick:
	case <-r.l.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// readSegments reads what the segments have of the next records.
func (r *Reader) readSegments(dst []Record, most int) ([]Record, error) {
	n := len(dst)
	for len(dst)-n < most {
		end, following, ok, err := r.place()
		if err != nil || !ok {
			return dst, err
		}
		if r.off >= end {
			if following == nil {
				return dst, nil
			}
			r.leave()
			r.next = max(r.next, r.lossBefore(following))
			continue
		}
		if !r.buffered(frameHeader) || !r.buffered(frameLength(r.window())+8) {
			if len(dst) > n {
				return dst, nil // the payloads that were returned lie in the buffer
			}
			if err := r.fill(end, frameLength(r.window())+8); err != nil {
				return dst, err
			}
		}
		f, ok := readFrame(r.window(), r.seg.salt, largest)
		switch {
		case ok && f.seq < r.next: // it was read already, or released
		case ok && (f.seq == r.next || !r.skipTo(following)):
			if f.seq > r.next {
				r.l.noteLoss(Loss{From: r.next, To: f.seq - 1, Name: r.seg.name, Reason: "missing"})
			}
			dst = append(dst, Record{Seq: f.seq, Type: f.typ, Payload: f.payload})
			r.next = f.seq + 1
		case ok, r.skipTo(following):
			r.leave()
			continue
		default:
			if len(dst) > n {
				return dst, nil
			}
			if err := r.passDamage(end, following != nil); err != nil {
				return dst, err
			}
			continue
		}
		r.off += int64(f.size())
	}
	return dst, nil
}

// skipTo reports whether the segment that follows has the next record, written anew after a failed sync or
// a crash, so that the rest of this one isn't needed.
func (r *Reader) skipTo(following *segment) bool {
	return following != nil && following.first <= r.next
}

// lossBefore tells the loss of what is missing before a segment, and returns its first sequence.
func (r *Reader) lossBefore(s *segment) uint64 {
	if s.first > r.next {
		r.l.noteLoss(Loss{From: r.next, To: s.first - 1, Name: s.name, Reason: "missing before this segment"})
	}
	return s.first
}

// place makes sure that a segment is open which can have the next record. It returns how far it may be
// read, and the segment after it.
func (r *Reader) place() (end int64, following *segment, ok bool, err error) {
	l := r.l
	l.mu.Lock()
	at := -1
	for i, s := range l.segs {
		if r.seg == s || r.seg == nil && (i == 0 || s.first <= r.next) {
			at = i
		}
	}
	if at < 0 {
		l.mu.Unlock()
		if r.seg != nil { // it was released and deleted
			r.leave()
			return r.place()
		}
		return 0, nil, false, nil
	}
	s := l.segs[at]
	end = s.end
	if at+1 < len(l.segs) {
		following = l.segs[at+1]
	}
	l.mu.Unlock()
	if r.f != nil {
		return end, following, true, nil
	}
	f, err := l.cfg.FS.Open(s.name)
	if errors.Is(err, fs.ErrNotExist) && r.outrun(s) {
		return r.place()
	}
	if err != nil {
		return 0, nil, false, fmt.Errorf("wal: reading: %w", err)
	}
	r.seg, r.f, r.off, r.bufOff, r.buf = s, f, dataStart, dataStart, r.buf[:0]
	if s.first > r.next {
		r.next = r.lossBefore(s)
	}
	return end, following, true, nil
}

// outrun reports whether a segment that was to be opened was deleted meanwhile, given up with nothing in it or released
// as a whole, and has the reader go on where the log begins now.
func (r *Reader) outrun(s *segment) bool {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.segs, s)
	released := at >= 0 && at+1 < len(l.segs) && l.segs[at+1].first <= l.released+1
	if released {
		r.next = max(r.next, l.released+1)
	}
	return at < 0 || released
}

func (r *Reader) window() []byte {
	at := r.off - r.bufOff
	if at < 0 || at > int64(len(r.buf)) {
		return nil
	}
	return r.buf[at:]
}

func (r *Reader) buffered(n int) bool { return len(r.window()) >= n }

// fill reads a window that begins at off and holds at least size bytes, as far as end allows.
func (r *Reader) fill(end int64, size int) error {
	n := min(end-r.off, int64(max(readSize, size)))
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, 0, n)
	}
	r.buf = r.buf[:n]
	r.bufOff = r.off
	got, err := r.f.ReadAt(r.buf, r.off)
	r.buf = r.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wal: reading %s: %w", r.seg.name, err)
	}
	return nil
}

// passDamage moves to the next whole frame of the segment, or to its end. It is damage, not the torn end of a
// crash, where the log went on behind this segment or a later frame knew the place to be on the disk; the
// segment is then copied aside.
func (r *Reader) passDamage(end int64, wentOn bool) error {
	b := make([]byte, end-r.off)
	n, err := r.f.ReadAt(b, r.off)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wal: reading %s: %w", r.seg.name, err)
	}
	p := r.seg.plausible(r.off - dataStart)
	at, found := resync(b[:n], 0, r.seg.salt, largest, p)
	bad := r.off
	r.off += int64(at)
	if !found {
		r.off = end
	}
	if !wentOn && !syncedBeyond(b[:n], at, bad, r.seg.salt, p) {
		return nil
	}
	r.l.mu.Lock()
	r.l.stats.Damaged++
	r.l.mu.Unlock()
	aside, err := setAside(r.l.cfg.FS, r.l.cfg.Dir, r.seg.name, filepath.Base(r.seg.name))
	r.l.cfg.Logger.Error("wal: a segment is damaged; reading goes on behind the damage", "file", r.seg.name,
		"from", bad, "to", r.off, "copy", aside, "copy_error", err)
	return nil
}

// syncedBeyond reports whether a frame of b, at or after at, knew the file to be on the disk beyond off.
func syncedBeyond(b []byte, at int, off int64, salt uint32, p plausible) bool {
	for {
		f, ok := readFrame(b[at:], salt, largest)
		if !ok {
			if at, ok = resync(b, at, salt, largest, p); !ok {
				return false
			}
			continue
		}
		if f.synced > off {
			return true
		}
		at += f.size()
	}
}

// setAside copies a damaged file to the directory of damaged files, once, for whoever wants to look at it.
func setAside(fsys FS, dir, name, as string) (copied string, err error) {
	to := filepath.Join(dir, damagedDir)
	if err := fsys.MkdirAll(to); err != nil {
		return "", err
	}
	copied = filepath.Join(to, as)
	part := copied + ".part"
	if f, err := fsys.Open(copied); err == nil {
		return copied, errors.Join(f.Close(), fsys.SyncDir(to), fsys.SyncDir(dir))
	}
	src, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := fsys.Create(part)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.NewOffsetWriter(dst, 0), io.NewSectionReader(src, 0, 1<<40))
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return "", err
	}
	if err = fsys.Rename(part, copied); err != nil {
		return "", err
	}
	return copied, errors.Join(fsys.SyncDir(to), fsys.SyncDir(dir)) // before the file itself goes
}
