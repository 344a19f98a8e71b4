package producer

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// letters keeps what can't be shipped from the log: poison, for people to look at, and what the log had no
// room for, to be sent from files. All of its methods are fine on nil and on letters without a directory.
type letters struct {
	p       *Producer
	opened  atomic.Pointer[dlq.Dir]
	waiting *wal.Log // what the log had no room for, until it is in a file; nil without a directory
	ctx     context.Context
	stop    context.CancelFunc // ends moveWaiting
	moved   chan struct{}      // closed when moveWaiting has ended
	count   atomic.Uint64
	away    away
	closing sync.Once
}

const (
	// maxWaiting bounds, in bytes, what waits in memory to be written to a file.
	maxWaiting = 16 << 20
	// letterBatch is how many letters one call to the directory gets: each costs two syncs or more.
	letterBatch = 1000
)

func newLetters(p *Producer) (l *letters, err error) {
	l = &letters{p: p, moved: make(chan struct{})}
	l.ctx, l.stop = context.WithCancel(context.Background())
	if p.cfg.Dir == "" {
		close(l.moved)
		return l, nil
	}
	if l.waiting, err = wal.OpenMemory(wal.Config{MaxBytes: maxWaiting, MaxRecord: p.cfg.WAL.MaxRecord}); err != nil {
		close(l.moved)
		return l, err
	}
	if err := l.open(); err != nil { // Fire works all the same, as it does when the log can't be opened
		p.cfg.Logger.Error("producer: the directory of dead letters can't be opened; what overflows waits in memory until it can, "+
			"and what is refused is dropped and counted", "error", err)
	}
	p.wg.Go(l.moveWaiting)
	p.wg.Go(l.retry)
	return l, nil
}

// open opens the directory.
func (l *letters) open() error {
	dir, err := dlq.OpenDir(dlq.DirConfig{
		Path:         filepath.Join(l.p.cfg.Dir, l.p.cfg.Namespace, "dlq"),
		MaxBytes:     l.p.cfg.LetterMaxBytes,
		ScanInterval: l.p.cfg.LetterInterval,
		Logger:       l.p.cfg.Logger,
	})
	if err == nil {
		l.opened.Store(dir)
	}
	return err
}

// dir returns the directory; nil while it isn't open, or where there is none.
func (l *letters) dir() *dlq.Dir { return l.opened.Load() }

// retry has waiting letters tried again until the producer ends. A directory that could not be opened is tried first.
func (l *letters) retry() {
	for backoff := minBackoff; l.dir() == nil; backoff = min(2*backoff, maxBackoff) {
		if pause(l.p.ctx, backoff); l.p.ctx.Err() != nil {
			return
		}
		if err := l.open(); err == nil {
			l.p.cfg.Logger.Warn("producer: the directory of dead letters is open")
		}
	}
	if err := l.dir().Run(l.p.ctx, l.deliver); err != nil && l.p.ctx.Err() == nil {
		l.p.cfg.Logger.Error("producer: letters are no longer tried again", "error", err)
	}
}

// overflow takes a record that the log has no room for. It reports false where it has none either. It is called
// under the producer's lock, and never waits.
func (l *letters) overflow(typ byte, enc []byte) bool {
	if l.waiting == nil || l.p.cfg.OnFull != FullLetters {
		return false
	}
	if _, _, err := l.waiting.Append(typ, enc); err != nil {
		return false
	}
	if typ == recordEvent {
		l.count.Add(1)
	}
	return true
}

// moveWaiting writes what overflowed to files, in order.
func (l *letters) moveWaiting() {
	defer close(l.moved)
	r := l.waiting.NewReader()
	defer func() { _ = r.Close() }()
	backoff := minBackoff
	var records []wal.Record
	for {
		var err error
		if records, err = r.Read(l.ctx, records[:0], letterBatch); err != nil {
			return // closing, and what could be saved is
		}
		last := records[len(records)-1].Seq
		if err := l.save(records); err != nil {
			l.p.cfg.Logger.Error("producer: overflowing events can't be written to files; they stay in memory while there is room", "error", err)
			r.Seek(records[0].Seq)
			if pause(l.ctx, backoff); l.ctx.Err() != nil {
				return
			}
			backoff = min(2*backoff, maxBackoff)
			continue
		}
		backoff = minBackoff
		l.waiting.Release(last)
	}
}

// save writes records to files, those that can't be sent as dead letters. After an error all of them may be
// saved again.
func (l *letters) save(records []wal.Record) error {
	dir := l.dir()
	if dir == nil {
		return errNotOpen
	}
	var waiting, dead []dlq.Letter
	for _, r := range records {
		if letter := l.p.letter(r.Type, r.Payload, dlq.ReasonOverflow, nil); letter.Reason == dlq.ReasonOverflow {
			waiting = append(waiting, letter)
		} else {
			dead = append(dead, letter)
		}
	}
	if err := dir.Put(context.Background(), dlq.Waiting, waiting); err != nil {
		return err
	}
	return dir.Put(context.Background(), dlq.Dead, dead)
}

var errNotOpen = errors.New("producer: the directory of dead letters is not open")

// bury keeps a letter that is not to be tried again. Without a directory it is dropped, and counted.
func (l *letters) bury(ctx context.Context, typ byte, letter dlq.Letter) error {
	dir := l.dir()
	if dir == nil {
		l.p.lost(typ, DropRefused)
		l.p.cfg.Logger.Error("producer: an event was refused, and there is no directory for letters", "id", letter.ID, "error", letter.Error)
		return nil
	}
	letter.Attempts = 1
	if err := dir.Put(ctx, dlq.Dead, []dlq.Letter{letter}); err != nil {
		return err
	}
	if typ == recordEvent {
		l.count.Add(1)
	}
	l.p.cfg.Logger.Warn("producer: an event became a dead letter", "id", letter.ID, "reason", letter.Reason, "error", letter.Error)
	return nil
}

func (l *letters) stats() (count uint64, dir dlq.DirStats) {
	d := l.dir()
	if d == nil {
		return l.count.Load(), dir
	}
	return l.count.Load(), d.Stats()
}

// close saves what waits in memory, as far as ctx allows, and counts what it couldn't as dropped.
func (l *letters) close(ctx context.Context) error {
	if l == nil || l.waiting == nil {
		return nil
	}
	var err error
	l.closing.Do(func() {
		for l.dir() != nil && !l.waiting.Drained() && ctx.Err() == nil {
			pause(ctx, time.Millisecond)
		}
		l.stop()
		select {
		case <-l.moved:
		case <-time.After(l.p.saveFor / 4): // a disk hangs: what it was to take counts as lost
		}
		err = l.waiting.Close(ctx)
		for r := range l.waiting.Unsaved() {
			if l.p.lost(r.Type, DropFull); r.Type == recordEvent {
				l.count.Add(^uint64(0)) // it is no letter after all
			}
		}
		if d := l.dir(); d != nil {
			err = errors.Join(err, d.Close())
		}
	})
	return err
}
