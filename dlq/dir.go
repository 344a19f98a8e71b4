package dlq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// Kind tells letters that wait from those that nobody tries again.
type Kind uint8

// The kinds of files.
const (
	Waiting Kind = iota // .batch and .batch.processing: the retry engine tries them again
	Dead                // .batch.dead: poison, kept for people
	Damaged             // .batch.damaged: a file that was found damaged, as it was found; never deleted
)

// String returns "waiting", "dead" or "damaged".
func (k Kind) String() string {
	switch k {
	case Waiting:
		return "waiting"
	case Dead:
		return "dead"
	case Damaged:
		return "damaged"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// The errors of a Dir that was closed, and of changing one that was opened to be read.
var (
	ErrClosed   = errors.New("dlq: the directory is closed")
	ErrReadOnly = errors.New("dlq: the directory was opened to be read only")
)

// closeTimeout bounds how long Close waits for a Deliver that doesn't heed its context.
const closeTimeout = 10 * time.Second

// Dir is a directory of letters. Its methods may be called concurrently. It has no goroutine of its own.
type Dir struct {
	cfg   DirConfig
	fs    fileSystem
	log   *slog.Logger
	index *index
	stats counters

	clock  atomic.Int64  // the time in the last name given, ms
	scan   chan struct{} // holds a token while a scan runs
	room   sync.Mutex    // held while room is made and reserved
	listed time.Time     // when room was last looked for by listing the directory; under room
	lookAt time.Time     // when it is to be listed before more is put; under room

	discards, damages rate.Sometimes // of log lines

	closing context.Context // ends with Close
	close   context.CancelCauseFunc
	work    working
}

// working counts the methods at work, so that Close can wait for them.
type working struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when it is closed and n is 0
}

func (w *working) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.n++
	}
	return !w.closed
}

func (w *working) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 && w.closed {
		close(w.idle)
	}
}

func (w *working) shut() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		if w.n == 0 {
			close(w.idle)
		}
	}
	return w.idle
}

// OpenDir opens a directory of letters, and makes it if it isn't there. Files that a dead process was
// retrying go back to waiting.
func OpenDir(cfg DirConfig) (*Dir, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("dlq: %w", err)
	}
	cfg = cfg.withDefaults()
	d := &Dir{
		cfg: cfg, fs: cfg.fs, log: cfg.Logger, index: newIndex(), scan: make(chan struct{}, 1),
		discards: rate.Sometimes{First: 3, Interval: 10 * time.Second},
		damages:  rate.Sometimes{First: 3, Interval: 10 * time.Second},
	}
	d.work.idle = make(chan struct{})
	d.closing, d.close = context.WithCancelCause(context.Background())
	if cfg.ReadOnly {
		if err := d.refresh(); err != nil {
			return nil, fmt.Errorf("dlq: path: %w", err)
		}
		return d, nil
	}
	if err := d.fs.MkdirAll(cfg.Path); err != nil {
		return nil, fmt.Errorf("dlq: path: %w", err)
	}
	if err := d.tryWriting(); err != nil {
		return nil, fmt.Errorf("dlq: path: %s can't be written to: %w", cfg.Path, err)
	}
	if err := d.refresh(); err != nil {
		return nil, fmt.Errorf("dlq: path: %w", err)
	}
	d.lookAt = time.Now().Add(cfg.relistAfter)
	if _, err := d.recover(); err != nil {
		d.log.Warn("letters of a process that ended are not back in the queue yet", "dir", cfg.Path, "error", err)
	}
	return d, nil
}

// tryWriting finds out early about a directory that nobody may write to. Other errors, such as a full
// disk, may pass and are no reason not to start.
func (d *Dir) tryWriting() error {
	path := d.path(newFileName("", 0, stateTemp))
	f, err := d.fs.Create(path)
	if err == nil {
		err = errors.Join(f.Close(), d.fs.Remove(path))
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return err
	}
	return nil
}

// Close ends Run and Retry and waits for what is under way, up to 10 s. It is idempotent. What is in the
// directory stays.
func (d *Dir) Close() error {
	d.close(ErrClosed)
	deadline := time.NewTimer(closeTimeout)
	defer deadline.Stop()
	select {
	case <-d.work.shut():
		return nil
	case <-deadline.C:
		return fmt.Errorf("dlq: closing: still delivering after %s", closeTimeout)
	}
}

