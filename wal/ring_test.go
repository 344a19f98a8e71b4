package wal

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/race"
)

// heapMapping is a mapping of nothing.
type heapMapping []byte

func (m heapMapping) Bytes() []byte          { return m }
func (m heapMapping) NeedsWritten() bool     { return false }
func (m heapMapping) Written(int, int) error { return nil }
func (m heapMapping) Close() error           { return nil }

// lapped returns the bytes of a small ring that was gone round several times and holds the records first to last,
// over the end of a lap; and where each of their frames begins.
func lapped(t testing.TB, payloadOf func(seq uint64) []byte) (b []byte, first, last uint64, at map[uint64]int) {
	r, err := newRing(heapMapping(make([]byte, ringPage+4096)), logID{1}, 2, 1, 0)
	require.NoError(t, err)
	type place struct{ seq, off uint64 }
	var all []place
	for seq := uint64(1); seq <= 200; seq++ {
		for r.used() > r.size*3/4 {
			all = all[1:]
			require.NoError(t, r.setTail(all[0].off, all[0].seq, 0))
		}
		ok, err := r.put(seq, byte(seq), payloadOf(seq))
		require.NoError(t, err)
		require.True(t, ok)
		all = append(all, place{seq, r.head - uint64(frameHeader+len(payloadOf(seq)))})
	}
	at = map[uint64]int{}
	for _, p := range all {
		at[p.seq] = ringPage + int(p.off%r.size)
	}
	require.Equal(t, all[0].seq, r.tailSeq)
	require.Greater(t, r.head/r.size, r.tail/r.size, "over the end of a lap")
	require.Greater(t, r.tail/r.size, uint64(1), "not the first lap")
	return r.m.Bytes(), r.tailSeq, 200, at
}

func seqsOf(frames []frame) (s []uint64) {
	for _, f := range frames {
		s = append(s, f.seq)
	}
	return s
}

// TestRingEveryBit flips each bit of a ring: what can be read is what was put there, and of the rest it is known how
// many there were, but for the last, which might be a torn one.
func TestRingEveryBit(t *testing.T) {
	good, first, last, at := lapped(t, payload)
	s, err := scanRing(good, logID{1})
	require.NoError(t, err)
	require.Equal(t, sequence(first, last), seqsOf(s.frames))
	require.Empty(t, s.damage)
	places := slices.Sorted(maps.Values(at))
	owner := map[int]uint64{}
	for seq, p := range at {
		owner[p] = seq
	}
	b := slices.Clone(good)
	for bit := 0; bit < len(good)*8; bit += race.Stride(13) {
		pos := bit / 8
		b[pos] ^= 1 << (bit % 8)
		s, err := scanRing(b, logID{1})
		b[pos] = good[pos]
		require.NoError(t, err, "byte %d", pos)
		var hit uint64 // the record whose frame has the bit
		if i, exact := slices.BinarySearch(places, pos); pos >= ringPage && (exact || i > 0) {
			if !exact {
				i--
			}
			if seq := owner[places[i]]; pos < places[i]+frameHeader+len(payload(seq)) {
				hit = seq
			}
		}
		want := slices.DeleteFunc(sequence(first, last), func(seq uint64) bool { return seq == hit })
		if !slices.Equal(want, seqsOf(s.frames)) {
			t.Fatalf("bit %d of byte %d, in record %d: read %s", bit%8, pos, hit, ranges(seqsOf(s.frames)))
		}
		require.Equal(t, hit != 0 && hit != last, s.damage != "", "byte %d: %s", pos, s.damage)
		for _, f := range s.frames {
			if string(f.payload) != string(payload(f.seq)) {
				t.Fatalf("byte %d: record %d has other bytes", pos, f.seq)
			}
		}
	}
}

// TestRingCut cuts a ring's file at each byte, as a careless clean-up may.
func TestRingCut(t *testing.T) {
	good, first, last, _ := lapped(t, payload)
	for n := range len(good) {
		s, err := scanRing(good[:n:n], logID{1})
		require.NoError(t, err)
		for i, f := range s.frames {
			require.True(t, f.seq >= first && f.seq <= last && (i == 0 || f.seq > s.frames[i-1].seq))
			require.Equal(t, string(payload(f.seq)), string(f.payload))
		}
	}
}

