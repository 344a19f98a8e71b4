package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// openGroup names the consumer group, which belongs to the directory and the brokers: the directory's
// database holds what the group has committed there. With brokers that others use too, a new group begins at the topic's end, so that the
// demo stores its own events and not everything the topic ever had.
func (p *pipeline) openGroup(ctx context.Context) error {
	file := "group"
	if p.broker == nil {
		brokers := slices.Sorted(slices.Values(p.settings.Brokers))
		file += fmt.Sprintf("-%x", sha256.Sum256([]byte(strings.Join(append(brokers, p.settings.Topic), "\x00"))))[:17]
	}
	path := p.settings.path(file)
	b, err := os.ReadFile(path)
	if err == nil {
		p.group = strings.TrimSpace(string(b))
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("dir: %w", err)
	}
	p.group = fmt.Sprintf("firetrail-demo-%x", time.Now().UnixNano())
	if p.broker == nil {
		if err := p.beginAtEnd(ctx); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(p.group+"\n"), 0o644)
}

func (p *pipeline) beginAtEnd(ctx context.Context) error {
	adm := kadm.NewClient(p.admin)
	ends, err := adm.ListEndOffsets(ctx, p.settings.Topic)
	if err != nil {
		return fmt.Errorf("topic %q: %w", p.settings.Topic, err)
	}
	if err := ends.Error(); err != nil {
		return fmt.Errorf("topic %q: %w", p.settings.Topic, err)
	}
	if err := adm.CommitAllOffsets(ctx, p.group, ends.Offsets()); err != nil {
		return fmt.Errorf("group %q: %w", p.group, err)
	}
	return nil
}

const (
	settleEvery = 50 * time.Millisecond // how often settle looks
	stallAfter  = time.Minute           // without a change: something is wrong
)

// settle returns when everything fired is shipped, and everything in the topic is stored or a letter.
func (p *pipeline) settle(ctx context.Context) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	var before pending
	changed := time.Now()
	for {
		now, err := p.pending(ctx)
		switch {
		case err == nil && now == pending{}:
			return nil
		case err == nil && now != before:
			before, changed = now, time.Now()
		case time.Since(changed) > stallAfter:
			return fmt.Errorf("nothing moved for %s: %s: %w", stallAfter, now, errors.Join(err, p.worker.Ready()))
		}
		select {
		case <-tick.C:
		case <-p.stopped:
			return fmt.Errorf("the worker stopped: %w", p.failed)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", now, context.Cause(ctx))
		}
	}
}

// pending is what is still on its way.
type pending struct {
	log     int64 // events in the producer's log
	letters int64 // events that wait in the producer's files, since the log was full
	topic   int64 // records that the group has not committed
}

// String describes what is on its way.
func (p pending) String() string {
	return fmt.Sprintf("%s events are not shipped and %s records not stored yet", thousands(p.log+p.letters), thousands(p.topic))
}

func (p *pipeline) pending(ctx context.Context) (now pending, err error) {
	s := p.producer.Stats()
	now.log = int64(s.Backlog)
	now.letters = max(int64(s.Dir.Waiting.Letters), int64(s.Letters)-s.Dir.Put)
	now.topic, err = p.behind(ctx)
	return now, err
}

// behind is how many records of the topic the group has not committed.
func (p *pipeline) behind(ctx context.Context) (int64, error) {
	adm := kadm.NewClient(p.admin)
	begins, err := adm.ListStartOffsets(ctx, p.settings.Topic)
	if err != nil {
		return -1, err
	}
	ends, err := adm.ListEndOffsets(ctx, p.settings.Topic)
	if err != nil {
		return -1, err
	}
	if err := errors.Join(begins.Error(), ends.Error()); err != nil {
		return -1, err
	}
	done, err := adm.FetchOffsets(ctx, p.group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return -1, err
	}
	var n int64
	ends.Each(func(end kadm.ListedOffset) {
		begin, _ := begins.Lookup(end.Topic, end.Partition)
		at := begin.Offset
		if o, ok := done.Lookup(end.Topic, end.Partition); ok {
			at = max(o.At, at)
		}
		n += max(end.Offset-at, 0)
	})
	return n, nil
}
