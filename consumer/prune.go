package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/adhocore/gronx"
	"github.com/sethvargo/go-retry"
	"golang.org/x/sync/errgroup"

	"github.com/firetrail/firetrail/sinkers"
)

// DefaultPruneSchedule is every midnight, UTC.
const DefaultPruneSchedule = "0 0 * * *"

// Prune says when expired events are deleted from the sink. The worker that has partition 0 of the first topic sees to it, so
// that of a group one does. One that comes by the partition makes up for the last time, in case nobody was there: it deletes
// what would have gone then, and nothing where that was done.
type Prune struct {
	// Retention says what is expired. It should be the sink's own, which keeps such events from being stored
	// anew. Default: nothing is, and nothing is ever deleted.
	Retention sinkers.Retention
	// Schedule is a cron expression of five fields, in UTC. Default [DefaultPruneSchedule].
	Schedule string
}

// at returns when the next prune is due after a time.
func (p Prune) at(after time.Time) (time.Time, error) {
	return gronx.NextTickAfter(cmp.Or(p.Schedule, DefaultPruneSchedule), after.UTC(), false)
}

// last returns when a prune was due last, at a time or before.
func (p Prune) last(now time.Time) (time.Time, error) {
	return gronx.PrevTickBefore(cmp.Or(p.Schedule, DefaultPruneSchedule), now.UTC(), true)
}

// cutoff returns what a prune at the time due deletes up to, asked later, at now.
func (p Prune) cutoff(due, now time.Time) time.Time {
	then := p.Retention
	then.Now = func() time.Time { return p.Retention.Clock().Add(due.Sub(now)) }
	return then.Cutoff()
}

// Validate reports what is wrong with the settings.
func (p Prune) Validate() error {
	err := p.Retention.Validate()
	if _, bad := p.at(time.Unix(0, 0)); bad != nil || len(strings.Fields(p.Schedule)) > 5 {
		err = errors.Join(err, fmt.Errorf("%q is no cron expression of five fields, such as %q", p.Schedule, DefaultPruneSchedule))
	}
	return err
}

func (c Config) validatePrune(bad func(string, ...any)) {
	if err := c.Prune.Validate(); err != nil {
		bad("prune: %w", err)
	}
	if _, ok := c.Sink.(sinkers.Pruner); !ok && c.Sink != nil && c.Prune.Retention.Days > 0 {
		bad("prune.retention: %T is no sinkers.Pruner; leave it out", c.Sink)
	}
}

// pruneLook is how often it is looked whether a prune was missed: the partition may just have become this worker's.
const pruneLook = time.Minute

// prune deletes what is expired, whenever it is due, until ctx ends; and what a prune that was missed would have deleted.
func (w *Worker) prune(ctx context.Context) {
	if w.cfg.Prune.Retention.Days <= 0 {
		return
	}
	var done time.Time // when the last one was due that this worker knows of
	for {
		now := time.Now()
		next, err := w.cfg.Prune.at(now)
		if err != nil { // New has checked it: there is no such time any more
			w.log.Error("nothing is pruned any more", "err", err)
			return
		}
		last, err := w.cfg.Prune.last(now)
		switch {
		case !w.hasFirst():
			done = time.Time{} // whoever has the partition meanwhile may be stopped in the midst of it
		case err == nil && last.After(done) && w.pruneDue(ctx, last, next):
			done = last
		}
		if sleepOr(ctx, min(time.Until(next), pruneLook), nil) != nil {
			return
		}
	}
}

// pruneDue prunes what was due at a time, and tries again until it succeeds, the next is due, or the partition is another
// worker's. It reports whether there is nothing more to do.
func (w *Worker) pruneDue(ctx context.Context, due, next time.Time) bool {
	var backoff retry.Backoff
	began := time.Now()
	before := w.cfg.Prune.cutoff(due, began)
	prune := w.cfg.Sink.(sinkers.Pruner).Prune
	for w.hasFirst() && time.Now().Before(next) {
		n, err := prune(ctx, before, false)
		w.stats.count(func(s *Stats) { s.Pruned += n })
		if err == nil {
			w.stats.count(func(s *Stats) { s.LastPrune = time.Now() })
			w.log.Info("pruned", "rows", n, "before", before, "due", due, "took", time.Since(began))
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		w.stats.count(func(s *Stats) { s.PruneErrors++ })
		if errors.Is(err, errors.ErrUnsupported) && w.perTenant == nil {
			w.log.Error("the sink can't prune", "err", err)
			return true
		}
		w.log.Error("pruning failed; it is tried again", "rows", n, "err", fmt.Errorf("prune: %w", err))
		if failed := (*sinkers.TenantsError)(nil); w.perTenant != nil && errors.As(err, &failed) {
			prune = w.pruneTenants(failed.Names)
		}
		if sleepOr(ctx, w.cfg.Retry.next(&backoff), nil) != nil {
			return false
		}
	}
	return false
}

// pruneTenants returns a function that prunes those tenants' databases alone, some side by side.
func (w *Worker) pruneTenants(names []string) func(context.Context, time.Time, bool) (int64, error) {
	return func(ctx context.Context, before time.Time, dryRun bool) (total int64, err error) {
		var (
			mu     sync.Mutex
			failed sinkers.TenantsError
			group  errgroup.Group
		)
		group.SetLimit(min(max(w.perTenant.Places()/2, 1), 8))
		for _, name := range names {
			group.Go(func() error {
				n, err := w.perTenant.Of(name).Prune(ctx, before, dryRun)
				mu.Lock()
				defer mu.Unlock()
				total += n
				if err != nil {
					failed.Add(name, err)
				}
				return nil
			})
		}
		_ = group.Wait() // it returns none
		if failed.Failed > 0 {
			return total, &failed
		}
		return total, nil
	}
}
