package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/race"
)

// small is a log of small parts, so that tests come to every corner of it.
func small(fsys FS) Config {
	return Config{
		Dir: "/log", FS: fsys, RingSize: 64 << 10, MaxRecord: 4 << 10, SegmentSize: 32 << 10, MaxBytes: 1 << 20,
		SyncEvery: time.Millisecond, RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond,
	}
}

func open(t testing.TB, cfg Config) *Log {
	l, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = closeLog(l) })
	return l
}

func closeLog(l *Log) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return l.Close(ctx)
}

func timeout(t interface{ Cleanup(func()) }) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// payload is the record that seq must have: another length and content for each.
func payload(seq uint64) []byte {
	return []byte(fmt.Sprintf("%d:%s", seq, strings.Repeat("x", int(seq%97))))
}

func appendN(t testing.TB, l *Log, n int) (last uint64) {
	for range n {
		l.mu.Lock()
		next := l.next
		l.mu.Unlock()
		seq, _, err := l.Append(byte(next), payload(next))
		require.NoError(t, err)
		require.Equal(t, next, seq)
		last = seq
	}
	return last
}

// readTo reads until the record last, checks each, and returns their sequences.
func readTo(t testing.TB, r *Reader, last uint64) (seqs []uint64) {
	ctx := timeout(t)
	var records []Record
	for {
		var err error
		records, err = r.Read(ctx, records[:0], 100)
		require.NoError(t, err, "after %v", seqs)
		for _, rec := range records {
			require.Equal(t, payload(rec.Seq), rec.Payload)
			require.Equal(t, byte(rec.Seq), rec.Type)
			seqs = append(seqs, rec.Seq)
			if rec.Seq == last {
				return seqs
			}
		}
	}
}

func sequence(from, to uint64) (s []uint64) {
	for ; from <= to; from++ {
		s = append(s, from)
	}
	return s
}

// ranges is seqs for people: 1-5 7-9.
func ranges(seqs []uint64) string {
	var b strings.Builder
	for i := 0; i < len(seqs); {
		j := i
		for j+1 < len(seqs) && seqs[j+1] == seqs[j]+1 {
			j++
		}
		fmt.Fprintf(&b, "%d-%d ", seqs[i], seqs[j])
		i = j + 1
	}
	return b.String()
}

func readAll(t testing.TB, l *Log, last uint64) []uint64 {
	r := l.NewReader()
	defer func() { require.NoError(t, r.Close()) }()
	return readTo(t, r, last)
}

func TestAppendReadReleaseReopen(t *testing.T) {
	for name, fsys := range map[string]func(t *testing.T) (FS, string){
		"memory": func(*testing.T) (FS, string) { return newMemFS(), "/log" },
		"os":     func(t *testing.T) (FS, string) { return OSFS(), filepath.Join(t.TempDir(), "log") },
	} {
		t.Run(name, func(t *testing.T) {
			f, dir := fsys(t)
			cfg := small(f)
			cfg.Dir = dir
			l := open(t, cfg)
			last := appendN(t, l, 2000)
			r := l.NewReader()
			require.Equal(t, sequence(1, last), readTo(t, r, last))
			r.Seek(1500)
			require.Equal(t, sequence(1500, last), readTo(t, r, last))
			l.Release(1000)
			require.Eventually(t, func() bool { return l.Stats().Segments < 5 }, 5*time.Second, time.Millisecond)
			require.NoError(t, r.Close())
			require.NoError(t, closeLog(l))
			require.NoError(t, closeLog(l), "Close twice")
			_, _, err := l.Append(0, nil)
			require.ErrorIs(t, err, ErrClosed)

			l = open(t, cfg)
			require.EqualValues(t, last+1, l.Stats().Next)
			require.EqualValues(t, last-1000, l.Stats().Recovered)
			last = appendN(t, l, 10)
			require.Equal(t, sequence(1001, last), readAll(t, l, last))
			require.Zero(t, l.Stats().Lost)
			l.Release(last)
			require.True(t, l.Drained())
		})
	}
}

