package wal

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files of this version, if there are none")

// TestGolden reads a log of each version of the format that there ever was: kept as files, so that a program that
// can't read what an older one wrote shows here. It was killed: 1 to 60 are in segments, 61 to 80 in the ring alone, up
// to 7 is released.
func TestGolden(t *testing.T) {
	current := filepath.Join("testdata", fmt.Sprintf("v%d", Version))
	if _, err := os.Stat(current); os.IsNotExist(err) && *update {
		writeGolden(t, current)
	}
	versions, err := filepath.Glob(filepath.Join("testdata", "v*"))
	require.NoError(t, err)
	require.Contains(t, versions, current, "run it with -update")
	for _, version := range versions {
		t.Run(filepath.Base(version), func(t *testing.T) {
			cfg := goldenConfig(OSFS())
			cfg.Dir = filepath.Join(t.TempDir(), "log")
			require.NoError(t, os.CopyFS(cfg.Dir, os.DirFS(version)))
			require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, lockName), nil, 0o600))
			var seqs []uint64
			r, err := Inspect(cfg, func(rec Record) {
				require.Equal(t, string(payload(rec.Seq)), string(rec.Payload))
				seqs = append(seqs, rec.Seq)
			})
			require.NoError(t, err)
			require.Empty(t, r.Missing)
			require.EqualValues(t, 7, r.Released)
			require.Equal(t, sequence(8, 80), seqs)
			l := open(t, cfg)
			require.EqualValues(t, 81, l.Stats().Next)
			last := appendN(t, l, 1)
			require.Equal(t, sequence(8, last), readAll(t, l, last))
			require.Zero(t, l.Stats().Lost)
		})
	}
}

func goldenConfig(fsys FS) Config {
	cfg := small(fsys)
	cfg.MaxRecord, cfg.SegmentSize = 512, 2<<10
	return cfg
}

func writeGolden(t *testing.T, dir string) {
	fsys := newMemFS()
	cfg := goldenConfig(fsys)
	l := open(t, cfg)
	appendN(t, l, 60)
	require.NoError(t, l.Sync(timeout(t)))
	l.Release(7)
	require.Eventually(t, func() bool { return readBackMark(t, fsys, cfg.Dir).released == 7 }, 30*time.Second, time.Millisecond)
	free := fsys.hang("write")
	appendN(t, l, 20)
	k := fsys.kill()
	free()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, d := range k.files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(name)), d.b, 0o600))
	}
}

// TestOtherVersionIsRefused: older and newer than this program knows. The error names the file and both versions, and nothing
// is changed.
func TestOtherVersionIsRefused(t *testing.T) {
	cfg, written := ringOnly(t, 10)
	cfg.FS = written
	l := open(t, cfg)
	require.NoError(t, closeLog(l))
	for file, heads := range map[string][]int{"0000000000000000.seg": {0, headerSize}, markName: {0, markSlot}, ringName: {0, ringCopy}} {
		for _, version := range []byte{Version - 1, Version + 1} {
			fsys := written.kill()
			name := filepath.Join(cfg.Dir, file)
			b := slices.Clone(fsys.files[name].b)
			for _, at := range heads {
				if len(b) >= at+headerSize {
					b[at+8] = version
					sum(b[at:])
				}
			}
			fsys.put(name, b)
			before := contents(fsys)
			cfg.FS = fsys
			_, err := Open(cfg)
			require.ErrorIs(t, err, ErrVersion, "%s", file)
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, fmt.Sprintf("its version is %d, this program's %d", version, Version))
			require.Equal(t, before, contents(fsys), "%s", file)
		}
	}
}

func contents(fsys *memFS) map[string]string {
	m := map[string]string{}
	for name, d := range fsys.files {
		m[name] = string(d.b)
	}
	return m
}