// TestRingWideDamage zeroes and fills stretches of a ring, skip marks and whole laps' ends among them.
func TestRingWideDamage(t *testing.T) {
	good, first, last, at := lapped(t, payload)
	for _, fill := range []byte{0, 0xff, 0x20} {
		for _, n := range []int{4, 100, 512, 1500} {
			for from := ringPage; from+n <= len(good); from += 13 {
				b := slices.Clone(good)
				for i := from; i < from+n; i++ {
					b[i] = fill
				}
				s, err := scanRing(b, logID{1})
				require.NoError(t, err)
				want := slices.DeleteFunc(sequence(first, last), func(seq uint64) bool {
					end := at[seq] + frameHeader + len(payload(seq))
					return at[seq] < from+n && end > from && !slices.Equal(b[at[seq]:end], good[at[seq]:end])
				})
				require.Equal(t, ranges(want), ranges(seqsOf(s.frames)), "%d bytes of %#x at %d", n, fill, from)
			}
		}
	}
}

// TestRingStale: frames of an earlier lap, and of an earlier open, never come back, whatever the tail says.
func TestRingStale(t *testing.T) {
	full := func(uint64) []byte { return make([]byte, 128-frameHeader) }
	b, first, last, _ := lapped(t, full)
	again := slices.Clone(b)
	r, err := newRing(heapMapping(again), logID{1}, 3, last+1, 0)
	require.NoError(t, err)
	s, err := scanRing(again, logID{1})
	require.NoError(t, err)
	require.Empty(t, s.frames, "an earlier open")
	ok, err := r.put(last+1, 0, full(0)) // over the first old frame: the others follow it seamlessly
	require.NoError(t, err)
	require.True(t, ok)
	s, err = scanRing(again, logID{1})
	require.NoError(t, err)
	require.Equal(t, sequence(last+1, last+1), seqsOf(s.frames))
	require.Empty(t, s.damage)

	s, err = scanRing(b, logID{1})
	require.NoError(t, err)
	require.Equal(t, sequence(first, last), seqsOf(s.frames), "an earlier lap")
}

// ringOnly returns the files of a log that was killed with n records in the ring alone.
func ringOnly(t testing.TB, n int) (Config, *memFS) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxRecord = 1 << 10
	l := open(t, cfg)
	stuck := fsys.hang("")
	appendN(t, l, n)
	killed := fsys.kill()
	stuck()
	require.NoError(t, closeLog(l))
	return cfg, killed
}

// TestRingDamageAtOpen flips a bit of each byte that a killed log's ring uses, and opens it.
func TestRingDamageAtOpen(t *testing.T) {
	const n = 12
	cfg, killed := ringOnly(t, n)
	name := filepath.Join(cfg.Dir, ringName)
	good := killed.files[name].b
	used := ringPage
	for seq := uint64(1); seq <= n; seq++ {
		used += frameHeader + len(payload(seq))
	}
	last := used - frameHeader - len(payload(n))
	for at := 0; at < used; at += race.Stride(3) {
		if at > ringTail+tailSize && at < ringCopy || at > ringCopy+ringTail+tailSize && at < ringPage {
			continue
		}
		bad := killed.kill()
		b := slices.Clone(good)
		b[at] ^= 4
		bad.put(name, b)
		cfg.FS, cfg.Strict = bad, true
		inside := at >= ringPage && at < last
		if inside {
			_, err := Open(cfg)
			require.ErrorContains(t, err, "damaged", "byte %d", at)
			require.True(t, slices.Equal(b, bad.files[name].b), "nothing was changed")
		}
		cfg.Strict = false
		var losses []Loss
		cfg.OnLoss = func(loss Loss) { losses = append(losses, loss) }
		l, err := Open(cfg)
		require.NoError(t, err, "byte %d", at)
		next := appendN(t, l, 1)
		got := readAll(t, l, next)
		require.EqualValues(t, next, len(got)+int(l.Stats().Lost), "byte %d: %s", at, ranges(got))
		switch {
		case inside:
			require.EqualValues(t, n+1, next)
			require.Len(t, losses, 1, "byte %d", at)
			require.EqualValues(t, 1, losses[0].Records())
			require.Equal(t, name, losses[0].Name)
			require.Positive(t, l.Stats().Damaged)
			asides := 0
			for f, d := range bad.files {
				if filepath.Dir(f) == filepath.Join(cfg.Dir, damagedDir) {
					asides++
					require.True(t, slices.Equal(b, d.b))
				}
			}
			require.Equal(t, 1, asides, "the ring was copied aside")
		case at >= last: // the last one can't be told from a torn one
			require.EqualValues(t, n, next)
			require.Empty(t, losses)
		default: // the page stands twice
			require.EqualValues(t, n+1, next, "byte %d", at)
			require.Empty(t, losses)
		}
		require.NoError(t, closeLog(l))
	}
}

