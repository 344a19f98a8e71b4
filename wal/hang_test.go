package wal

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// state awaits a state of the log.
func state(t testing.TB, l *Log, want State) Stats {
	t.Helper()
	require.Eventually(t, func() bool { return l.Stats().State == want }, 30*time.Second, time.Millisecond)
	return l.Stats()
}

// appendTo appends until stop says so, and returns the last sequence and how many were answered with safe false.
func appendTo(t testing.TB, l *Log, stop func(safe bool) bool) (last, unsafe uint64) {
	for {
		next := l.Stats().Next
		seq, safe, err := l.Append(byte(next), payload(next))
		require.NoError(t, err)
		if !safe {
			unsafe++
		}
		if stop(safe) {
			return seq, unsafe
		}
	}
}

// TestHang: a call to the disk that doesn't return. Append goes on, into the ring and then the overflow; shipping goes on
// from there, and memory stays flat; the log says what hangs, and is well again when it no longer does.
func TestHang(t *testing.T) {
	for _, op := range []string{"sync", "write", "create", "allocate", "rename", "syncdir", "close", "truncate", "remove", "free", "open"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			fsys := newMemFS()
			cfg := small(fsys)
			cfg.MaxBytes, cfg.SegmentSize, cfg.HangAfter = -1, 16<<10, 100*time.Millisecond
			var told atomic.Int32 // the last state
			cfg.OnState = func(s StateChange) { told.Store(int32(s.State)) }
			l := open(t, cfg)
			appendN(t, l, 200)
			require.NoError(t, l.Sync(timeout(t)))
			l.Release(100)
			release := fsys.hang(op)
			defer release()
			unsafe := l.Stats().Unprotected
			n := 0
			_, some := appendTo(t, l, func(bool) bool { n++; return n == 1500 }) // some segments
			unsafe += some
			if op == "remove" {
				l.Release(1200)
			}
			s := state(t, l, Degraded)
			require.ErrorIs(t, s.Reason, ErrHang)
			require.Eventually(t, func() bool { return State(told.Load()) == Degraded }, 30*time.Second, time.Millisecond)
			require.ErrorIs(t, l.Sync(timeout(t)), ErrDegraded)
			_, some = appendTo(t, l, func(safe bool) bool { return !safe }) // the ring takes them safely until it is full
			unsafe += some
			require.Equal(t, unsafe, l.Stats().Unprotected)
			if op != "open" && op != "close" { // which a reader needs too
				r := l.NewReader()
				before := l.Stats().Bytes
				for range 20 {
					n := 0
					last, more := appendTo(t, l, func(bool) bool { n++; return n == 1000 })
					unsafe += more
					readTo(t, r, last)
					l.Release(last)
					require.Less(t, l.Stats().Bytes, before+2<<20, "flat")
				}
				require.NoError(t, r.Close())
			}
			require.Equal(t, unsafe, l.Stats().Unprotected)
			release()
			state(t, l, Healthy)
			require.Eventually(t, func() bool { return State(told.Load()) == Healthy }, 30*time.Second, time.Millisecond)
			last, more := appendTo(t, l, func(safe bool) bool { return safe })
			require.Zero(t, more)
			require.NoError(t, l.Sync(timeout(t)))
			got := readAll(t, l, last)
			require.Equal(t, sequence(l.Stats().Released+1, last), got)
			require.NoError(t, closeLog(l))
			l = open(t, cfg)
			require.Zero(t, l.Stats().Lost)
			require.True(t, slices.Equal(got, readAll(t, l, last)))
		})
	}
}

// TestCloseOfAHungLog returns at its context's end; what was appended is in the ring.
func TestCloseOfAHungLog(t *testing.T) {
	for _, op := range []string{"sync", "write", "close", "remove", "truncate"} {
		t.Run(op, func(t *testing.T) {
			fsys := newMemFS()
			cfg := small(fsys)
			l := open(t, cfg)
			release := fsys.hang(op)
			defer release()
			last := appendN(t, l, 50)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			require.ErrorIs(t, l.Close(ctx), context.Canceled)
			_, _, err := l.Append(0, nil)
			require.ErrorIs(t, err, ErrClosed)
			require.ErrorIs(t, l.Sync(context.Background()), ErrClosed)
			killed := cfg
			killed.FS = fsys.kill()
			k := open(t, killed)
			require.Equal(t, sequence(1, last), readAll(t, k, last))
			release()
			require.NoError(t, closeLog(l))
		})
	}
}

