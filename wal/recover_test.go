package wal

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKillInMidCopy: a kill while Append copies its record to the ring, at each byte. It had not returned: the record never
// was, and nothing is lost.
func TestKillInMidCopy(t *testing.T) {
	const n = 5
	cfg, killed := ringOnly(t, n)
	name := filepath.Join(cfg.Dir, ringName)
	page := killed.files[name].b[:ringPage]
	r, _, err := openRing(page)
	require.NoError(t, err)
	at := ringPage
	for seq := uint64(1); seq <= n; seq++ {
		at += frameHeader + len(payload(seq))
	}
	whole := make([]byte, frameHeader+len(payload(n+1)))
	putFrame(whole, r.salt(0), n+1, n+1, 0, payload(n+1))
	for copied := 1; copied <= len(whole); copied++ {
		k := killed.kill()
		b := slices.Clone(k.files[name].b)
		copy(b[at:], whole[:copied])
		k.put(name, b)
		cfg.FS, cfg.Strict = k, true // which refuses damage
		l := open(t, cfg)
		last := uint64(n)
		if copied == len(whole) {
			last++
		}
		require.Equal(t, last+1, l.Stats().Next, "%d bytes", copied)
		require.Equal(t, sequence(1, last), readAll(t, l, last))
		require.Zero(t, l.Stats().Lost)
		require.NoError(t, closeLog(l))
	}
}

// TestRingAndSegmentOverlap: after a kill both have the same records, and each is read once; what is bad in the ring the
// segment makes good, and nothing is said to be damaged.
func TestRingAndSegmentOverlap(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	l := open(t, cfg)
	free := fsys.hang("sync")
	const last = 30
	appendN(t, l, last)
	r := l.NewReader()
	require.Len(t, readTo(t, r, last), last, "they are in the segment, and not synced")
	require.NoError(t, r.Close())
	killed := fsys.kill()
	free()
	require.NoError(t, closeLog(l))
	name := filepath.Join(cfg.Dir, ringName)
	cfg.Strict = true
	for _, at := range []int{0, 40, 300, 900} { // 0: unharmed
		k := killed.kill()
		if b := slices.Clone(k.files[name].b); at > 0 {
			b[ringPage+at] ^= 1
			k.put(name, b)
		}
		cfg.FS = k
		l := open(t, cfg)
		next := appendN(t, l, 1)
		require.Equal(t, sequence(1, last+1), readAll(t, l, next))
		require.Zero(t, l.Stats().Lost)
		require.Zero(t, l.Stats().Damaged)
		require.NoError(t, closeLog(l))
		after := k.crash(func() bool { return false })
		cfg.FS = after
		l = open(t, cfg)
		require.Equal(t, sequence(1, last+1), readAll(t, l, next), "all of it is on the disk")
		require.NoError(t, closeLog(l))
	}
}

// TestRingOfAnEarlierTime: a power cut may bring back any earlier state of the ring's blocks; its records are known from the
// segments, and none comes twice.
func TestRingOfAnEarlierTime(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	name := filepath.Join(cfg.Dir, ringName)
	var earlier [][]byte
	for range 4 {
		l := open(t, cfg)
		for range 3 {
			appendN(t, l, 150)
			require.NoError(t, l.Sync(timeout(t)))
			k := fsys.kill()
			earlier = append(earlier, slices.Clone(k.files[name].b))
		}
		require.NoError(t, closeLog(l))
	}
	const last = 4 * 3 * 150
	for i, b := range earlier {
		k := fsys.kill()
		k.put(name, b)
		c := cfg
		c.FS, c.MaxBytes = k, -1
		l := open(t, c)
		next := appendN(t, l, 1)
		require.EqualValues(t, last+1, next, "ring %d", i)
		require.True(t, slices.Equal(sequence(1, next), readAll(t, l, next)), "ring %d", i)
		require.Zero(t, l.Stats().Lost)
		require.NoError(t, closeLog(l))
	}
}

