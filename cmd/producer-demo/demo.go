package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// demonstration is one run from beginning to end.
type demonstration struct {
	settings *grammar
	log      *slog.Logger
	stdin    io.Reader
	stdout   io.Writer
	stderr   *screen
}

// endTimeout bounds what is still shipped and stored once the run was interrupted.
const endTimeout = 10 * time.Second

func (d *demonstration) run(ctx context.Context) (err error) {
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	p := &pipeline{settings: d.settings, log: d.log, kafkaLog: d.settings.KafkaLogger(d.stderr)}
	if err := p.open(ctx); err != nil {
		return errors.Join(err, p.close())
	}
	f := &feeder{pipe: p, settings: d.settings, stdin: d.stdin, log: d.log, note: d.stderr.note}
	res, err := d.demonstrate(ctx, p, f)
	if err := errors.Join(err, p.close()); err != nil {
		return err
	}
	return res.verdict()
}

// lock keeps a second demo out of the directory.
func (d *demonstration) lock() (unlock func() error, err error) {
	if err := os.MkdirAll(d.settings.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	lock := flock.New(d.settings.path("lock"))
	switch mine, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("dir: %w", err)
	case !mine:
		return nil, fmt.Errorf("dir: another producer-demo is using %s; wait for it, or take another --dir", d.settings.Dir)
	}
	return lock.Close, nil
}

// demonstrate fires the events, waits until they are stored, asks the database, and prints what came of it.
func (d *demonstration) demonstrate(ctx context.Context, p *pipeline, f *feeder) (*result, error) {
	show := d.progress(p, f)
	feedErr := f.feed(ctx)
	if feedErr != nil && ctx.Err() == nil {
		show.stop()
		return nil, feedErr
	}
	// From here on an interruption doesn't end the work at once: it bounds it.
	end, cancel := bounded(ctx, endTimeout)
	defer cancel()
	settleErr := p.settle(end)
	show.stop()
	if settleErr != nil && ctx.Err() == nil {
		return nil, settleErr
	}
	res, err := d.examine(context.WithoutCancel(ctx), p, f)
	if err != nil {
		return nil, err
	}
	res.interrupted = ctx.Err() != nil
	return res, d.print(context.WithoutCancel(ctx), p, res)
}

// bounded returns a context that ends when asked to, or d after ctx has.
func bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, func() { stop(); cancel() }
}
