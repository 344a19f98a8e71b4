package consumer

import (
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// At midnight, UTC, the one worker of the group that has partition 0 prunes; what fails is tried again.
func TestPrune(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		pass(24*time.Hour - 5*time.Minute) // of a bubble, which begins at midnight
		// The clock of what is expired is a day ahead, so that a day need not pass with the workers running.
		ahead := sinkers.Retention{Days: 1, Now: func() time.Time { return time.Now().Add(24 * time.Hour) }}
		w.sink.Retain(sinkers.Retention{Now: ahead.Now})
		pruning := func(c *Config) { c.Prune.Retention = ahead }
		first, second := w.start(pruning), w.start(pruning)
		w.await("partitions", func() bool {
			return len(first.Stats().Partitions) == 1 && len(second.Stats().Partitions) == 1
		})
		w.events(5, 0)
		w.events(5, 1)
		w.awaitStored(10)
		pass(3 * time.Minute)
		require.Equal(t, 10, w.sink.Len(), "it is not midnight yet")
		w.sink.Away(errors.New("away"))
		pass(3 * time.Minute)
		require.Equal(t, 10, w.sink.Len())
		w.sink.Away(nil)
		w.await("the prune", func() bool { return w.sink.Len() == 0 })
		pass(time.Minute)
		pruned, failed := first.Stats().Pruned+second.Stats().Pruned, first.Stats().PruneErrors+second.Stats().PruneErrors
		require.EqualValues(t, 10, pruned)
		require.GreaterOrEqual(t, failed, int64(2))
		require.NotEqual(t, first.Stats().LastPrune.IsZero(), second.Stats().LastPrune.IsZero(), "one of the two prunes")
		first.stop()
		second.stop()
	})
}

// A prune that nobody was there for is made up for by the worker that comes by the partition: what would have gone then goes,
// and nothing more.
func TestMissedPruneIsMadeUpFor(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		pass(24*time.Hour - 5*time.Minute)
		ahead := sinkers.Retention{Days: 1, Now: func() time.Time { return time.Now().Add(24 * time.Hour) }}
		w.sink.Retain(sinkers.Retention{Now: ahead.Now})
		pruning := func(c *Config) { c.Prune.Retention = ahead }
		first := w.start(pruning)
		w.events(5, 0)
		w.awaitStored(5)
		w.await("a look for what was missed before", func() bool { return !first.Stats().LastPrune.IsZero() })
		require.Zero(t, first.Stats().Pruned)
		first.stop() // before midnight
		pass(2 * time.Hour)
		second := w.start(pruning)
		w.events(3, 0) // of the new day
		w.await("the prune that was missed", func() bool { return second.Stats().Pruned == 5 })
		pass(10 * time.Minute)
		require.Equal(t, 3, w.sink.Len())
		require.EqualValues(t, 5, second.Stats().Pruned)
		second.stop()
	})
}

type prunedSink struct {
	*sinkertest.Memory
	told func()
}

func (p prunedSink) Prune(ctx context.Context, before time.Time, dryRun bool) (int64, error) {
	p.told()
	return p.Memory.Prune(ctx, before, dryRun)
}

// Of a router's databases that can't be pruned those alone are tried again.
func TestPruneTriesFailedTenantsAgain(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		var mu sync.Mutex
		asked := map[string]int{}
		away := map[string]bool{"b": true, "c": true}
		router, err := sinkers.NewRouter(sinkers.RouterConfig{
			Resolve: func(_ context.Context, tenant string) (sinkers.Sinker, error) {
				mu.Lock()
				defer mu.Unlock()
				if tenant != "a" {
					asked[tenant]++
				}
				if away[tenant] {
					return nil, errors.New("away")
				}
				return prunedSink{new(sinkertest.Memory), func() {
					mu.Lock()
					defer mu.Unlock()
					if tenant == "a" { // which stays open
						asked[tenant]++
					}
				}}, nil
			},
			Tenants: func(context.Context) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					for _, name := range []string{"a", "b", "c"} {
						if !yield(name, nil) {
							return
						}
					}
				}
			},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, router.Close()) }()
		r := w.start(func(c *Config) {
			c.Sink, c.Prune.Retention = router, sinkers.Retention{Days: 1}
		})
		w.await("three tries", func() bool { return r.Stats().PruneErrors >= 3 })
		mu.Lock()
		require.Equal(t, 1, asked["a"], "it was pruned the first time")
		require.GreaterOrEqual(t, asked["c"], 3)
		away["b"] = false
		b := asked["b"]
		mu.Unlock()
		w.await("b", func() bool { mu.Lock(); defer mu.Unlock(); return asked["b"] > b })
		failures := r.Stats().PruneErrors
		w.await("two tries more", func() bool { return r.Stats().PruneErrors >= failures+2 })
		mu.Lock()
		require.Equal(t, b+1, asked["b"])
		away["c"] = false
		mu.Unlock()
		w.await("all", func() bool { return !r.Stats().LastPrune.IsZero() })
		require.Equal(t, 1, asked["a"])
		r.stop()
	})
}