// TestMarkAheadOfTheSegments: a power cut took the last segments, whose loss the mark tells. No sequence is given twice.
func TestMarkAheadOfTheSegments(t *testing.T) {
	for _, released := range []uint64{0, 30, 200} {
		cfg, fsys := written(t, 200)
		cfg.FS = fsys
		l := open(t, cfg)
		l.Release(released)
		require.NoError(t, closeLog(l))
		first := uint64(201)
		for i := len(l.segs) - 3; i < len(l.segs); i++ {
			if i >= 0 {
				delete(fsys.files, l.segs[i].name)
				first = min(first, l.segs[i].first)
			}
		}
		cfg.Strict = true
		if released == 200 {
			l = open(t, cfg) // all that is gone was released
			require.NoError(t, closeLog(l))
			continue
		}
		_, err := Open(cfg)
		require.ErrorContains(t, err, "the mark says")
		cfg.Strict = false
		var losses []Loss
		cfg.OnLoss = func(loss Loss) { losses = append(losses, loss) }
		l = open(t, cfg)
		require.EqualValues(t, 201, l.Stats().Next)
		last := appendN(t, l, 1)
		got := readAll(t, l, last)
		require.Equal(t, append(sequence(l.Stats().Released+1, first-1), last), got)
		require.Len(t, losses, 1)
		require.Equal(t, [2]uint64{max(first, released+1), 200}, [2]uint64{losses[0].From, losses[0].To})
		require.EqualValues(t, first-1-l.Stats().Released, l.Stats().Recovered)
	}
}

// TestHalfWrittenSegment: the making of a segment was stopped at any moment. Nothing was in it, and nothing is lost.
func TestHalfWrittenSegment(t *testing.T) {
	h := header{id: logID{}, a: 99, b: 61, c: 7}
	one := h.append(nil, magicSegment)
	for what, b := range map[string][]byte{
		"empty":           {},
		"zeros":           make([]byte, 4096),
		"half a header":   append(slices.Clone(one[:30]), make([]byte, 4000)...),
		"only the second": append(make([]byte, headerSize), one...),
		"only the first":  append(slices.Clone(one), make([]byte, 4000)...),
		"whole":           slices.Concat(one, one, make([]byte, 4000)),
		"two halves":      slices.Concat(one[:30], make([]byte, 34), one[:30], make([]byte, 500)),
	} {
		t.Run(what, func(t *testing.T) {
			cfg, fsys := written(t, 60)
			id := readBackMark(t, fsys, cfg.Dir).id
			b := slices.Clone(b)
			for _, at := range []int{0, headerSize} { // the log's id, where there is a header
				if len(b) >= at+headerSize && b[at+63] == 0 && string(b[at:at+8]) == magicSegment && b[at+40] == 61 {
					copy(b[at+16:], id[:])
					sum(b[at:])
				}
			}
			fsys.put(segmentName(cfg.Dir, 99), b)
			fsys.windows = true
			cfg.FS = fsys
			l := open(t, cfg)
			last := appendN(t, l, 1)
			require.EqualValues(t, 61, last)
			require.Equal(t, sequence(1, 61), readAll(t, l, last))
			require.Zero(t, l.Stats().Lost)
			require.NoError(t, closeLog(l))
			l = open(t, cfg)
			require.Equal(t, sequence(1, 61), readAll(t, l, last))
		})
	}
}

// TestReleasedWithoutASegment: records read from memory and released while nothing could be written are in no segment. The ring's
// tail knows that they were released, whatever the mark knows.
func TestReleasedWithoutASegment(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	l := open(t, cfg)
	appendN(t, l, 20)
	require.NoError(t, l.Sync(timeout(t)))
	fsys.setFault(func(op, _ string) error { return onlyOf(errShort, op, "write", "create") })
	last := appendN(t, l, 50)
	state(t, l, Degraded)
	require.Equal(t, sequence(1, last), readAll(t, l, last))
	l.Release(last)
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.ring.tailSeq == last+1 }, 30*time.Second, time.Millisecond)
	k := fsys.kill()
	cfg.FS = k
	cfg.Strict = true
	n := open(t, cfg)
	require.Zero(t, n.Stats().Lost)
	require.Equal(t, last+1, n.Stats().Next)
	require.True(t, n.Drained())
}

