package wal

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// segmentFiles is how many segment files there are.
func (m *memFS) segmentFiles() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.files {
		if strings.HasSuffix(name, segmentSuffix) {
			n++
		}
	}
	return n
}

// TestLastingFailureMakesNoFiles: each try to write again begins a segment; a disk that goes on failing is not filled
// with them.
func TestLastingFailureMakesNoFiles(t *testing.T) {
	fsys := newMemFS()
	l := open(t, small(fsys))
	appendN(t, l, 10)
	require.NoError(t, l.Sync(timeout(t)))
	before := fsys.segmentFiles()
	var mu sync.Mutex
	failed := 0
	fsys.setFault(func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, segmentSuffix) {
			mu.Lock()
			failed++
			mu.Unlock()
			return syscall.EIO
		}
		return nil
	})
	last := appendN(t, l, 10)
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return failed > 20 }, 30*time.Second, time.Millisecond)
	require.LessOrEqual(t, fsys.segmentFiles(), before+2)
	require.LessOrEqual(t, l.Stats().Segments, before+2)
	require.Equal(t, sequence(1, last), readAll(t, l, last))
	fsys.setFault(nil)
	require.Eventually(t, func() bool { return l.Stats().State == Healthy }, 30*time.Second, time.Millisecond)
	require.NoError(t, l.Sync(timeout(t)))
	require.Equal(t, sequence(1, last), readAll(t, l, last))
}

// TestReleaseRacesClose: what is released while Close deletes segments is in the mark that it leaves behind.
func TestReleaseRacesClose(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.SyncEvery = time.Hour // the mark is written by Close
	l := open(t, cfg)
	last := appendN(t, l, 2000)
	require.NoError(t, l.Sync(timeout(t)))
	l.Release(500)
	var once sync.Once
	fsys.setFault(func(op, name string) error {
		if op == "truncate" { // Close finishes the last segment
			once.Do(func() { l.Release(1500) })
		}
		if op == "remove" {
			l.Release(1900)
		}
		return nil
	})
	require.NoError(t, closeLog(l))
	fsys.setFault(nil)
	l = open(t, cfg)
	got := readAll(t, l, last)
	require.Zero(t, l.Stats().Lost, "read %s", ranges(got))
	require.Equal(t, sequence(got[0], last), got)
	require.LessOrEqual(t, got[0], uint64(1901))
	require.Greater(t, got[0], uint64(500))
}