func TestMemoryLog(t *testing.T) {
	l, err := OpenMemory(Config{MaxBytes: 1 << 20})
	require.NoError(t, err)
	last := appendN(t, l, 5000)
	r := l.NewReader()
	require.Equal(t, sequence(1, last), readTo(t, r, last))
	r.Seek(77)
	require.Equal(t, sequence(77, last), readTo(t, r, last))
	l.Release(last)
	require.True(t, l.Drained())
	require.ErrorIs(t, l.Sync(context.Background()), ErrNotDurable)

	n := 0
	for err == nil {
		_, _, err = l.Append(1, make([]byte, 1000))
		n++
	}
	require.ErrorIs(t, err, ErrFull)
	require.Greater(t, n, 1000)
	l.Release(l.Stats().Next - 1)
	_, _, err = l.Append(1, nil)
	require.NoError(t, err, "room again")
	require.NoError(t, closeLog(l))
	_, err = r.Read(context.Background(), nil, 1)
	require.ErrorIs(t, err, ErrClosed)
}

func TestReadWaits(t *testing.T) {
	l := open(t, small(newMemFS()))
	r := l.NewReader()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := r.Read(ctx, nil, 1)
	require.ErrorIs(t, err, context.Canceled)
	got := make(chan []uint64)
	go func() { got <- readTo(t, r, 1) }()
	appendN(t, l, 1)
	require.Equal(t, []uint64{1}, <-got)
	go func() {
		_, err := r.Read(context.Background(), nil, 1)
		if errors.Is(err, ErrClosed) {
			got <- nil
		}
	}()
	require.NoError(t, closeLog(l))
	<-got
}

func TestAppendRefuses(t *testing.T) {
	fsys := newMemFS()
	fsys.free = 1 << 20
	cfg := small(fsys)
	l := open(t, cfg)
	_, _, err := l.Append(0, make([]byte, cfg.MaxRecord+1))
	require.ErrorIs(t, err, ErrTooLarge)
	require.Eventually(t, func() bool {
		_, _, err := l.Append(0, nil)
		return errors.Is(err, ErrFull)
	}, 5*time.Second, time.Millisecond, "the floor of free bytes")
}

func TestMaxBytes(t *testing.T) {
	cfg := small(newMemFS())
	cfg.MaxBytes = 128 << 10
	l := open(t, cfg)
	var last uint64
	for {
		next := last + 1
		seq, _, err := l.Append(byte(next), payload(next))
		if err != nil {
			require.ErrorIs(t, err, ErrFull)
			break
		}
		last = seq
	}
	require.Equal(t, sequence(1, last), readAll(t, l, last))
	l.Release(last)
	require.Eventually(t, func() bool {
		_, _, err := l.Append(byte(last+1), payload(last+1))
		return err == nil
	}, 5*time.Second, time.Millisecond, "room again after Release")
}

func TestConcurrentAppend(t *testing.T) {
	cfg := small(OSFS())
	cfg.Dir, cfg.MaxBytes, cfg.RingSize = t.TempDir(), -1, 1<<20
	l := open(t, cfg)
	const workers, each = 8, 3000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				_, _, err := l.Append(byte(w), []byte(fmt.Sprint(w, " ", i)))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := [workers]int{}
	r := l.NewReader()
	defer func() { _ = r.Close() }()
	for seq := uint64(1); seq <= workers*each; {
		records, err := r.Read(timeout(t), nil, 500)
		require.NoError(t, err)
		for _, rec := range records {
			require.Equal(t, seq, rec.Seq)
			require.Equal(t, fmt.Sprint(rec.Type, " ", next[rec.Type]), string(rec.Payload))
			next[rec.Type]++
			seq++
		}
		l.Release(seq - 1)
	}
	wg.Wait()
}

func TestSync(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.SyncEvery = time.Hour
	for _, policy := range []SyncPolicy{SyncInterval, SyncCommit, SyncNone} {
		cfg.Sync = policy
		l := open(t, cfg)
		last := appendN(t, l, 10)
		require.NoError(t, l.Sync(timeout(t)))
		crashed := cfg
		crashed.FS = fsys.crash(func() bool { return false }) // nothing that wasn't synced is left
		c := open(t, crashed)
		require.Equal(t, sequence(1, last), readAll(t, c, last), "policy %d", policy)
		require.NoError(t, closeLog(c))
		require.NoError(t, closeLog(l))
	}
}

