package wal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// script is a run that comes by everything a log does: rotation, release, deletion, a degraded spell, closing
// and opening. It tells what it may expect of a crash at any moment.
type script struct {
	cfg              Config
	returned, synced atomic.Uint64 // records whose Append, and whose Sync, had returned
	released         atomic.Uint64
}

func (s *script) run(t *testing.T) {
	for range 2 {
		l, err := Open(s.cfg)
		if err != nil {
			return // a fault, which some scripts have
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
		if l.Stats().OverflowLost > 0 {
			return
		}
	}
}

// TestEveryCall stops a scripted run at every call it makes to the file system: by a kill, after which all that
// was appended is there, and by a power cut, after which all that was synced is.
func TestEveryCall(t *testing.T) {
	cfg := small(nil)
	cfg.MaxRecord, cfg.SegmentSize = 256, 2<<10
	calls := 0
	for at := 0; at == 0 || at < calls; at++ {
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
				snapshots = map[string]*memFS{"kill": fsys.killed(), "power cut": fsys.crashed(randomly(rnd))}
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

// TestEveryFault fails a scripted run at each call, once or from there on for a while, and kills it at its end:
// nothing that was appended may be missing, but for what it said it had to leave in memory.
func TestEveryFault(t *testing.T) {
	cfg := small(nil)
	cfg.MaxRecord, cfg.SegmentSize = 256, 2<<10
	for _, lasting := range []int{1, 20} {
		for at := range 150 { // a whole script is about as many calls
			fsys := newMemFS()
			s := &script{cfg: cfg}
			s.cfg.FS = fsys
			n := 0
			fsys.setFault(func(op, _ string) error {
				n++
				if n-1 >= at && n-1 < at+lasting && op != "close" {
					return syscall.EIO
				}
				return nil
			})
			s.run(t)
			fsys.setFault(nil)
			cfg.FS = fsys.kill()
			l, err := Open(cfg)
			require.NoError(t, err, "fault at %d", at)
			last := appendN(t, l, 1)
			got := readAll(t, l, last)
			require.Zero(t, l.Stats().Lost, "fault at %d, lasting %d: read %v", at, lasting, got)
			require.LessOrEqual(t, got[0], s.returned.Load()/3+1, "fault at %d, lasting %d", at, lasting)
			require.NoError(t, closeLog(l))
		}
	}
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
