package wal

import (
	"path/filepath"
	"slices"
	"sync"
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

// TestInspectLive looks at a log again and again while it is written, released and rotated: nothing seems missing or damaged, and
// the log goes on undisturbed.
func TestInspectLive(t *testing.T) {
	cfg := small(OSFS())
	cfg.Dir = filepath.Join(t.TempDir(), "log")
	cfg.MaxBytes = -1
	l := open(t, cfg)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, _, err := l.Append(byte(n), payload(n)); err != nil {
				t.Error(err)
				return
			}
			if n%200 == 0 {
				if err := l.Sync(t.Context()); err != nil {
					t.Error(err)
				}
				l.Release(n - min(n, 1000))
			}
		}
	})
	for l.Stats().Next < 20_000 {
		var last uint64
		r, err := Inspect(Config{Dir: cfg.Dir, MaxRecord: cfg.MaxRecord}, func(rec Record) {
			require.Equal(t, string(payload(rec.Seq)), string(rec.Payload))
			require.Greater(t, rec.Seq, last)
			last = rec.Seq
		})
		require.NoError(t, err)
		require.True(t, r.InUse)
		require.Empty(t, r.Missing)
		require.Empty(t, r.Damaged)
	}
	close(stop)
	wg.Wait()
	require.Zero(t, l.Stats().DegradedTimes)
	require.Zero(t, l.Stats().Lost)
}

// TestInspectRing: a bad ring is shown with its loss; a ring that only other versions can read is said to be that.
func TestInspectRing(t *testing.T) {
	cfg, fsys := ringOnly(t, 20)
	withLockFile(fsys, cfg.Dir)
	name := filepath.Join(cfg.Dir, ringName)
	fsys.files[name].b[ringPage+200] ^= 1
	cfg.FS = fsys
	r, err := Inspect(cfg, nil)
	require.NoError(t, err)
	require.Equal(t, "damaged: 1 missing", r.Ring.Problem)
	require.Len(t, r.Missing, 1)
	require.EqualValues(t, 19, r.Pending)
	require.EqualValues(t, 19, r.Ring.Records)
	for _, at := range []int{0, ringCopy} {
		fsys.files[name].b[at+8] = Version + 1
		sum(fsys.files[name].b[at:])
	}
	r, err = Inspect(cfg, nil)
	require.NoError(t, err)
	require.Contains(t, r.Ring.Problem, "its version is 2")
}

func TestInBoth(t *testing.T) {
	losses := func(ranges ...uint64) (all []Loss) {
		for i := 0; i < len(ranges); i += 2 {
			all = append(all, Loss{From: ranges[i], To: ranges[i+1]})
		}
		return all
	}
	require.Equal(t, losses(5, 6, 9, 10, 30, 30), inBoth(losses(1, 10, 20, 25, 30, 40), losses(5, 6, 9, 12, 26, 30)))
	require.Empty(t, inBoth(losses(1, 10), losses(11, 12)))
	require.Empty(t, inBoth(losses(1, 10), nil))
}
