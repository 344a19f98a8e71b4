package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
	"github.com/sethvargo/go-retry"

	"github.com/firetrail/firetrail/sinkers"
)

// DefaultPruneSchedule is every midnight, UTC.
const DefaultPruneSchedule = "0 0 * * *"

// Prune says when expired events are deleted from the sink. The worker that has partition 0 of the first topic sees to it, so
// that of a group one does.
type Prune struct {
	// Retention says what is expired. It should be the sink's own, which keeps such events from being stored
	// anew. Default: nothing is, and nothing is ever deleted.
	Retention sinkers.Retention
	// Schedule is a cron expression of five fields, in UTC. Default [DefaultPruneSchedule].
	Schedule string
}

// at returns when the next prune is due after a time.
func (p Prune) at(after time.Time) (time.Time, error) {
	schedule := p.Schedule
	if schedule == "" {
		schedule = DefaultPruneSchedule
	}
	return gronx.NextTickAfter(schedule, after.UTC(), false)
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

// prune deletes what is expired, whenever it is due, until ctx ends.
func (w *Worker) prune(ctx context.Context) {
	if w.cfg.Prune.Retention.Days <= 0 {
		return
	}
	for {
		now := time.Now()
		due, err := w.cfg.Prune.at(now)
		if err != nil { // New has checked it: there is no such time any more
			w.log.Error("nothing is pruned any more", "err", err)
			return
		}
		if sleepOr(ctx, due.Sub(now), nil) != nil {
			return
		}
		w.pruneNow(ctx)
	}
}

// pruneNow prunes, and tries again until it succeeds, the next one is due, or the partition is another worker's.
func (w *Worker) pruneNow(ctx context.Context) {
	var backoff retry.Backoff
	next, err := w.cfg.Prune.at(time.Now())
	for w.hasFirst() && (err != nil || time.Now().Before(next)) {
		before, began := w.cfg.Prune.Retention.Cutoff(), time.Now()
		n, err := w.cfg.Sink.(sinkers.Pruner).Prune(ctx, before, false)
		w.stats.count(func(s *Stats) { s.Pruned += n })
		if err == nil {
			w.stats.count(func(s *Stats) { s.LastPrune = time.Now() })
			w.log.Info("pruned", "rows", n, "before", before, "took", time.Since(began))
			return
		}
		if ctx.Err() != nil {
			return
		}
		w.stats.count(func(s *Stats) { s.PruneErrors++ })
		if errors.Is(err, errors.ErrUnsupported) {
			w.log.Error("the sink can't prune", "err", err)
			return
		}
		w.log.Error("pruning failed; it is tried again", "rows", n, "err", fmt.Errorf("prune: %w", err))
		if sleepOr(ctx, w.cfg.Retry.next(&backoff), nil) != nil {
			return
		}
	}
}
