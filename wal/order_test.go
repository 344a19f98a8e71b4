package wal

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recording is the calls to a file system that went well, in order.
type recording struct {
	mu    sync.Mutex
	calls [][2]string // operation, file
}

func (r *recording) add(op, name string) {
	r.mu.Lock()
	r.calls = append(r.calls, [2]string{op, name})
	r.mu.Unlock()
}

// before reports whether between the call at i and the one before it to the same effect as since, there is want.
func (r *recording) between(since, i int, op, name string) bool {
	return slices.Contains(r.calls[max(since, 0):i], [2]string{op, name})
}

// last returns the place of the last such call before i, -1 for none.
func (r *recording) last(i int, op, name string) int {
	for i--; i >= 0; i-- {
		if r.calls[i] == [2]string{op, name} {
			return i
		}
	}
	return -1
}

// TestOrderOfCalls: what the crash contract rests on. No segment is deleted before the mark that passes it is written and
// synced; a segment's name is durable before anything is written to it; a deletion is made durable; a segment that is
// full is synced before it is closed and the next begun; what a kill left is on the disk before the ring that has it is
// mapped to be made empty.
func TestOrderOfCalls(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.SegmentSize, cfg.MaxRecord = 4<<10, 512
	rec := &recording{}
	fsys.record = rec.add
	l := open(t, cfg)
	for range 20 {
		last := appendN(t, l, 100)
		require.NoError(t, l.Sync(timeout(t)))
		l.Release(last - 50)
		require.Eventually(t, func() bool { return l.Stats().Segments < 4 }, 30*time.Second, time.Millisecond)
	}
	free := fsys.hang("sync")
	appendN(t, l, 10)
	k := fsys.kill()
	free()
	require.NoError(t, closeLog(l))
	rec.add("again", "")
	k.record = rec.add
	cfg.FS = k
	l = open(t, cfg)
	require.NoError(t, closeLog(l))

	rec.mu.Lock()
	defer rec.mu.Unlock()
	isSegment := func(name string) bool { return strings.HasSuffix(name, segmentSuffix) }
	begun, removed := "", 0
	again := rec.last(len(rec.calls), "again", "")
	for i, c := range rec.calls {
		op, name := c[0], c[1]
		switch {
		case op == "remove" && isSegment(name):
			removed++
			wrote, synced := rec.last(i, "write", markName), rec.last(i, "sync", markName)
			require.True(t, wrote >= 0 && synced > wrote, "%s was removed at %d with a mark that was not synced", name, i)
			require.True(t, slices.Contains(rec.calls[i:], [2]string{"syncdir", "log"}), "the removal of %s was not made durable", name)
		case op == "write" && isSegment(name):
			synced := rec.last(i, "syncdir", "log")
			require.Greater(t, synced, rec.last(i, "rename", spareName), "%s was written to before its name was durable", name)
			if name != begun && begun != "" && i < again {
				require.Greater(t, rec.last(i, "sync", begun), rec.last(i, "write", begun), "%s was left with bytes that were not synced", begun)
			}
			begun = name
		case op == "map" && i > again:
			for s := again; s < i; s++ {
				if rec.calls[s][0] == "write" && isSegment(rec.calls[s][1]) {
					require.True(t, rec.between(s, i, "sync", rec.calls[s][1]), "the ring was made empty before its copy was synced")
				}
			}
		}
	}
	require.Greater(t, removed, 10)
}

// TestWindows: an open file can be neither renamed nor removed there. The log does without; what a reader has open goes
// later.
func TestWindows(t *testing.T) {
	fsys := newMemFS()
	fsys.windows = true
	cfg := small(fsys)
	cfg.SegmentSize = 16 << 10
	l := open(t, cfg)
	last := appendN(t, l, 1500)
	require.NoError(t, l.Sync(timeout(t)))
	require.Zero(t, l.Stats().DegradedTimes)
	r := l.NewReader()
	readTo(t, r, 1)
	l.Release(last)
	require.Eventually(t, func() bool { return l.Stats().RemoveErrors > 0 }, 30*time.Second, time.Millisecond, "the reader has it open")
	require.NoError(t, r.Close())
	require.Eventually(t, func() bool { return l.Stats().Segments == 1 }, 30*time.Second, time.Millisecond)

	l.mu.Lock() // a ring that fails is replaced while its file is mapped
	_ = l.disk.ringFails(&ringError{"a test"})
	l.mu.Unlock()
	require.Eventually(t, func() bool { s := l.Stats(); return s.DegradedTimes == 1 && s.State == Healthy }, 30*time.Second, time.Millisecond)
	last = appendN(t, l, 10)
	require.NoError(t, l.Sync(timeout(t)))
	require.Equal(t, sequence(last-9, last), readAll(t, l, last))
	require.Zero(t, l.Stats().Lost)
	require.NoError(t, closeLog(l))
	l = open(t, cfg)
	require.Equal(t, sequence(last-9, last), readAll(t, l, last))
}
