package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// patience is how often rows are tried, while the sink answers every probe and yet stores nothing else, before
// they are held to be at fault all the same: about three minutes with the default delays. A table
// that is being altered looks just like that.
const patience = 10

// writer is the goroutine that takes batches, writes them and commits. It is the worker's ruling on rows.
type writer struct {
	*Worker
	store   *store
	circuit circuit
	suspect suspects
	counted int           // suspects in the stats
	reports []BatchReport // of writes since settle
}

// run writes the batches that come until there are no more, or hard ends. Once soft has ended an outage is no
// longer waited for: what can't be written is left to the next owner of its partition.
func (w *writer) run(soft, hard context.Context, batches <-chan *batch) error {
	for {
		w.flow.writerIdle()
		var due <-chan time.Time
		if !w.suspect.due.IsZero() {
			due = time.After(time.Until(w.suspect.due))
		}
		select {
		case <-hard.Done():
			return context.Cause(hard)
		case b, ok := <-batches:
			if !ok {
				return nil
			}
			if b = w.flow.hold(w.withLatecomers(b)); b != nil && !w.write(soft, hard, b) {
				for range batches { // nor would the others be written
					w.flow.passed()
				}
				return nil
			}
		case <-due:
		}
		if w.suspect.isDue() {
			w.retrySuspects(hard)
		}
		w.settle(hard)
	}
}

// withLatecomers returns b with what is to be written with it.
func (w *writer) withLatecomers(b *batch) *batch {
	if late := w.flow.writing(b); late != nil {
		b.append(w.decode(late, make([]sinkers.Row, late.len()), 1))
	}
	return b
}

// settle has committed what is done, and reported.
func (w *writer) settle(ctx context.Context) {
	w.syncPauses(w.client)
	if w.flow.lanes != nil && len(w.reports) == 0 { // a visit waits for no commit
		signal(w.commits.wake)
		return
	}
	select {
	case w.commits.settled <- w.reports:
	case <-ctx.Done():
	}
	w.reports = nil
}

// write brings b, which is in the writer's hands, to an end: its rows are stored, letters, suspects, or no
// longer ours. In an outage the circuit opens: it keeps what is left until the sink is back, and returns
// false if soft ends before that.
func (w *writer) write(soft, hard context.Context, b *batch) bool {
	rest, err := w.firstTries(hard, b)
	for rest != nil {
		rest, err = w.store.isolate(hard, rest, err, w, w.circuit.patient())
		w.convict()
		if rest == nil {
			break
		}
		w.flow.release(rest) // a rebalance need not wait for it
		w.settle(hard)       // what was stored of it before the sink went away
		if !w.waitOut(soft, hard, err) {
			w.log.Warn("stopping in an outage; what is not stored will be read again", "rows", rest.len(), "err", err)
			return false
		}
		if rest = w.flow.hold(rest); rest != nil {
			rest, err = w.store.attempt(hard, rest, w)
		}
	}
	w.closeCircuit()
	return true
}

// firstTries writes b, and tries again what is transient as often as Retry says. It returns what is left, nil
// if nothing is, with the last error.
func (w *writer) firstTries(ctx context.Context, b *batch) (rest *batch, last error) {
	rest = b
	err := retry.Do(ctx, w.cfg.Retry.first(), func(ctx context.Context) error {
		if rest, last = w.store.attempt(ctx, rest, w); rest == nil {
			return nil
		}
		w.stats.count(func(s *Stats) { s.WriteErrors++ })
		w.log.Warn("write failed", "rows", rest.len(), "try", rest.tries, "err", last)
		if sinkers.IsPermanent(last) {
			return last
		}
		return retry.RetryableError(last)
	})
	if rest != nil && !errors.Is(err, last) {
		last = errors.Join(last, err) // go-retry gives the context's cause alone
	}
	return rest, last
}

// first makes the delays of the tries after the first. Backoffs carry state, so each batch has its own.
func (r Retry) first() retry.Backoff {
	return retry.WithMaxRetries(uint64(max(r.Attempts, 0)), r.outage())
}

// outage makes the delays of the tries while the sink is away.
func (r Retry) outage() retry.Backoff {
	b := retry.NewExponential(r.Delay)
	return retry.WithCappedDuration(r.MaxDelay, retry.WithJitterPercent(20, b))
}

// keep implements ruling. What must wait for a suspect is put aside.
func (w *writer) keep(b *batch) *batch {
	ready, waits := w.suspect.aside(w.flow.keep(b))
	if waits != nil {
		w.flow.release(waits)
	}
	return ready
}

// stored implements ruling: the rows are done, and conflicts among them become letters.
func (w *writer) stored(b *batch, res sinkers.Result, took time.Duration) {
	w.stats.wrote(res)
	w.flow.wrote(b, took)
	conflicts := conflictRows(res, b.len())
	w.flow.done(b.only(func(i int) bool { return !conflicts[i] }).items)
	for i := range conflicts {
		w.letter(b.slice(i, i+1), dlq.ReasonConflict, errConflict(b, i, res))
	}
	// Of a batch that was tried before, parts may wait elsewhere.
	reuse := b.whole && b.tries == 0
	switch {
	case w.cfg.OnBatch != nil:
		w.reports = append(w.reports, BatchReport{Rows: b.rows, Result: res, Duration: took, reuse: reuse})
	case reuse:
		w.rows.put(b.rows)
	}
}

// conflictRows returns the rows that res names as conflicts, of n.
func conflictRows(res sinkers.Result, n int) map[int]bool {
	conflicts := make(map[int]bool, len(res.Conflicts))
	for _, i := range res.Conflicts {
		if i >= 0 && i < n {
			conflicts[i] = true
		}
	}
	return conflicts
}

// refused implements ruling.
func (w *writer) refused(b *batch, err error) { w.letter(b, dlq.ReasonRefused, err) }

// suspected implements ruling.
func (w *writer) suspected(b *batch, err error, ev evidence) {
	w.flow.release(b)
	w.suspect.add(&suspectRow{b: b}, err, ev, w.store.fresh.Load())
}

// letter hands the held row of b over to the postman.
func (w *writer) letter(b *batch, reason string, err error) {
	w.flow.release(b)
	w.post.send(&letter{
		item: b.items[0], tenant: b.rows[0].Tenant, reason: reason, stage: stageWrite, err: err,
		attempts: max(b.tries, 1), failedAt: b.failedAt, seq: positionOf(&b.rows[0]),
	})
}
