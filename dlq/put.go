package dlq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sync/errgroup"
)

// A file is closed at these sizes, so that little is written anew when part of a file was delivered.
const (
	maxFileLetters = 10_000
	maxFileBytes   = 16 << 20
)

// putWriters is how many files a Put writes at a time. Their syncs share the file system's journal.
const putWriters = 8

// Put stores letters as new files, one or more for each tenant, in the order given. When it returns nil
// all of them are durable. On an error none are, or those that are may be put again: whoever delivers them
// sees a letter twice at the worst. Over budget the error is a *FullError, for which errors.Is(err,
// ErrFull) holds. A caller with many letters of a tenant should put them together: each call costs two
// syncs at the least.
func (d *Dir) Put(ctx context.Context, k Kind, letters []Letter) error {
	if k != Waiting && k != Dead {
		return fmt.Errorf("dlq: kind: letters are put as %s or %s, not as %s", Waiting, Dead, k)
	}
	if len(letters) == 0 {
		return nil
	}
	ctx, end, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := d.put(ctx, k, letters); err != nil {
		return fmt.Errorf("dlq: putting %d letters: %w", len(letters), err)
	}
	d.stats.put.Add(int64(len(letters)))
	return nil
}

func (d *Dir) put(ctx context.Context, k Kind, letters []Letter) error {
	drafts, size := d.drafts(k, letters)
	// The letters' bare bytes are less than the files will be: what is over budget by them isn't written.
	if err := d.makeRoom(ctx, Total{Files: len(drafts), Bytes: size}, false); err != nil {
		return err
	}
	files := make([]*fileWriter, len(drafts))
	defer func() {
		for _, w := range files {
			w.abandon()
		}
	}()
	var group errgroup.Group
	group.SetLimit(putWriters)
	for i, draft := range drafts {
		group.Go(func() (err error) {
			files[i], err = d.write(ctx, draft)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	room := Total{Files: len(files)}
	for _, w := range files {
		room.Bytes += w.bytes
	}
	if err := d.makeRoom(ctx, room, true); err != nil {
		return err
	}
	for _, w := range files {
		w.reserved = true
	}
	return d.publish(k, files)
}

// publish gives the files their names, durably; if it can't, it takes them back.
func (d *Dir) publish(k Kind, files []*fileWriter) error {
	st := stateWaiting
	if k == Dead {
		st = stateDead
	}
	var err error
	published := 0
	for _, w := range files {
		if err = w.publish(w.name.in(st)); err != nil {
			break
		}
		published++
	}
	if err == nil {
		err = d.fs.SyncDir(d.cfg.Path)
	}
	if err == nil {
		return nil
	}
	for _, w := range files[:published] {
		d.takeBack(w.name)
	}
	return err
}

// takeBack removes a file that was named but is not known to be durable, unless the retry engine has it
// already: then its letters are delivered, and again when they are put again.
func (d *Dir) takeBack(n fileName) {
	lock, err := d.fs.Lock(d.path(n))
	if err != nil {
		return
	}
	defer lock.Close()
	if err := d.remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("a file of letters whose put failed can't be removed; its letters may be seen twice",
			"file", n.String(), "error", err)
	}
}

// draft is a file to be written.
type draft struct {
	name    fileName
	header  fileHeader
	letters []*Letter
}

// drafts divides letters into files and returns the least they will take, in bytes.
func (d *Dir) drafts(k Kind, letters []Letter) (drafts []draft, size int64) {
	open := map[string]int{} // by tenant: its last draft
	sizes := []int{}
	for i := range letters {
		l := &letters[i]
		n := l.size()
		size += int64(n)
		at, ok := open[l.Tenant]
		if !ok || len(drafts[at].letters) >= maxFileLetters || sizes[at]+n > maxFileBytes {
			at = len(drafts)
			open[l.Tenant] = at
			drafts = append(drafts, draft{name: newFileName(l.Tenant, d.stamp(), stateTemp), header: fileHeader{
				Kind: k, Tenant: l.Tenant, Reasons: map[string]int{}, Created: time.Now(),
			}})
			sizes = append(sizes, 0)
		}
		sizes[at] += n
		drafts[at].letters = append(drafts[at].letters, l)
		drafts[at].header.Letters++
		drafts[at].header.Reasons[l.Reason]++
		drafts[at].header.count(l.Copied)
	}
	return drafts, size
}

// size is less than what the letter's line takes.
func (l *Letter) size() int {
	n := len(l.ID) + len(l.Error) + len(l.Topic) + len(l.Key) + len(l.Value)
	for _, h := range l.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// write writes a draft durably, under its temporary name. What it returns is to be abandoned even with an
// error.
func (d *Dir) write(ctx context.Context, t draft) (*fileWriter, error) {
	w, err := d.create(t.name, t.header)
	if err != nil {
		return w, err
	}
	for _, l := range t.letters {
		if err := ctx.Err(); err != nil {
			return w, context.Cause(ctx)
		}
		if err := w.letter(&entry{Letter: *l}); err != nil {
			return w, err
		}
	}
	return w, w.finish()
}