func TestSyncCoversTheOverflow(t *testing.T) {
	fsys := newMemFS()
	l := open(t, small(fsys))
	slow := make(chan struct{})
	fsys.setFault(func(string, string) error { <-slow; return nil })
	last := appendN(t, l, 2000) // more than the ring holds
	close(slow)
	require.Positive(t, l.Stats().Unprotected)
	require.NoError(t, l.Sync(timeout(t)))
	cfg := small(fsys.crash(func() bool { return false }))
	c := open(t, cfg)
	require.True(t, slices.Equal(sequence(1, last), readAll(t, c, last)))
}

func TestKillLosesNothing(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxBytes = -1
	var last uint64
	for range 20 {
		cfg.FS = fsys
		l := open(t, cfg)
		require.Equal(t, last+1, l.Stats().Next)
		last = appendN(t, l, 1+rand.IntN(300))
		unsafe := l.Stats().Unprotected
		fsys = fsys.kill()
		require.Zero(t, unsafe)
		_ = closeLog(l) // on the old file system, which nobody reads any more
	}
	cfg.FS = fsys
	l := open(t, cfg)
	require.Equal(t, sequence(1, last), readAll(t, l, last))
	require.Zero(t, l.Stats().Lost)
}

func TestKillThenPowerCut(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.SyncEvery = time.Hour
	l := open(t, cfg)
	last := appendN(t, l, 50)
	r := l.NewReader()
	require.Len(t, readTo(t, r, last), 50) // they are in a segment, not synced
	require.NoError(t, r.Close())
	cfg.FS = fsys.kill()
	k := open(t, cfg)
	require.NoError(t, k.Sync(timeout(t)))
	cfg.FS = cfg.FS.(*memFS).crash(func() bool { return false })
	c := open(t, cfg)
	require.True(t, slices.Equal(sequence(1, last), readAll(t, c, last)), "what Sync vouched for, after a kill too")
}

func TestFramesThatFillTheRingExactly(t *testing.T) {
	l := open(t, small(newMemFS()))
	rec := make([]byte, 64-frameHeader) // 1,024 frames a lap, and nothing left over
	const n = 5000
	for i := range n {
		_, _, err := l.Append(1, rec)
		require.NoError(t, err)
		if i%500 == 0 {
			require.NoError(t, l.Sync(timeout(t)))
		}
	}
	require.NoError(t, l.Sync(timeout(t)))
	r := l.NewReader()
	defer func() { require.NoError(t, r.Close()) }()
	var records []Record
	for last := uint64(0); last < n; last = records[len(records)-1].Seq {
		var err error
		records, err = r.Read(timeout(t), nil, 1000)
		require.NoError(t, err)
	}
	require.Zero(t, l.Stats().DegradedTimes)
	require.Zero(t, l.Stats().Lost)
}

func TestRingIsUsedAgainUnderTraffic(t *testing.T) {
	fsys := newMemFS()
	l := open(t, small(fsys))
	slow := make(chan struct{})
	fsys.setFault(func(string, string) error { <-slow; return nil })
	appendN(t, l, 2000)
	close(slow)
	// Each sync takes as long as it takes some more records to come.
	fsys.setFault(func(op, _ string) error {
		if op == "sync" {
			<-time.After(2 * time.Millisecond)
		}
		return nil
	})
	require.Eventually(t, func() bool {
		next := l.Stats().Next
		_, safe, err := l.Append(byte(next), payload(next))
		return err == nil && safe
	}, 10*time.Second, 100*time.Microsecond)
	last := l.Stats().Next - 1
	got := readAll(t, l, last)
	require.True(t, slices.Equal(sequence(1, last), got), "read %s, %+v", ranges(got), l.Stats())
	require.Zero(t, l.Stats().Lost)
}