// begin marks a method that changes things as at work. ctx ends with the Dir, too.
func (d *Dir) begin(parent context.Context) (ctx context.Context, end func(), err error) {
	if d.cfg.ReadOnly {
		return nil, nil, ErrReadOnly
	}
	return d.beginReading(parent)
}

// beginReading is begin for a method that changes nothing.
func (d *Dir) beginReading(parent context.Context) (ctx context.Context, end func(), err error) {
	if !d.work.begin() {
		return nil, nil, ErrClosed
	}
	ctx, cancel := context.WithCancelCause(parent)
	stop := context.AfterFunc(d.closing, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		d.work.end()
	}, nil
}

func (d *Dir) path(n fileName) string { return filepath.Join(d.cfg.Path, n.String()) }

// stamp returns a time for a file's name, ms since 1970: later than in any name given or seen before.
func (d *Dir) stamp() int64 {
	now := time.Now().UnixMilli()
	for {
		last := d.clock.Load()
		next := max(now, last+1)
		if d.clock.CompareAndSwap(last, next) {
			return next
		}
	}
}

// seen keeps the times in new names later than ms.
func (d *Dir) seen(ms int64) {
	for last := d.clock.Load(); ms > last; last = d.clock.Load() {
		if d.clock.CompareAndSwap(last, ms) {
			return
		}
	}
}

// refresh lists the directory anew.
func (d *Dir) refresh() error {
	x := d.index
	x.mu.Lock()
	defer x.mu.Unlock()
	files, err := d.fs.List(d.cfg.Path)
	if err != nil {
		return err
	}
	old := x.files
	x.files = make(map[string]fileMeta, len(files))
	x.total = [Damaged + 1]Total{}
	for _, f := range files {
		n, ok := parseFileName(f.name)
		if !ok {
			continue
		}
		d.seen(n.ms)
		m := fileMeta{name: n, bytes: f.bytes}
		if n.state == stateTemp {
			d.removeStale(n, f)
			continue
		}
		if known, ok := old[f.name]; ok && known.bytes == f.bytes {
			m = known
		} else if h, err := d.readHeader(d.path(n)); err == nil {
			m = metaOf(n, f.bytes, &h)
		}
		x.put(m)
	}
	return nil
}

// staleAfter is how old a temporary file must be to be taken for a dead process's. Should its writer
// live after all, its rename fails and Put reports it: a temporary file is a promise to nobody.
const staleAfter = time.Hour

func (d *Dir) removeStale(n fileName, f fileInfo) {
	if d.cfg.ReadOnly || time.Since(f.modified) < staleAfter {
		return
	}
	if err := d.fs.Remove(d.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("a temporary file of a process that ended can't be removed", "file", n.String(), "error", err)
	}
}

// File is one file of the directory.
type File struct {
	Path string
	// Tenant of the letters. Where the file's header can't be read it is as the name has it: escaped.
	Tenant     string
	Kind       Kind
	Processing bool // somebody is retrying it, or died at it
	// Time when it was put, ms.
	Time time.Time
	// Bytes is its size, Letters what its header counts, and Reasons the same by reason.
	Bytes   int64
	Letters int
	Reasons map[string]int
}

// Files yields the files of the directory as of the call, oldest first. An error is yielded once, last.
func (d *Dir) Files(ctx context.Context) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		if err := d.refresh(); err != nil {
			yield(File{}, fmt.Errorf("dlq: listing: %w", err))
			return
		}
		var files []fileMeta
		for _, s := range []state{stateWaiting, stateProcessing, stateDead, stateDamaged} {
			files = append(files, d.index.in(s)...)
		}
		sortByAge(files)
		for _, m := range files {
			if err := ctx.Err(); err != nil {
				yield(File{}, err)
				return
			}
			f := File{
				Path: d.path(m.name), Tenant: m.name.tenant, Kind: m.name.state.kind(),
				Processing: m.name.state == stateProcessing, Time: time.UnixMilli(m.name.ms).UTC(), Bytes: m.bytes,
			}
			h, err := d.readHeader(f.Path)
			if errors.Is(err, fs.ErrNotExist) {
				continue // retried or discarded since
			}
			if h.Version != 0 {
				f.Tenant, f.Letters, f.Reasons = h.Tenant, h.Letters, h.Reasons
			}
			if !yield(f, nil) {
				return
			}
		}
	}
}

func sortByAge(files []fileMeta) {
	slices.SortFunc(files, func(a, b fileMeta) int { return a.name.before(b.name) })
}
