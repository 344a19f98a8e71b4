package dlq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// ErrFull is what a *FullError is.
var ErrFull = errors.New("dlq: the directory is full")

// FullError says that letters don't fit the budgets of the directory, and nothing in it may be discarded.
// The caller keeps them and tries again later.
type FullError struct {
	Path                   string
	Files, MaxFiles        int   // with what was to be put
	Bytes, MaxBytes        int64 // the same
	Waiting, Dead, Damaged Total // what is there
}

// Error implements error.
func (e *FullError) Error() string {
	return fmt.Sprintf("%s is full: it would hold %d files (of %d) and %d bytes (of %d); waiting %d files, dead %d, "+
		"damaged %d. Mend what they wait for, purge what isn't needed, or raise the budgets", e.Path,
		e.Files, e.MaxFiles, e.Bytes, e.MaxBytes, e.Waiting.Files, e.Dead.Files, e.Damaged.Files)
}

// Is reports whether target is ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// What is known of other processes' files is at most so old when room is made, or a little older where listing the
// directory would take more than a part in lookShare of the time. So processes that share the directory can be
// over its budgets together by what they put within that time.
const (
	relistAfter = time.Second
	lookShare   = 20
)

// makeRoom finds room for what is to be put, and keeps it if reserve is set. It discards dead letters if
// it must and may.
func (d *Dir) makeRoom(ctx context.Context, want Total, reserve bool) error {
	d.room.Lock()
	defer d.room.Unlock()
	err := d.look(d.lookAt)
	full := d.fits(want, reserve)
	if full != nil && err == nil { // somebody may have made room
		err = d.look(d.listed.Add(d.cfg.relistAfter))
		full = d.fits(want, reserve)
	}
	if full != nil && err == nil {
		full = d.discard(ctx, want, reserve)
	}
	if full == nil {
		return nil
	}
	if err != nil {
		return err
	}
	d.stats.full.Add(1)
	return full
}

// look lists the directory anew, unless it is too early for that. room must be held.
func (d *Dir) look(notBefore time.Time) error {
	begin := time.Now()
	if begin.Before(notBefore) {
		return nil
	}
	err := d.refresh()
	d.listed = time.Now()
	if d.lookAt = d.listed; d.cfg.relistAfter > 0 {
		d.lookAt = d.listed.Add(max(d.cfg.relistAfter, lookShare*d.listed.Sub(begin)))
	}
	return err
}

// fits reports why want doesn't fit, and otherwise reserves it if asked to.
func (d *Dir) fits(want Total, reserve bool) *FullError {
	x := d.index
	x.mu.Lock()
	defer x.mu.Unlock()
	files, bytes := x.used()
	files, bytes = files+want.Files, bytes+want.Bytes
	if (d.cfg.MaxFiles < 0 || files <= d.cfg.MaxFiles) && (d.cfg.MaxBytes < 0 || bytes <= d.cfg.MaxBytes) {
		if reserve {
			x.reserved.Files += want.Files
			x.reserved.Bytes += want.Bytes
		}
		return nil
	}
	return &FullError{
		Path: d.cfg.Path, Files: files, MaxFiles: d.cfg.MaxFiles, Bytes: bytes,
		MaxBytes: d.cfg.MaxBytes, Waiting: x.total[Waiting], Dead: x.total[Dead], Damaged: x.total[Damaged],
	}
}

// discard removes dead files all of whose letters the topic has whole, oldest first, until want fits.
func (d *Dir) discard(ctx context.Context, want Total, reserve bool) *FullError {
	dead := d.index.in(stateDead)
	sortByAge(dead)
	for _, m := range dead {
		if ctx.Err() != nil {
			break
		}
		if m.keepOut || m.letters == 0 || m.copied < m.letters || !d.discardFile(ctx, m) {
			continue
		}
		if full := d.fits(want, reserve); full == nil {
			return nil
		}
	}
	return d.fits(want, reserve)
}

var errKeep = errors.New("a letter without a copy")

// discardFile removes a dead file if each of its letters has a copy, and reports whether it did. A file
// with damage in it is kept: nobody knows what else it held.
func (d *Dir) discardFile(ctx context.Context, m fileMeta) bool {
	path := d.path(m.name)
	lock, err := d.fs.Lock(path)
	if err != nil {
		return false
	}
	defer lock.Close()
	letters := 0
	err = d.eachEntry(ctx, path, func(e entry, _ []byte) error {
		letters++
		if e.Copied != WholeCopy {
			return errKeep
		}
		return nil
	}, func(damage *DamageError) error { return damage })
	if errors.Is(err, errKeep) || errors.As(err, new(*DamageError)) {
		d.keepOut(m) // its header says more than is true: it need not be read again
	}
	if err != nil {
		return false
	}
	if err := d.remove(m.name); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("dead letters over budget can't be removed", "file", m.name.String(), "error", err)
		}
		return false
	}
	d.stats.discardedFiles.Add(1)
	d.stats.discarded.Add(int64(letters))
	d.discards.Do(func() {
		d.log.Warn("dead letters discarded over budget; the letter topic has them",
			"file", m.name.String(), "letters", letters, "discarded_so_far", d.stats.discarded.Load())
	})
	if d.cfg.OnDiscard != nil {
		d.cfg.OnDiscard(m.name.String(), letters)
	}
	return true
}