// TestHangThatEndsInAnError is a failure like any other.
func TestHangThatEndsInAnError(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.HangAfter = 20 * time.Millisecond
	l := open(t, cfg)
	release := fsys.hang("sync")
	fsys.setFault(func(op, _ string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	last := appendN(t, l, 10)
	require.ErrorIs(t, state(t, l, Degraded).Reason, ErrHang)
	before := l.Stats().Unprotected
	_, safe, err := l.Append(byte(last+1), payload(last+1))
	require.NoError(t, err)
	require.True(t, safe, "the ring is as safe as ever")
	release()
	require.Eventually(t, func() bool { s := l.Stats(); return s.State == Degraded && !isHang(s.Reason) }, 30*time.Second, time.Millisecond)
	_, safe, err = l.Append(byte(last+2), payload(last+2))
	require.NoError(t, err)
	require.False(t, safe)
	require.Equal(t, before+1, l.Stats().Unprotected)
	fsys.setFault(nil)
	state(t, l, Healthy)
	require.Equal(t, sequence(1, last+2), readAll(t, l, last+2))
}

func isHang(err error) bool {
	return err != nil && err.Error()[:len(ErrHang.Error())] == ErrHang.Error()
}

// TestRingFullForLong: a disk that is too slow for what comes is a state, with its reason; Sync waits nevertheless.
func TestRingFullForLong(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxBytes = -1
	clock := newFakeClock()
	cfg.Clock = clock.now
	cfg.HangAfter = -1
	l := open(t, cfg)
	release := fsys.hang("write")
	last, _ := appendTo(t, l, func(safe bool) bool { return !safe })
	require.Equal(t, Healthy, l.Stats().State)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // time passes
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				clock.add(100 * time.Millisecond)
			}
		}
	})
	s := state(t, l, Degraded)
	require.ErrorIs(t, s.Reason, ErrRingFull)
	synced := make(chan error, 1)
	go func() { synced <- l.Sync(timeout(t)) }()
	release()
	require.NoError(t, <-synced)
	state(t, l, Healthy)
	close(stop)
	wg.Wait()
	require.True(t, slices.Equal(sequence(1, last), readAll(t, l, last)))
}

// fakeClock is a clock that is set by hand.
type fakeClock struct{ ns atomic.Int64 }

func newFakeClock() *fakeClock {
	c := &fakeClock{}
	c.ns.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *fakeClock) now() time.Time      { return time.Unix(0, c.ns.Load()) }
func (c *fakeClock) add(d time.Duration) { c.ns.Add(int64(d)) }

// TestClockJumpsBack: by a year. What waits for a moment that will not come again goes on: the sync, the backoff, the mark,
// the look at the free space; and nothing seems to hang.
func TestClockJumpsBack(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	clock := newFakeClock()
	cfg.Clock = clock.now
	cfg.SyncEvery, cfg.RetryMin, cfg.RetryMax = 100*time.Millisecond, time.Second, time.Hour
	cfg.MinFree = 1 << 20
	l := open(t, cfg)
	synced := func() bool { s := l.Stats(); return s.Synced+1 == s.Next }
	back := func() { clock.add(-365 * 24 * time.Hour) }

	appendN(t, l, 10)
	require.Eventually(t, synced, 30*time.Second, time.Millisecond, "the first is due")
	last := appendN(t, l, 10)
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.ring.drained == l.ring.head }, 30*time.Second, time.Millisecond)
	require.False(t, synced(), "its time has not come")
	back()
	require.Eventually(t, synced, 30*time.Second, time.Millisecond, "the sync")

	fsys.setFault(func(op, _ string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	last = appendN(t, l, int(last))
	back()
	state(t, l, Degraded)
	fsys.setFault(nil)
	back()
	state(t, l, Healthy)
	require.EqualValues(t, 1, l.Stats().DegradedTimes)

	fsys.mu.Lock()
	fsys.free = 0
	fsys.mu.Unlock()
	back()
	full := func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.full }
	require.Eventually(t, full, 30*time.Second, time.Millisecond, "the free space")
	fsys.mu.Lock()
	fsys.free = 1 << 40
	fsys.mu.Unlock()
	back()
	require.Eventually(t, func() bool { return !full() }, 30*time.Second, time.Millisecond)

	l.Release(last)
	back()
	require.Eventually(t, func() bool { return readBackMark(t, fsys, cfg.Dir).released == last }, 30*time.Second, time.Millisecond, "the mark")

	release := fsys.hang("write")
	appendN(t, l, 1)
	back()
	clock.add(time.Second) // less than HangAfter since the jump
	require.Never(t, func() bool { return l.Stats().State == Degraded }, 600*time.Millisecond, 10*time.Millisecond)
	release()
	require.EqualValues(t, 1, l.Stats().DegradedTimes)
}