// TestOtherSizes: a log is read whatever the sizes in the config were when it was written.
func TestOtherSizes(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxBytes = -1
	last := uint64(0)
	for round, c := range []struct{ ring, record, segment int }{
		{64 << 10, 16 << 10, 64 << 10},
		{256 << 10, 512, 4 << 10},
		{64 << 10, 16 << 10, 128 << 10},
		{128 << 10, 1 << 10, 4 << 10},
		{64 << 10, 300, 2 << 10},
	} {
		cfg.RingSize, cfg.MaxRecord, cfg.SegmentSize = c.ring, c.record, int64(c.segment)
		cfg.FS = fsys
		l := open(t, cfg)
		require.Zero(t, l.Stats().Lost, "round %d", round)
		free := fsys.hang([]string{"sync", "write"}[round%2]) // in a segment too, or in the ring alone
		for range 3 {
			last++
			seq, _, err := l.Append(1, make([]byte, c.record))
			require.NoError(t, err)
			require.Equal(t, last, seq)
		}
		k := fsys.kill()
		free()
		require.NoError(t, closeLog(l))
		fsys = k
	}
	cfg.FS = fsys
	l := open(t, cfg)
	r := l.NewReader()
	defer func() { require.NoError(t, r.Close()) }()
	for next := uint64(1); next <= last; {
		records, err := r.Read(timeout(t), nil, 10)
		require.NoError(t, err)
		for _, rec := range records {
			require.Equal(t, next, rec.Seq)
			next++
		}
	}
	require.Zero(t, l.Stats().Lost)
	require.Zero(t, l.Stats().Damaged)
}

// TestFailedRingIsNotTouched: while a failed ring can't be replaced its mapping is closed, and nobody may look at it; with no room
// for an overflow, too.
func TestFailedRingIsNotTouched(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxOverflow = -1
	l := open(t, cfg)
	appendN(t, l, 10)
	require.NoError(t, l.Sync(timeout(t)))
	fsys.setFault(func(op, _ string) error { return onlyOf(errShort, op, "map") })
	l.mu.Lock()
	_ = l.disk.ringFails(&ringError{"a test"})
	l.mu.Unlock()
	state(t, l, Degraded)
	for range 100 {
		_, _, err := l.Append(0, nil)
		require.ErrorIs(t, err, ErrFull)
		l.mu.Lock()
		require.True(t, l.queued)
		l.mu.Unlock()
	}
	fsys.setFault(nil)
	state(t, l, Healthy)
	require.Eventually(t, func() bool { _, safe, err := l.Append(11, payload(11)); return err == nil && safe }, 30*time.Second, time.Millisecond)
	require.Equal(t, sequence(1, 11), readAll(t, l, 11))
}

// TestPowerCutAfterReleasedWithoutASegment: what was released and is in no segment is in the mark, on the disk, before
// Open writes what lies behind it: or it would seem lost.
func TestPowerCutAfterReleasedWithoutASegment(t *testing.T) {
	fsys := newMemFS()
	cfg := small(fsys)
	l := open(t, cfg)
	appendN(t, l, 20)
	require.NoError(t, l.Sync(timeout(t)))
	fsys.setFault(func(op, name string) error {
		if strings.HasSuffix(name, segmentSuffix) {
			return onlyOf(syscall.EIO, op, "write")
		}
		return onlyOf(syscall.EIO, op, "create", "sync")
	})
	last := appendN(t, l, 50)
	state(t, l, Degraded)
	require.Equal(t, sequence(1, last), readAll(t, l, last))
	l.Release(40)
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.ring.tailSeq == 41 }, 30*time.Second, time.Millisecond)
	k := fsys.kill()
	cfg.FS = k
	n := open(t, cfg)
	require.Equal(t, sequence(41, last), readAll(t, n, last))
	cfg.FS = k.crash(never)
	n = open(t, cfg)
	got := readAll(t, n, last)
	require.Zero(t, n.Stats().Lost, "read %s", ranges(got))
	require.Equal(t, sequence(41, last), got)
}

// TestReaderPassesALossAtTheEnd: what is lost behind the last record isn't waited for.
func TestReaderPassesALossAtTheEnd(t *testing.T) {
	cfg, fsys := written(t, 60)
	m, _, err := readMark(fsys, filepath.Join(cfg.Dir, markName))
	require.NoError(t, err)
	require.NoError(t, m.open(fsys, filepath.Join(cfg.Dir, markName)))
	require.NoError(t, m.write(0, 60, 70))
	cfg.FS = fsys
	l := open(t, cfg)
	require.EqualValues(t, 10, l.Stats().Lost)
	r := l.NewReader()
	readTo(t, r, 60)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = r.Read(ctx, nil, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.EqualValues(t, 71, r.Next())
	require.NoError(t, r.Close())
}
