package wal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/race"
)

// script is a run that comes by everything a log does: rotation, release, deletion, a degraded spell, closing
// and opening. It tells what it may expect of a crash at any moment.
type script struct {
	cfg              Config
	returned, synced atomic.Uint64 // records whose Append, and whose Sync, had returned
	released         atomic.Uint64
}

func (s *script) run(t *testing.T) (unsaved uint64) {
	for range 2 {
		l, err := Open(s.cfg)
		if err != nil {
			return 0 // a fault, which some scripts have
		}
		for range 4 {
			for range 60 {
				next := s.returned.Load() + 1
				if _, _, err := l.Append(byte(next), payload(next)); err != nil {
					break
				}
				s.returned.Store(next)
			}
			if want := s.returned.Load(); l.Sync(timeout(t)) == nil {
				s.synced.Store(want)
			}
			release := s.returned.Load() / 3
			s.released.Store(max(release, s.released.Load()))
			l.Release(release)
		}
		_ = closeLog(l)
		if unsaved := l.Stats().OverflowLost; unsaved > 0 {
			return unsaved // the next ones would have their sequences
		}
	}
	return 0
}

// TestEveryCall stops a scripted run at every call it makes to the file system: by a kill, after which all that
// was appended is there, and by a power cut, after which all that was synced is.
func TestEveryCall(t *testing.T) {
	t.Parallel()
	cfg := small(nil)
	cfg.MaxRecord, cfg.SegmentSize = 256, 2<<10
	calls := 0
	for at := 0; at == 0 || at < calls; at += race.Stride(3) {
		fsys := newMemFS()
		s := &script{cfg: cfg}
		s.cfg.FS = fsys
		rnd := rand.New(rand.NewPCG(uint64(at), 2))
		var snapshots map[string]*memFS
		var returned, synced, released uint64
		n := 0
		fsys.setFault(func(string, string) error {
			if n == at {
				released = s.released.Load() // read first: what is released later is still there
				returned, synced = s.returned.Load(), s.synced.Load()
				always := func(b bool) func() bool { return func() bool { return b } }
				snapshots = map[string]*memFS{
					"kill":                      fsys.killed(),
					"power cut":                 fsys.crashed(randomly(rnd), randomly(rnd)),
					"power cut, ring kept":      fsys.crashed(randomly(rnd), always(true)),
					"power cut, ring dropped":   fsys.crashed(randomly(rnd), always(false)),
					"power cut, nothing else":   fsys.crashed(always(false), always(false)),
					"power cut, all but synced": fsys.crashed(always(false), always(true)),
				}
			}
			n++
			return nil
		})
		s.run(t)
		calls = n
		for how, snapshot := range snapshots {
			want := synced
			if how == "kill" {
				want = returned
			}
			checkCrashed(t, cfg, snapshot, released, want, fmt.Sprint(how, " at call ", at))
		}
	}
	require.Greater(t, calls, 50)
}

// checkCrashed opens what a crash left: every record above the mark, up to want, is there, and in order.
func checkCrashed(t *testing.T, cfg Config, fsys *memFS, released, want uint64, what string) {
	t.Helper()
	cfg.FS = fsys
	l, err := Open(cfg)
	require.NoError(t, err, what)
	defer func() { require.NoError(t, closeLog(l), what) }()
	require.Greater(t, l.Stats().Next, want, what)
	last := appendN(t, l, 1)
	require.NoError(t, l.Sync(timeout(t)), what) // it wakes the drain
	got := readAll(t, l, last)
	has := map[uint64]bool{}
	for i, seq := range got {
		require.True(t, i == 0 || seq > got[i-1], what)
		has[seq] = true
	}
	for seq := max(released, l.Stats().Released) + 1; seq <= want; seq++ {
		require.True(t, has[seq], "%s: record %d of %d is missing; read %v", what, seq, want, got)
	}
}