func TestPruneConfig(t *testing.T) {
	for want, prune := range map[string]Prune{
		"prune: retention days: -1":       {Retention: sinkers.Retention{Days: -1}},
		`prune: "daily" is no cron`:       {Schedule: "daily"},
		`prune: "0 0 * * * *" is no cron`: {Schedule: "0 0 * * * *"},
		"is no sinkers.Pruner":            {Retention: sinkers.Retention{Days: 1}},
	} {
		cfg := Config{Sink: bare{new(sinkertest.Memory)}, Prune: prune}
		require.ErrorContains(t, cfg.Validate(), want)
	}
	// What was missed yesterday at noon is what had expired then.
	noon := Prune{Schedule: "0 12 * * *", Retention: sinkers.Retention{Days: 2, Now: func() time.Time { return time.Date(2024, 3, 10, 8, 0, 0, 0, time.UTC) }}}
	last, err := noon.last(noon.Retention.Now())
	require.NoError(t, err)
	require.Equal(t, time.Date(2024, 3, 9, 12, 0, 0, 0, time.UTC), last)
	require.Equal(t, time.Date(2024, 3, 7, 0, 0, 0, 0, time.UTC), noon.cutoff(last, noon.Retention.Now()))
	next, err := Prune{}.at(time.Date(2024, 2, 28, 23, 0, 0, 0, time.FixedZone("", -7200)))
	require.NoError(t, err)
	require.Equal(t, time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC), next)
}

// What becomes a letter is in the ledger, and a conflict's letter shows both hashes.
func TestLettersAreInTheLedger(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		events := w.events(10, 0)
		forged, refused := events[3], w.event("tenant-0")
		forged.Seq = 100
		forged.Actor.Name = "Mallory"
		refused.Actor.Name = "poison"
		w.sink.OnWrite(sinkertest.FailRows(sinkertest.ActorName("poison", true)))
		r := w.start(nil)
		w.awaitStored(10)
		w.produce(w.record(forged, 0), w.record(refused, 0))
		w.awaitCommitted(0, 12)
		conflicts := 0
		for _, l := range w.letters(2) {
			if header(l, "__connect.errors.exception.class.name") == dlq.ReasonConflict {
				conflicts++
				require.Contains(t, header(l, "__connect.errors.exception.message"), hashText(&events[3]))
				require.Contains(t, header(l, "__connect.errors.exception.message"), hashText(&forged))
			}
		}
		require.Equal(t, 1, conflicts)
		want := map[sinkers.LedgerReason]uint64{sinkers.LedgerConflict: 100, sinkers.LedgerDeadLetter: refused.Seq}
		w.await("the ledger", func() bool { return len(ledger(t, w.sink)) == 2 })
		for _, e := range ledger(t, w.sink) {
			require.Equal(t, "tenant-0", e.Tenant)
			require.Equal(t, want[e.Reason], e.From)
			require.EqualValues(t, 1, e.Count())
		}
		r.stop()
		require.Zero(t, r.Stats().LedgerLost)
	})
}

func ledger(t *testing.T, l sinkers.Ledger) (entries []sinkers.LedgerEntry) {
	for e, err := range l.ReadLedger(t.Context(), sinkers.Scan{AllTenants: true}) {
		require.NoError(t, err)
		entries = append(entries, e)
	}
	return entries
}

func hashText(e *firetrail.Event) string {
	h := e.ContentHash()
	return hex.EncodeToString(h[:])
}