func TestPowerCutKeepsWhatWasSynced(t *testing.T) {
	for seed := uint64(0); seed < 60; seed += uint64(race.Stride(3)) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		fsys := newMemFS()
		cfg := small(fsys)
		unsynced := map[uint64]bool{} // at a power cut: these may be gone
		for round := range 4 {
			cfg.FS = fsys
			l := open(t, cfg)
			synced := appendN(t, l, 1+rnd.IntN(800))
			require.NoError(t, l.Sync(timeout(t)))
			for last := max(synced, appendN(t, l, rnd.IntN(50))); last > synced; last-- {
				unsynced[last] = true
			}
			fsys = fsys.crash(randomly(rnd))
			_ = closeLog(l)

			cfg.FS = fsys.kill()
			l = open(t, cfg)
			require.Greater(t, l.Stats().Next, synced)
			last := appendN(t, l, 1)
			got := readAll(t, l, last)
			read := map[uint64]bool{}
			for _, seq := range got {
				read[seq] = true
			}
			for seq := uint64(1); seq <= synced; seq++ {
				require.True(t, read[seq] || unsynced[seq], "seed %d, round %d: %d of %d is missing; read %s", seed, round, seq, synced, ranges(got))
			}
			require.EqualValues(t, last, len(got)+int(l.Stats().Lost), "each sequence is read or counted: seed %d, round %d", seed, round)
			require.NoError(t, closeLog(l))
		}
	}
}

func TestDegradedAndBack(t *testing.T) {
	eio := func(ops ...string) func(op, name string) error {
		return func(op, name string) error {
			for _, o := range ops {
				if op == o && name != markName {
					return syscall.EIO
				}
			}
			return nil
		}
	}
	for name, fault := range map[string]func(op, name string) error{
		"write": eio("write"),
		"sync":  eio("sync"),
		"no space": func(op, _ string) error {
			return map[string]error{"allocate": syscall.ENOSPC, "write": syscall.ENOSPC}[op]
		},
		"short":     func(op, n string) error { return map[string]error{"write": errShort}[op] },
		"rename":    eio("rename", "write"),
		"directory": eio("syncdir", "write"),
	} {
		t.Run(name, func(t *testing.T) {
			fsys := newMemFS()
			cfg := small(fsys)
			cfg.MaxOverflow = 4 << 20
			var mu sync.Mutex
			var states []State
			cfg.OnState = func(s StateChange) { mu.Lock(); states = append(states, s.State); mu.Unlock() }
			l := open(t, cfg)
			appendN(t, l, 100)
			require.NoError(t, l.Sync(timeout(t)))
			fsys.setFault(fault)
			appendN(t, l, 1)
			require.Eventually(t, func() bool { return l.Stats().State == Degraded }, 5*time.Second, time.Millisecond)
			require.Error(t, l.Stats().Reason)
			require.ErrorIs(t, l.Sync(timeout(t)), ErrDegraded)
			before := l.Stats().Unprotected
			last := appendN(t, l, 3000) // far over the ring
			require.EqualValues(t, before+3000, l.Stats().Unprotected)
			require.Equal(t, sequence(1, last), readAll(t, l, last), "readable while the disk refuses")
			l.Release(50)
			fsys.setFault(nil)
			require.Eventually(t, func() bool { s := l.Stats(); return s.State == Healthy && s.Overflow == 0 }, 5*time.Second, time.Millisecond)
			seq, safe, err := l.Append(byte(last+1), payload(last+1))
			require.NoError(t, err)
			require.True(t, safe, "protected again")
			require.NoError(t, l.Sync(timeout(t)))
			killed := cfg
			killed.FS = fsys.crash(func() bool { return false })
			k := open(t, killed)
			got := readAll(t, k, seq)
			require.Equal(t, sequence(got[0], seq), got)
			require.LessOrEqual(t, got[0], uint64(51))
			require.Zero(t, k.Stats().Lost)
			mu.Lock()
			require.Equal(t, []State{Degraded, Healthy}, states)
			mu.Unlock()
		})
	}
}