// TestEveryFault fails a scripted run at each call: once, for a while, or from there to its end; with an error of the
// disk, a full disk or a short write. Then it is killed, or was closed. Each record that was appended is read back, or
// was released, or is counted: none twice, none not at all.
func TestEveryFault(t *testing.T) {
	cfg := small(nil)
	cfg.MaxRecord, cfg.SegmentSize = 256, 2<<10
	faults := map[string]func(op string) error{
		"EIO": func(string) error { return syscall.EIO },
		"ENOSPC": func(op string) error {
			return onlyOf(syscall.ENOSPC, op, "write", "create", "allocate", "rename", "mkdir")
		},
		"short": func(op string) error { return onlyOf(errShort, op, "write") },
	}
	for what, fault := range faults {
		for _, lasting := range []int{1, 20, 1 << 30} {
			t.Run(fmt.Sprint(what, " ", lasting), func(t *testing.T) {
				t.Parallel()
				for at := 0; ; at += race.Stride(5) {
					fsys := newMemFS()
					s := &script{cfg: cfg}
					s.cfg.FS = fsys
					n := 0
					fsys.setFault(func(op, _ string) error {
						n++
						if n-1 >= at && n-1 < at+lasting && op != "close" {
							return fault(op)
						}
						return nil
					})
					unsaved := s.run(t)
					fsys.setFault(nil)
					checkAccounts(t, cfg, fsys.kill(), s.returned.Load(), unsaved, fmt.Sprint("fault at call ", at))
					if n <= at { // it came after the last call
						return
					}
				}
			})
		}
	}
}

func onlyOf(err error, op string, ops ...string) error {
	if slices.Contains(ops, op) {
		return err
	}
	return nil
}

// checkAccounts opens what is left of a log in which the records to last were put, the last unsaved of which Close said to be
// gone.
func checkAccounts(t *testing.T, cfg Config, fsys *memFS, last, unsaved uint64, what string) {
	t.Helper()
	cfg.FS = fsys
	var losses []Loss
	cfg.OnLoss = func(loss Loss) { losses = append(losses, loss) }
	l, err := Open(cfg)
	require.NoError(t, err, what)
	defer func() { require.NoError(t, closeLog(l), what) }()
	released := l.Stats().Released
	end := appendN(t, l, 1)
	require.NoError(t, l.Sync(timeout(t)), what)
	got := readAll(t, l, end)
	require.Equal(t, last-unsaved+1, end, "%s: %d were appended, %d said to be gone", what, last, unsaved)
	require.Equal(t, ranges(sequence(released+1, end)), ranges(got), "%s: losses %v", what, losses)
	require.Empty(t, losses, what)
}

// TestRingFault cuts the ring's file under its mapping, as a clean-up job might: the next store to it faults.
func TestRingFault(t *testing.T) {
	cfg := small(OSFS())
	cfg.Dir = t.TempDir()
	cfg.SyncEvery = time.Hour
	l := open(t, cfg)
	first := appendN(t, l, 50)
	require.NoError(t, l.Sync(timeout(t)))
	require.NoError(t, os.Truncate(filepath.Join(cfg.Dir, ringName), 0))
	last := appendN(t, l, 500)
	require.Eventually(t, func() bool { s := l.Stats(); return s.State == Healthy && s.DegradedTimes == 1 && s.Overflow == 0 }, 10*time.Second, time.Millisecond)
	_, safe, err := l.Append(byte(last+1), payload(last+1))
	require.NoError(t, err)
	require.True(t, safe, "protected again")
	require.NoError(t, l.Sync(timeout(t)))
	s := l.Stats()
	require.Positive(t, s.Unprotected)
	got := readAll(t, l, last+1)
	require.Equal(t, sequence(1, first), got[:first])
	require.EqualValues(t, last+1, len(got)+int(l.Stats().Lost), "each record is read or counted")
	require.NoError(t, closeLog(l))
	l = open(t, cfg)
	require.Equal(t, got, readAll(t, l, last+1))
}
