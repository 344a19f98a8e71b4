package consumer

import (
	"context"
)

// lookAhead finds out what reading doesn't tell, so that the lag is right of partitions that are idle, paused or
// new: where reading begins, and how old the record is that is to be read next.
func (w *Worker) lookAhead(ctx context.Context) error {
	spans := map[source]span{}
	w.flow.mu.Lock()
	for s, p := range w.flow.parts {
		lag, ok := p.lag()
		if ok && lag > 0 && p.head == len(p.window) && p.ahead.offset != p.unread() {
			spans[s] = span{p.unread(), p.high}
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
		if p := w.flow.parts[s]; p != nil && p.unread() == spans[s].from {
			p.ahead = seen{spans[s].from, at}
		}
	}
	return nil
}
