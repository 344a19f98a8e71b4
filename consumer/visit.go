package consumer

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/sethvargo/go-retry"
	"golang.org/x/sync/errgroup"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// visitor is what a lane is written with, and what it remembers from one visit to the next.
type visitor struct {
	*writer
	troubled bool          // when it was taken
	tries    retry.Backoff // of the batch at hand
	retryAt  time.Time     // when the database is asked again; until then batches are spilled, where they may be
}

// leftover is what a visit leaves of a lane.
type leftover struct {
	rest  *batch
	again time.Time
	given bool
}

// openLane makes a tenant's lane.
func (w *Worker) openLane(tenant string) *lane {
	queue := newQueue(w.cfg.Batch)
	queue.patient = true // opening a database costs as much as storing hundreds of rows
	return &lane{
		tenant: tenant, queue: queue, shown: Circuit{State: CircuitClosed},
		visitor: visitor{writer: &writer{Worker: w, store: newStore(w.perTenant.Of(tenant), w.cfg.Retry), circuit: newCircuit(w.cfg.Retry)}},
	}
}

// runLanes visits the lanes in which something is due, many at a time, until there are no more, or hard ends.
func (w *Worker) runLanes(hard context.Context) error {
	var visits errgroup.Group
	visits.SetLimit(w.flow.lanes.visits())
	for {
		l, b, err := w.flow.takeLane(hard)
		if err != nil {
			_ = visits.Wait() // visits return no error
			if errors.Is(err, errClosed) {
				return nil
			}
			return err
		}
		visits.Go(func() error {
			left := l.visit(hard, b)
			w.flow.putLane(l, left)
			return nil
		})
	}
}

// visit writes b once, or tries the suspects once, and says what is left.
func (l *lane) visit(hard context.Context, b *batch) (left leftover) {
	w := l.writer
	if b != nil && b.rows == nil {
		b = w.decode(b, w.rows.get(b.len()), max(runtime.GOMAXPROCS(0)/2, 1))
	}
	if b != nil && b.len() > 0 {
		if b = w.flow.hold(b); b != nil {
			left = l.write(hard, b)
		}
	}
	if left.rest == nil { // away too, where the batches are spilled: else nothing might come that tries them again
		if w.suspect.isDue() {
			w.retrySuspects(hard)
		}
		left.again = w.suspect.due
	}
	w.settle(hard)
	return left
}

// write writes b, which is in hand, once: what becomes of it is what writer.write would make of it, a step at a time.
func (l *lane) write(hard context.Context, b *batch) leftover {
	w := l.writer
	if !w.circuit.isClosed() {
		if time.Now().Before(l.retryAt) && w.cfg.OnOutage == Spill {
			return l.spill(hard, b)
		}
		if err := w.circuit.ask(hard, w.store); err != nil {
			return l.stillAway(hard, b, err)
		}
	}
	rest, err := w.store.attempt(hard, b, w)
	if rest != nil {
		w.stats.count(func(s *Stats) { s.WriteErrors++ })
		w.log.Warn("write failed", "tenant", l.tenant, "rows", rest.len(), "try", rest.tries, "err", err)
		if w.circuit.isClosed() && !sinkers.IsPermanent(err) && rest.tries <= w.cfg.Retry.Attempts && hard.Err() == nil {
			return l.park(rest, w.cfg.Retry.next(&l.tries), leftover{})
		}
		// A database that hangs would do so for each half too, and for as long take the place of others.
		if patient := w.circuit.patient(); patient || !errors.Is(err, errNoReply) {
			rest, err = w.store.isolate(hard, rest, err, w, patient)
			w.convict()
		}
	}
	l.tries = nil
	if rest == nil {
		if w.circuit.close() {
			w.log.Info("the tenant's database is back", "tenant", l.tenant)
		}
		return leftover{}
	}
	return l.stillAway(hard, rest, err)
}

// stillAway opens the circuit. What is left of the batch, which is in hand, waits for the database, or is spilled.
func (l *lane) stillAway(hard context.Context, rest *batch, why error) leftover {
	next, tripped := l.circuit.open(why)
	if tripped {
		l.stats.tripped()
		l.log.Error("a tenant's database is away; the others go on", "tenant", l.tenant, "err", why)
	}
	l.retryAt = time.Now().Add(next)
	if l.cfg.OnOutage != Spill {
		return l.park(rest, next, leftover{given: true})
	}
	return l.spill(hard, rest)
}

// next returns the next delay of a backoff, which it begins if need be.
func (r Retry) next(b *retry.Backoff) time.Duration {
	if *b == nil {
		*b = r.outage()
	}
	d, _ := (*b).Next()
	return d
}

// park lets go of rest, which is in hand, until it is tried again: a rebalance need not wait for it.
func (l *lane) park(rest *batch, wait time.Duration, left leftover) leftover {
	l.flow.release(rest)
	left.rest, left.again = rest, time.Now().Add(wait)
	return left
}

// spill puts b, which is in hand, into the directory of letters, whose retry engine goes on with it. When that can't take it,
// it waits for either.
func (l *lane) spill(ctx context.Context, b *batch) leftover {
	letters := make([]dlq.Letter, b.len())
	for i := range letters {
		waiting := letter{
			item: b.items[i], tenant: l.tenant, reason: dlq.ReasonOutage, stage: stageWrite, err: errAway,
			attempts: max(b.tries, 1), failedAt: b.failedAt,
		}
		if waiting.failedAt.IsZero() {
			waiting.failedAt = time.Now()
		}
		letters[i] = waiting.dead()
	}
	putCtx, cancel := context.WithTimeout(ctx, letterLimit)
	defer cancel()
	if err := l.cfg.LetterDir.Put(putCtx, dlq.Waiting, letters); err != nil {
		l.stats.count(func(s *Stats) { s.DirErrors++ })
		l.log.Error("what waits for a tenant's database can't be put aside; it waits in memory", "tenant", l.tenant, "err", err)
		return l.park(b, max(time.Until(l.retryAt), l.cfg.Retry.Delay), leftover{given: true})
	}
	l.stats.count(func(s *Stats) { s.Spilled += int64(b.len()) })
	l.flow.done(b.items)
	return leftover{}
}

var errAway = errors.New("the tenant's database is away")
