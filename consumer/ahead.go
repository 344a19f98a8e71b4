package consumer

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
)

// lookAhead finds out what reading doesn't tell, so that the lag is right of partitions that are idle, paused or
// new: where reading begins, and how old the record is that is to be read next.
func (w *Worker) lookAhead(ctx context.Context) error {
	if err := w.findBeginnings(ctx); err != nil {
		return err
	}
	spans := map[source]span{}
	w.flow.mu.Lock()
	for s, p := range w.flow.parts {
		lag, ok := p.lag()
		if ok && lag > 0 && p.head == len(p.window) && p.ahead.offset != p.at() {
			spans[s] = span{p.at(), p.high}
		}
	}
	w.flow.mu.Unlock()
	if len(spans) == 0 {
		return nil
	}
	opts, err := w.cfg.Kafka.Opts()
	if err != nil {
		return err
	}
	found := peek(ctx, opts, spans)
	w.flow.mu.Lock()
	defer w.flow.mu.Unlock()
	for s, at := range found {
		if p := w.flow.parts[s]; p != nil && p.at() == spans[s].from {
			p.ahead = seen{spans[s].from, at}
		}
	}
	return nil
}

// findBeginnings asks where reading begins in the partitions of which nothing was read yet.
func (w *Worker) findBeginnings(ctx context.Context) error {
	idle := map[source]*partition{}
	w.flow.mu.Lock()
	for s, p := range w.flow.parts {
		if p.at() < 0 {
			idle[s] = p
		}
	}
	w.flow.mu.Unlock()
	if len(idle) == 0 {
		return nil
	}
	adm := kadm.NewClient(w.admin)
	committed, err := committedOffsets(ctx, adm, w.cfg.Group)
	if err != nil {
		return err
	}
	starts, err := adm.ListStartOffsets(ctx, w.cfg.Topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return err
	}
	w.flow.mu.Lock()
	defer w.flow.mu.Unlock()
	for s, p := range idle {
		start, ok := starts.Lookup(s.topic, s.partition)
		if !ok {
			continue
		}
		p.from = start.Offset
		if o, ok := committed.Lookup(s.topic, s.partition); ok {
			p.from = max(p.from, o.At)
		}
	}
	return nil
}