func TestReleasedWhileDegraded(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	l := open(t, cfg)
	appendN(t, l, 10)
	require.NoError(t, l.Sync(timeout(t)))
	fsys.setFault(func(op, name string) error {
		if op == "write" && name != markName {
			return syscall.EIO
		}
		return nil
	})
	r := l.NewReader()
	for range 50 { // many times what ring and queue hold: shipping goes on from memory
		last := appendN(t, l, 1000)
		got := readTo(t, r, last)
		require.Equal(t, last, got[len(got)-1])
		l.Release(last)
		require.Eventually(t, func() bool { s := l.Stats(); return s.Overflow == 0 }, 5*time.Second, time.Millisecond)
	}
	require.NoError(t, r.Close())
}

func TestOverflowIsBounded(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxOverflow = 8 << 10
	fsys.setFault(func(op, name string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	l := open(t, cfg)
	var last uint64
	for {
		seq, _, err := l.Append(byte(last+1), payload(last+1))
		if err != nil {
			require.ErrorIs(t, err, ErrFull)
			break
		}
		last = seq
	}
	fsys.setFault(nil)
	require.Eventually(t, func() bool { s := l.Stats(); return s.State == Healthy && s.Overflow == 0 }, 5*time.Second, time.Millisecond)
	last = appendN(t, l, 5)
	require.Equal(t, sequence(1, last), readAll(t, l, last))
}

func TestCloseWhenNothingWorks(t *testing.T) {
	fsys := newMemFS()
	l := open(t, small(fsys))
	fsys.setFault(func(op, _ string) error {
		if op == "write" || op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	last := appendN(t, l, 20)
	require.ErrorIs(t, closeLog(l), syscall.EIO)
	fsys.setFault(nil)
	l = open(t, small(fsys))
	require.Equal(t, sequence(1, last), readAll(t, l, last), "the ring still had them")
}

func TestMarkThatCannotBeWritten(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	l := open(t, cfg)
	last := appendN(t, l, 1500)
	require.NoError(t, l.Sync(timeout(t)))
	segments := l.Stats().Segments
	require.Greater(t, segments, 2)
	fsys.setFault(func(op, name string) error {
		if name == markName && op == "write" {
			return syscall.EIO
		}
		return nil
	})
	l.Release(last)
	require.Eventually(t, func() bool { return l.Stats().MarkErrors > 0 }, 5*time.Second, time.Millisecond)
	require.Equal(t, Healthy, l.Stats().State, "it costs records read twice, no more")
	require.Equal(t, segments, l.Stats().Segments, "nothing is deleted that the mark on disk still asks for")
	fsys.setFault(nil)
	require.Eventually(t, func() bool { return l.Stats().Segments == 1 }, 5*time.Second, time.Millisecond)
}

func TestSegmentThatCannotBeDeleted(t *testing.T) {
	fsys := newMemFS()
	l := open(t, small(fsys))
	last := appendN(t, l, 1500)
	require.NoError(t, l.Sync(timeout(t)))
	fsys.setFault(func(op, _ string) error {
		if op == "remove" {
			return syscall.EACCES
		}
		return nil
	})
	l.Release(last)
	require.Eventually(t, func() bool { return l.Stats().RemoveErrors > 0 }, 5*time.Second, time.Millisecond)
	require.Equal(t, Healthy, l.Stats().State)
	fsys.setFault(nil)
	require.Eventually(t, func() bool { return l.Stats().Segments == 1 }, 5*time.Second, time.Millisecond, "it is tried again")
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	_, err := Open(Config{Dir: dir})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, closeLog(l))
	l = open(t, Config{Dir: dir})
	require.NoError(t, closeLog(l))
}

func TestConfig(t *testing.T) {
	_, err := Open(Config{RingSize: 1000, SegmentSize: 10, MaxBytes: 5, Sync: 9, RetryMin: 10, RetryMax: 5})
	for _, field := range []string{"Dir", "RingSize", "SegmentSize", "MaxBytes", "Sync", "RetryMin"} {
		require.ErrorContains(t, err, field)
	}
}
