package dlq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Purge says which letters are deleted for good.
type Purge struct {
	// Match chooses them. Nil: all.
	Match func(*Letter) bool
	// Waiting takes letters that the retry engine would try again, too. Default false: only dead ones.
	Waiting bool
	// DryRun deletes nothing and counts what would be.
	DryRun bool
}

func (p *Purge) match(l *Letter) bool { return p.Match == nil || p.Match(l) }

// PurgeResult says what a purge deleted, and what it left although it matched.
type PurgeResult struct {
	Letters int // deleted
	Waiting int // left: they wait
	Busy    int // files left: another process is at work on them
	Damaged int // files left: they are damaged, and nobody knows what else they hold
	Behind  int // of a topic, left: a letter that is kept lies before them
}

// Purge deletes dead letters of the directory, and waiting ones only if it is asked to. What else is in a file
// is written anew first, so that a crash at any time leaves all that isn't deleted. Damaged files stay: remove
// them by hand. The result counts what was done even when there is an error.
func (d *Dir) Purge(ctx context.Context, p Purge) (res PurgeResult, err error) {
	begin := d.begin
	if p.DryRun {
		begin = d.beginReading
	}
	ctx, end, err := begin(ctx)
	if err != nil {
		return res, err
	}
	defer end()
	if err := d.refresh(); err != nil {
		return res, fmt.Errorf("dlq: purging: %w", err)
	}
	var errs []error
	for _, s := range []state{stateDead, stateWaiting} {
		files := d.index.in(s)
		sortByAge(files)
		for _, m := range files {
			if ctx.Err() != nil {
				return res, errors.Join(append(errs, context.Cause(ctx))...)
			}
			if err := d.purgeFile(ctx, m.name, p, &res); err != nil {
				errs = append(errs, fmt.Errorf("dlq: purging %s: %w", m.name, err))
			}
		}
	}
	if !p.DryRun && res.Letters > 0 {
		errs = append(errs, d.fs.SyncDir(d.cfg.Path))
	}
	return res, errors.Join(errs...)
}

func (d *Dir) purgeFile(ctx context.Context, n fileName, p Purge, res *PurgeResult) error {
	if !p.DryRun {
		lock, err := d.fs.Lock(d.path(n))
		switch {
		case errors.Is(err, fs.ErrNotExist): // delivered or discarded since
			return nil
		case errors.Is(err, errLocked):
			res.Busy++
			return nil
		case err != nil:
			return err
		}
		defer lock.Close()
	}
	kept := fileHeader{Kind: n.state.kind(), Reasons: map[string]int{}, Created: time.Now()}
	gone := 0
	err := d.eachEntry(ctx, d.path(n), func(e entry, _ []byte) error {
		if p.match(&e.Letter) {
			gone++
			return nil
		}
		kept.Letters++
		kept.Reasons[e.Reason]++
		kept.count(e.Copied)
		return nil
	}, func(damage *DamageError) error { return damage })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, new(*DamageError)):
		res.Damaged++
		return nil
	case err != nil:
		return err
	case gone == 0:
		return nil
	case n.state == stateWaiting && !p.Waiting:
		res.Waiting += gone
		return nil
	case !p.DryRun && kept.Letters == 0:
		err = d.remove(n)
	case !p.DryRun:
		err = d.rewriteWithout(n, kept, p)
	}
	if err == nil {
		res.Letters += gone
	}
	return err
}

// rewriteWithout puts in the place of a file, which is locked, one without the letters that match.
func (d *Dir) rewriteWithout(n fileName, kept fileHeader, p Purge) error {
	h, err := d.readHeader(d.path(n))
	if err != nil {
		return err
	}
	kept.Tenant = h.Tenant
	return d.replace(n, kept, func(w *fileWriter, e entry, line []byte) error {
		if p.match(&e.Letter) {
			return nil
		}
		return w.raw(line)
	})
}

// PurgeTopic deletes the letters of a topic that match, as far as Kafka can: a partition loses its records from
// its beginning up to the first one that is kept. Those behind it are counted as Behind. A record that is no
// letter is kept, unless everything matches.
func PurgeTopic(ctx context.Context, topic string, p Purge, opts ...kgo.Opt) (PurgeResult, error) {
	t := topicPurge{Purge: p, upTo: map[int32]int64{}, kept: map[int32]bool{}}
	err := readTopic(ctx, topic, opts, idleCheck, func(r *kgo.Record) bool { t.look(r); return true })
	if err == nil && !p.DryRun && len(t.upTo) > 0 {
		err = t.delete(ctx, topic, opts)
	}
	if err != nil {
		return PurgeResult{}, fmt.Errorf("dlq: purging topic %s: %w", topic, err)
	}
	return t.res, nil
}

type topicPurge struct {
	Purge
	res  PurgeResult
	upTo map[int32]int64 // the offset after the last that goes
	kept map[int32]bool  // partitions with a record that stays
}

func (t *topicPurge) look(r *kgo.Record) {
	l, err := ParseRecord(r)
	switch goes := t.Match == nil || err == nil && t.Match(&l); {
	case !goes:
		t.kept[r.Partition] = true
	case t.kept[r.Partition]:
		t.res.Behind++
	default:
		t.res.Letters++
		t.upTo[r.Partition] = r.Offset + 1
	}
}

func (t *topicPurge) delete(ctx context.Context, topic string, opts []kgo.Opt) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var upTo kadm.Offsets
	for partition, offset := range t.upTo {
		upTo.AddOffset(topic, partition, offset, -1)
	}
	deleted, err := kadm.NewClient(cl).DeleteRecords(ctx, upTo)
	return errors.Join(err, deleted.Error())
}