// TestFailedMarkSync: a sync that failed once proves nothing when it is called again; the mark is written anew before
// segments are deleted.
func TestFailedMarkSync(t *testing.T) {
	fsys := newMemFS()
	l := open(t, small(fsys))
	last := appendN(t, l, 1500)
	require.NoError(t, l.Sync(timeout(t)))
	var mu sync.Mutex
	var calls []string
	failed := false
	fsys.setFault(func(op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if name == markName && (op == "sync" || op == "write") {
			calls = append(calls, op)
			if op == "sync" && !failed {
				failed = true
				return syscall.EIO
			}
		}
		return nil
	})
	l.Release(last)
	require.Eventually(t, func() bool { return l.Stats().Segments == 1 }, 30*time.Second, time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	for i, op := range calls {
		if i > 0 && op == "sync" {
			require.Equal(t, "write", calls[i-1], "%v", calls)
		}
	}
}

// TestCloseSavesAllOfTheOverflow, however much it is.
func TestCloseSavesAllOfTheOverflow(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxBytes, cfg.MaxRecord, cfg.SegmentSize = -1, 16<<10, 1<<20
	l := open(t, cfg)
	free := fsys.hang("write")
	big := make([]byte, 16<<10)
	n := 0
	for l.Stats().Overflow*uint64(len(big)) < 8<<20 {
		_, _, err := l.Append(1, big)
		require.NoError(t, err)
		n++
	}
	closed := make(chan error)
	go func() { closed <- closeLog(l) }()
	<-l.done
	free()
	require.NoError(t, <-closed)
	require.Zero(t, l.Stats().OverflowLost)
	r, err := Inspect(Config{Dir: cfg.Dir, FS: withLockFile(fsys, cfg.Dir)}, nil)
	require.NoError(t, err)
	require.EqualValues(t, n, r.Pending)
}

// withLockFile gives the directory the lock's file, which memFS does without.
func withLockFile(fsys *memFS, dir string) *memFS {
	fsys.put(filepath.Join(dir, lockName), nil)
	return fsys
}

// TestReaderWaitsForARingThatFailed: the records of a ring that failed may yet be saved; a reader doesn't pass over them to
// those in memory behind them.
func TestReaderWaitsForARingThatFailed(t *testing.T) {
	fsys := newMemFS()
	l := open(t, small(fsys))
	free := fsys.hang("create")
	freeOpen := fsys.hang("write")
	inRing := appendN(t, l, 20)
	l.mu.Lock()
	l.disk.ringFailed, l.queued = &ringError{"a test"}, true
	l.mu.Unlock()
	last := appendN(t, l, 20)
	r := l.NewReader()
	defer func() { require.NoError(t, r.Close()) }()
	records := r.readMemory(nil, 100, l.news)
	require.Empty(t, records, "they would seem read, and be released")
	free()
	freeOpen()
	require.Equal(t, sequence(1, last), readTo(t, r, last))
	require.Greater(t, last, inRing)
	require.Zero(t, l.Stats().Lost)
}

func TestLosses(t *testing.T) {
	var g lost
	add := func(from, to uint64) (n uint64) {
		for _, p := range g.add(Loss{From: from, To: to}) {
			n += p.Records()
		}
		return n
	}
	require.EqualValues(t, 3, add(10, 12))
	require.EqualValues(t, 3, add(20, 22))
	require.EqualValues(t, 0, add(11, 12))
	require.EqualValues(t, 10, add(8, 23), "what is between, and at both ends")
	require.Len(t, g, 1)
	require.EqualValues(t, 1, add(24, 24))
	require.EqualValues(t, 5, add(1, 5))
	require.EqualValues(t, 25, g.past(8))
	require.EqualValues(t, 6, g.past(2))
	require.EqualValues(t, 7, g.past(7))
	g.forget(24)
	require.Empty(t, g)
}

// TestMarkNeverGoesBack: a mark that did would ask for segments that are deleted.
func TestMarkNeverGoesBack(t *testing.T) {
	fsys := newMemFS()
	m := mark{id: logID{1}}
	require.NoError(t, m.open(fsys, "/log/mark"))
	require.NoError(t, m.write(10, 20, 30))
	require.NoError(t, m.write(5, 25, 1))
	got := readBackMark(t, fsys, "/log")
	require.Equal(t, []uint64{10, 25, 30}, []uint64{got.released, got.synced, got.kept})
}

// never keeps nothing of what was not synced.
func never() bool { return false }

// TestRingFailsWithTheSync: what a failed sync was asked for isn't on the disk, though a second sync of the file succeeds; the
// records of a ring that failed at the same moment are saved from the ring.
func TestRingFailsWithTheSync(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.SyncEvery = time.Hour
	l := open(t, cfg)
	appendN(t, l, 1)
	require.NoError(t, l.Sync(timeout(t)))
	failed := false
	fsys.setFault(func(op, name string) error {
		if op != "sync" || !strings.HasSuffix(name, segmentSuffix) || failed {
			return nil
		}
		failed = true
		l.mu.Lock()
		_ = l.disk.ringFails(&ringError{"a test"})
		l.mu.Unlock()
		return syscall.EIO
	})
	last := appendN(t, l, 20)
	require.ErrorIs(t, l.Sync(timeout(t)), ErrDegraded)
	state(t, l, Healthy)
	require.NoError(t, l.Sync(timeout(t)))
	cfg.FS = fsys.crash(never)
	l = open(t, cfg)
	require.Equal(t, sequence(1, last), readAll(t, l, last))
}

// TestRingWhoseLastRecordIsBad is copied aside before it is replaced, like any other of which something is missing.
func TestRingWhoseLastRecordIsBad(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	l := open(t, cfg)
	free := fsys.hang("write")
	last := appendN(t, l, 20)
	l.mu.Lock()
	l.ring.b[l.ring.head-1] ^= 1
	aside := filepath.Join(cfg.Dir, damagedDir, asideName(l.ring.gen))
	l.mu.Unlock()
	free()
	require.Eventually(t, func() bool { return l.Stats().Lost == 1 }, 30*time.Second, time.Millisecond)
	state(t, l, Healthy)
	appendN(t, l, 1)
	require.Equal(t, append(sequence(1, last-1), last+1), readAll(t, l, last+1))
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	require.Contains(t, fsys.files, aside)
}

// TestRingHasNoHole: a record that the overflow has no room for doesn't end it, though all that was in it was released: the ring
// has no place for a sequence that isn't its next.
func TestRingHasNoHole(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxOverflow, cfg.HangAfter = 2<<10, 20*time.Millisecond
	l := open(t, cfg)
	free := fsys.hang("")
	defer free()
	var last uint64
	for safe := true; safe; {
		var err error
		last, safe, err = l.Append(1, make([]byte, 1<<10))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.hung }, 30*time.Second, time.Millisecond)
	l.Release(last)
	_, _, err := l.Append(1, make([]byte, 4<<10))
	require.ErrorIs(t, err, ErrFull)
	_, safe, err := l.Append(1, []byte("small"))
	require.NoError(t, err)
	require.False(t, safe, "a scan of the ring would take it for another ring's")
}

