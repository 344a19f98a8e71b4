package consumer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// What a replay stores of one tenant says nothing of another's database: rows of one that is away are waited for
// beside another tenant's poison, and don't become letters.
func TestReplayWaitsForATenantBesidePoison(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		f := newFleet()
		router := f.router(t, 8)
		bad := w.event("b")
		f.of("b").OnWrite(poison(sinkers.Permanent(errors.New("bad")), map[firetrail.ID]bool{bad.ID: true}))
		w.mixed(20, "a")
		w.mixed(20, "b")
		w.produce(w.record(bad, 0))
		w.mixed(20, "b")
		w.mixed(20, "a")
		f.of("a").Away(errDown)
		time.AfterFunc(10*time.Minute, func() { f.of("a").Away(nil) })
		report := w.replay(func(r *Replay) { r.Sink, r.Batch.MaxSize = router, 200 })
		require.Equal(t, map[string]int64{dlq.ReasonRefused: 1}, report.Letters)
		require.EqualValues(t, 80, report.Stored)
		require.Equal(t, 40, f.of("a").Len())
		require.NoError(t, router.Close())
	})
}

// Notes for a tenant that will never have a ledger don't take the place of others'.
func TestNotesOfARefusedTenantAreLetGo(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		f := newFleet()
		f.set("never", func(context.Context) error { return sinkers.Permanent(errors.New("no such tenant")) })
		router := f.router(t, 8)
		r := w.start(func(c *Config) { c.Sink = router })
		w.mixed(20, "never", "a")
		w.awaitCommitted(0, 40)
		w.letters(20)
		w.await("the notes to be let go", func() bool {
			r.book.mu.Lock()
			defer r.book.mu.Unlock()
			return len(r.book.notes) == 0 && r.Stats().LedgerLost == 20
		})
		r.stop()
		require.NoError(t, router.Close())
	})
}

// A row that failed by itself is tried again when its tenant's database was away meanwhile and what came after it was
// put aside, though nothing new comes.
func TestSuspectsOutliveASpill(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		dir, err := dlq.OpenDir(dlq.DirConfig{Path: t.TempDir()})
		require.NoError(t, err)
		f := newFleet()
		router := f.router(t, 8)
		bad := w.event("a")
		f.of("a").OnWrite(poison(errStrange, map[firetrail.ID]bool{bad.ID: true}))
		r := w.start(func(c *Config) {
			c.Sink, c.LetterDir, c.DirIsDurable = router, dir, true
			c.Retry.Delay, c.Retry.MaxDelay = 20*time.Second, 5*time.Minute
		})
		w.mixed(5, "a")
		w.produce(w.record(bad, 0))
		w.await("a suspect", func() bool { return r.Stats().Suspects == 1 })
		f.of("a").Away(errDown)
		w.mixed(5, "a")
		w.await("the spill", func() bool { return r.Stats().Spilled > 0 })
		f.of("a").OnWrite(nil)
		f.of("a").Away(nil)
		w.await("all", func() bool { return f.of("a").Len() == 11 })
		w.awaitCommitted(0, 11)
		w.await("no suspects", func() bool { return r.Stats().Suspects == 0 })
		w.noLetters()
		r.stop()
		require.NoError(t, dir.Close())
		require.NoError(t, router.Close())
	})
}
