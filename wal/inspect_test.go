package wal

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInspect(t *testing.T) {
	cfg := small(OSFS())
	cfg.Dir = filepath.Join(t.TempDir(), "log")
	_, err := Inspect(cfg, nil)
	require.ErrorContains(t, err, "listing")
	l := open(t, cfg)
	last := appendN(t, l, 2000)
	require.NoError(t, l.Sync(timeout(t)))
	l.Release(100)
	inspect := func() (Report, []uint64) {
		var seqs []uint64
		r, err := Inspect(cfg, func(rec Record) {
			require.Equal(t, payload(rec.Seq), rec.Payload)
			seqs = append(seqs, rec.Seq)
		})
		require.NoError(t, err)
		return r, seqs
	}
	r, seqs := inspect()
	require.True(t, r.InUse)
	require.True(t, slices.Equal(sequence(r.Released+1, last), seqs), "what Sync returned for is in the files, whatever way it took")
	require.NoError(t, closeLog(l))
	r, seqs = inspect()
	require.False(t, r.InUse)
	require.EqualValues(t, 100, r.Released)
	require.True(t, slices.Equal(sequence(101, last), seqs))
	require.EqualValues(t, last-100, r.Pending)
	require.Empty(t, r.Missing)
	require.Greater(t, len(r.Segments), 1)
	for _, s := range r.Segments {
		require.Empty(t, s.Problem)
		require.EqualValues(t, s.Last-s.First+1, s.Records)
	}
	again, _ := inspect()
	require.Equal(t, r, again, "looking changes nothing")
}

func TestInspectDamage(t *testing.T) {
	cfg, fsys := written(t, 60)
	cfg.FS = fsys
	fsys.files[segmentName(cfg.Dir, 0)].b[dataStart+30] ^= 1
	fsys.put(segmentName(cfg.Dir, 99), []byte("not a segment"))
	fsys.put(filepath.Join(cfg.Dir, lockName), nil)
	var seqs []uint64
	r, err := Inspect(cfg, func(rec Record) { seqs = append(seqs, rec.Seq) })
	require.NoError(t, err)
	require.Len(t, r.Missing, 1)
	require.EqualValues(t, 60, len(seqs)+int(r.Missing[0].Records()))
	require.Equal(t, "damaged", r.Segments[0].Problem)
	require.Contains(t, r.Segments[len(r.Segments)-1].Problem, "header")
}