// TestSyncNoneAfterAFailure: Sync is believed for what was copied to a file that was given up, too.
func TestSyncNoneAfterAFailure(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.Sync = SyncNone
	l := open(t, cfg)
	appendN(t, l, 20)
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.copied == 20 }, 30*time.Second, time.Millisecond)
	fsys.setFault(func(op, name string) error {
		if strings.HasSuffix(name, segmentSuffix) {
			return onlyOf(syscall.ENOSPC, op, "write")
		}
		return nil
	})
	last := appendN(t, l, 1)
	state(t, l, Degraded)
	fsys.setFault(nil)
	state(t, l, Healthy)
	require.NoError(t, l.Sync(timeout(t)))
	cfg.FS = fsys.crash(never)
	l = open(t, cfg)
	require.Equal(t, sequence(1, last), readAll(t, l, last))
}

// afterRemove is a file system that says what was deleted.
type afterRemove struct {
	*memFS
	then atomic.Pointer[func(name string)]
}

func (f *afterRemove) Remove(name string) error {
	err := f.memFS.Remove(name)
	if then := f.then.Load(); then != nil {
		(*then)(name)
	}
	return err
}

// A reader that comes to a segment just as it is deleted goes on behind it.
func TestReaderComesAsASegmentGoes(t *testing.T) {
	for name, c := range map[string]struct {
		at  uint64 // where it reads
		let func(fsys *memFS, l *Log)
	}{
		"given up": {1 << 40, func(fsys *memFS, l *Log) {
			fsys.setFault(func(op, name string) error {
				if op == "sync" && name != markName {
					return syscall.EIO
				}
				return nil
			})
			appendN(t, l, 1)
		}},
		"released": {1, func(_ *memFS, l *Log) { l.Release(1900) }},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := &afterRemove{memFS: newMemFS()}
			cfg := small(fsys)
			l := open(t, cfg)
			appendN(t, l, 2000)
			require.NoError(t, l.Sync(timeout(t)))
			read := make(chan error, 100)
			then := func(name string) {
				if !strings.HasSuffix(name, ".seg") {
					return
				}
				r := l.NewReader()
				r.Seek(c.at)
				_, err := r.readSegments(nil, 1)
				select {
				case read <- errors.Join(err, r.Close()):
				default:
				}
			}
			fsys.then.Store(&then)
			c.let(fsys.memFS, l)
			for range 3 {
				select {
				case err := <-read:
					require.NoError(t, err)
				case <-timeout(t).Done():
					t.Fatal("no segment was deleted")
				}
			}
			fsys.then.Store(nil)
			require.Zero(t, l.Stats().Lost)
			fsys.setFault(nil)
		})
	}
}
