package wal

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/race"
)

// written returns the files of a log that was closed with n records in two or more segments.
func written(t *testing.T, n int) (Config, *memFS) {
	fsys := newMemFS()
	cfg := small(fsys)
	cfg.MaxRecord, cfg.SegmentSize = 256, 1<<10
	l := open(t, cfg)
	appendN(t, l, n)
	require.NoError(t, closeLog(l))
	return cfg, fsys.kill()
}

// TestEveryByte damages a log at every byte of every segment, in two ways. What can be read is what was
// written, in order; what can't is counted; appending and opening again goes on behind it.
func TestEveryByte(t *testing.T) {
	const n = 20
	cfg, fsys := written(t, n)
	for how, damage := range map[string]func(b []byte, at int) []byte{
		"flipped": func(b []byte, at int) []byte { b[at] ^= 0x10; return b },
		"cut":     func(b []byte, at int) []byte { return b[:at] },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cfg := cfg
			for name, data := range fsys.files {
				if _, ok := parseSegmentName(filepath.Base(name)); !ok {
					continue
				}
				for at := 0; at < len(data.b); at += race.Stride(5) {
					bad := fsys.kill()
					bad.put(name, damage(slices.Clone(data.b), at))
					cfg.FS = bad
					checkDamaged(t, cfg, n, how, name, at)
				}
			}
		})
	}
}

func checkDamaged(t *testing.T, cfg Config, n int, how, name string, at int) {
	t.Helper()
	for round := uint64(1); round <= 2; round++ {
		l, err := Open(cfg)
		require.NoError(t, err, "%s %s at %d", how, name, at)
		last := appendN(t, l, 1)
		require.EqualValues(t, n+int(round), last, "%s %s at %d", how, name, at)
		require.NoError(t, l.Sync(timeout(t))) // it wakes the drain
		got := readAll(t, l, last)
		require.True(t, slices.IsSorted(got))
		require.EqualValues(t, last, len(got)+int(l.Stats().Lost), "%s %s at %d, round %d: read %v", how, name, at, round, got)
		require.NoError(t, closeLog(l))
	}
}

func TestMissingSegment(t *testing.T) {
	cfg, fsys := written(t, 200)
	var names []string
	for name := range fsys.files {
		if _, ok := parseSegmentName(filepath.Base(name)); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	delete(fsys.files, names[1])
	cfg.FS = fsys
	var losses []Loss
	cfg.OnLoss = func(l Loss) { losses = append(losses, l) }
	l := open(t, cfg)
	got := readAll(t, l, 200)
	require.Len(t, losses, 1)
	require.EqualValues(t, 200, len(got)+int(losses[0].Records()))
	require.EqualValues(t, losses[0].Records(), l.Stats().Lost)
	readAll(t, l, 200)
	require.EqualValues(t, losses[0].Records(), l.Stats().Lost, "a loss is counted once")
}

func TestDamageIsSetAside(t *testing.T) {
	cfg, fsys := written(t, 60)
	name := segmentName(cfg.Dir, 0)
	fsys.files[name].b[dataStart+100] ^= 1
	cfg.FS = fsys
	cfg.Strict = true
	l, err := Open(cfg) // the damage is in the first segment, which Open doesn't read
	require.NoError(t, err)
	readAll(t, l, 60)
	require.NoError(t, closeLog(l))
	require.Contains(t, fsys.files, filepath.Join(cfg.Dir, damagedDir, filepath.Base(name)))
}

func TestMarkSlots(t *testing.T) {
	cfg, fsys := written(t, 60)
	cfg.FS = fsys
	l := open(t, cfg)
	l.Release(30)
	require.NoError(t, closeLog(l))
	l = open(t, cfg)
	l.Release(40)
	require.NoError(t, closeLog(l))
	name := filepath.Join(cfg.Dir, markName)
	good := slices.Clone(fsys.files[name].b)
	for _, bad := range []func(b []byte) []byte{
		func(b []byte) []byte { b[40] ^= 1; return b },
		func(b []byte) []byte { b[markSlot+40] ^= 1; return b },
		func(b []byte) []byte { return b[:markSlot] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { clear(b); return b },
	} {
		k := fsys.kill()
		k.put(name, bad(slices.Clone(good)))
		cfg.FS = k
		l := open(t, cfg)
		last := appendN(t, l, 1)
		require.EqualValues(t, 61, last)
		got := readAll(t, l, last)
		require.LessOrEqual(t, got[0], uint64(41), "records may come twice, never not at all")
		require.Equal(t, sequence(got[0], last), got)
		require.Zero(t, l.Stats().Lost)
		require.NoError(t, closeLog(l))
	}
}

func TestForeignSegmentIsRefused(t *testing.T) {
	cfg, fsys := written(t, 10)
	_, other := written(t, 10)
	fsys.put(segmentName(cfg.Dir, 7), other.files[segmentName(cfg.Dir, 0)].b)
	cfg.FS = fsys
	_, err := Open(cfg)
	require.ErrorContains(t, err, "says it is segment 0")
	delete(fsys.files, segmentName(cfg.Dir, 7))
	fsys.put(segmentName(cfg.Dir, 0), other.files[segmentName(cfg.Dir, 0)].b)
	_, err = Open(cfg)
	require.ErrorContains(t, err, "another log")
}

// TestCopySurvivesAPowerCut: the copy of a damaged file is on the disk before the file is removed.
func TestCopySurvivesAPowerCut(t *testing.T) {
	cfg, fsys := written(t, 60)
	name := segmentName(cfg.Dir, 0)
	fsys.files[name].b[10] ^= 1
	fsys.files[name].b[headerSize+10] ^= 1
	bad := string(fsys.files[name].b)
	cfg.FS = fsys
	open(t, cfg)
	calls := 0
	c := fsys.crash(func() bool { calls++; return calls > len(fsys.files) })
	for _, d := range c.files {
		if string(d.b) == bad {
			return
		}
	}
	t.Fatal("neither the file nor its copy is there")
}

// TestEachCopyHasItsName: a segment whose header is bad leaves its number to another one, which may come to harm too.
func TestEachCopyHasItsName(t *testing.T) {
	cfg, fsys := written(t, 10)
	cfg.FS = fsys
	name := segmentName(cfg.Dir, 0)
	for range 2 {
		fsys.files[name].b[10] ^= 1
		fsys.files[name].b[headerSize+10] ^= 1
		l := open(t, cfg)
		appendN(t, l, 10)
		require.NoError(t, closeLog(l))
	}
	copies := 0
	for f := range fsys.files {
		if filepath.Dir(f) == filepath.Join(cfg.Dir, damagedDir) {
			copies++
		}
	}
	require.Equal(t, 2, copies)
}