// TestRingPageLost: with both headers or both tails gone nothing of the ring can be read; the mark tells how much
// that was.
func TestRingPageLost(t *testing.T) {
	for what, at := range map[string][2]int{"headers": {40, ringCopy + 40}, "tails": {ringTail + 1, ringCopy + ringTail + 1}} {
		t.Run(what, func(t *testing.T) {
			fsys := newMemFS()
			cfg := small(fsys)
			cfg.SyncEvery = 1
			l := open(t, cfg)
			free := fsys.hang("sync") // the mark is written, nothing is synced
			last := appendN(t, l, 40)
			killed := fsys.kill()
			free()
			require.NoError(t, closeLog(l))
			for name := range killed.files {
				if _, ok := parseSegmentName(filepath.Base(name)); ok {
					delete(killed.files, name)
				}
			}
			killed.files[filepath.Join(cfg.Dir, ringName)].b[at[0]] ^= 1
			killed.files[filepath.Join(cfg.Dir, ringName)].b[at[1]] ^= 1
			m := mark{id: readBackMark(t, killed, cfg.Dir).id}
			require.NoError(t, m.open(killed, filepath.Join(cfg.Dir, markName)))
			m.counter = 100
			require.NoError(t, m.write(0, 0, last))
			cfg.FS = killed
			l = open(t, cfg)
			require.EqualValues(t, last, l.Stats().Lost)
			require.EqualValues(t, last+1, l.Stats().Next, "no sequence is given twice")
			require.EqualValues(t, 1, l.Stats().Damaged)
		})
	}
}

func readBackMark(t testing.TB, fsys FS, dir string) mark {
	m, found, err := readMark(fsys, filepath.Join(dir, markName))
	require.NoError(t, err)
	require.True(t, found)
	return m
}

// TestRingOfAnotherLog is refused: whose records they are can't be known, and using the ring would end them.
func TestRingOfAnotherLog(t *testing.T) {
	cfg, fsys := ringOnly(t, 5)
	_, other := ringOnly(t, 5)
	name := filepath.Join(cfg.Dir, ringName)
	fsys.put(name, other.files[name].b)
	cfg.FS = fsys
	_, err := Open(cfg)
	require.ErrorContains(t, err, "another log")
	require.ErrorContains(t, err, name)
}

// TestRingWithoutMark: the ring alone is enough to know the log by.
func TestRingWithoutMark(t *testing.T) {
	cfg, fsys := ringOnly(t, 5)
	delete(fsys.files, filepath.Join(cfg.Dir, markName))
	cfg.FS = fsys
	l := open(t, cfg)
	require.Equal(t, sequence(1, 5), readAll(t, l, 5))
	require.Zero(t, l.Stats().Lost)
}

// TestRingCost: bytes made up to look like long frames don't make a scan's time the square of its length.
func TestRingCost(t *testing.T) {
	hostile := make([]byte, 64<<10)
	for i := 0; i+8 < len(hostile); i += 4 {
		hostile[i+2] = 1 // 65,536, again and again
	}
	checked := 0
	_, ok := resync(hostile, 0, 7, 1<<20, plausible{ok: func(int, uint64, uint64) bool { checked++; return false }})
	require.False(t, ok)
	require.LessOrEqual(t, checked, len(hostile))
	r := &ring{size: 64 << 10, b: hostile}
	frames, missing := r.scan(0, r.size, 5)
	require.Empty(t, frames)
	require.Zero(t, missing, fmt.Sprint(missing))
}
