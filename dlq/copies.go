package dlq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"
)

// Copy says what the letter topic has of a letter that is in a directory.
type Copy uint8

// The copies.
const (
	NoCopy    Copy = iota // nothing, as far as is known
	StubCopy              // the letter without its bytes, see [Letter.Stub]
	WholeCopy             // all of it
)

func (c Copy) String() string {
	switch c {
	case StubCopy:
		return "stub"
	case WholeCopy:
		return "whole"
	default:
		return ""
	}
}

func parseCopy(s string) Copy {
	switch s {
	case StubCopy.String():
		return StubCopy
	case WholeCopy.String():
		return WholeCopy
	default: // a later version's: nothing is to be built on it
		return NoCopy
	}
}

// Find yields the waiting and dead letters whose ids are wanted, as of the call. Of the others it reads no more than
// the id, so that it goes through a full directory in seconds. Damage is passed over; an error is yielded once, last.
func (d *Dir) Find(ctx context.Context, wanted func(letterID string) bool) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		for f, err := range d.Files(ctx) {
			if err == nil && f.Kind != Damaged {
				err = d.findIn(ctx, f.Path, wanted, func(l Letter) bool { return yield(l, nil) })
			}
			switch {
			case errors.Is(err, errStop):
				return
			case errors.Is(err, fs.ErrNotExist): // delivered, discarded or renamed since
			case err != nil:
				yield(Letter{}, fmt.Errorf("dlq: looking for letters: %w", err))
				return
			}
		}
	}
}

func (d *Dir) findIn(ctx context.Context, path string, wanted func(string) bool, yield func(Letter) bool) error {
	f, err := d.fs.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := newFileReader(path, f, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.readLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if id, ok := lineID(line); ok && !wanted(id) {
			continue
		}
		if header, err := checkLine(line); err != nil || header {
			continue
		}
		if e, err := parseLetter(line); err == nil && wanted(e.ID) && !yield(e.Letter) {
			return errStop
		}
	}
}

// lineID returns the id of a letter's line without reading the rest of it, where it stands there as it is.
func lineID(line []byte) (id string, ok bool) {
	const before = `"id":"`
	if len(line) < len(crcPrefix) {
		return "", false
	}
	rest, ok := bytes.CutPrefix(line[len(crcPrefix):], []byte(before))
	if !ok {
		return "", false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return "", false
	}
	return string(rest[:end]), true
}

// What is given to the put of CopyDead at a time.
const (
	copyLetters = 256
	copyBytes   = 512 << 10
)

// Uncopied reports whether there are dead letters of which the topic has nothing, as far as is known. It costs no system
// call.
func (d *Dir) Uncopied() bool {
	d.index.mu.Lock()
	defer d.index.mu.Unlock()
	for _, m := range d.index.files {
		if m.uncopied() {
			return true
		}
	}
	return false
}

// CopyDead gives put the dead letters of one file, the oldest, of which the letter topic has nothing, and keeps in the
// file what put says is there now of each. A letter that is copied and not noted, because of a crash, is copied
// again, under the same id. It returns how many were copied; without an error, 0 says that there is nothing to copy
// that could be. Files that another process is at work on, or that are damaged, are left out.
func (d *Dir) CopyDead(ctx context.Context, put func(context.Context, []Letter) ([]Copy, error)) (copied int, err error) {
	ctx, end, err := d.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	dead := d.index.in(stateDead)
	sortByAge(dead)
	for _, m := range dead {
		if !m.uncopied() {
			continue
		}
		n, err := d.copyFile(ctx, m.name, put)
		switch {
		case errors.As(err, new(*DamageError)):
			d.keepOut(m)
		case errors.Is(err, errLocked), errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return n, fmt.Errorf("dlq: copying %s: %w", m.name, err)
		case n > 0:
			return n, nil
		}
	}
	return 0, nil
}

// keepOut has a file that can't be read whole left alone.
func (d *Dir) keepOut(m fileMeta) {
	d.index.mu.Lock()
	defer d.index.mu.Unlock()
	m.keepOut = true
	d.index.put(m)
}

func (d *Dir) copyFile(ctx context.Context, n fileName, put func(context.Context, []Letter) ([]Copy, error)) (copied int, err error) {
	lock, err := d.fs.Lock(d.path(n))
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	h, err := d.readHeader(d.path(n))
	if err != nil {
		return 0, err
	}
	h.Copied, h.Stubs, h.Created = 0, 0, time.Now()
	var copies []Copy // of all letters, in the file's order
	var chunk []Letter
	var of []int // of the chunk's letters, the place in copies
	size := 0
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		got, err := put(ctx, chunk)
		for i := range min(len(got), len(chunk)) {
			if copies[of[i]] = got[i]; got[i] != NoCopy {
				copied++
			}
		}
		chunk, of, size = nil, nil, 0
		return err
	}
	var putErr error
	done := false // with putting: it failed
	err = d.eachEntry(context.WithoutCancel(ctx), d.path(n), func(e entry, line []byte) error {
		copies = append(copies, e.Copied)
		if done || e.Copied != NoCopy {
			return nil // it stays as it is, for the next time
		}
		chunk, of = append(chunk, e.Letter), append(of, len(copies)-1)
		if size += len(line); len(chunk) >= copyLetters || size >= copyBytes {
			putErr = flush()
			done = putErr != nil
		}
		return nil
	}, func(damage *DamageError) error { return damage })
	if err != nil {
		return 0, err
	}
	if putErr == nil {
		putErr = flush()
	}
	if copied > 0 {
		for _, c := range copies {
			h.count(c)
		}
		if err = d.noteCopies(n, h, copies); err != nil {
			copied = 0
		}
	}
	return copied, errors.Join(putErr, err)
}

// noteCopies puts in the place of a file, which is locked, one that says which of its letters are copied.
func (d *Dir) noteCopies(n fileName, h fileHeader, copies []Copy) error {
	i := -1
	return d.replace(n, h, func(w *fileWriter, e entry, line []byte) error {
		if i++; i >= len(copies) {
			return errors.New("it grew while it was copied")
		}
		if e.Copied == copies[i] {
			return w.raw(line)
		}
		e.Copied = copies[i]
		return w.letter(&e)
	})
}

// replace puts in the place of a file, which is locked and whole, a new one with the letters that each writes. A crash
// leaves one of the two.
func (d *Dir) replace(n fileName, h fileHeader, each func(w *fileWriter, e entry, line []byte) error) error {
	w, err := d.create(n.again(stateTemp), h)
	defer w.abandon()
	if err == nil {
		// It ends without a context: what was done to the letters is to be noted.
		err = d.eachEntry(context.Background(), d.path(n), func(e entry, line []byte) error { return each(w, e, line) },
			func(damage *DamageError) error { return damage })
	}
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		err = w.publish(n)
	}
	if err == nil {
		err = d.fs.SyncDir(d.cfg.Path)
	}
	return err
}
