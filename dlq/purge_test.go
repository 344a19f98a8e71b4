package dlq

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestPurge(t *testing.T) {
	d := openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Dead, append(letters("a", 0, 10), letters("b", 0, 3)...)))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 10, 13)))
	odd := func(l *Letter) bool { return l.Offset%2 == 1 }
	purge := func(p Purge) PurgeResult {
		res, err := d.Purge(t.Context(), p)
		require.NoError(t, err)
		return res
	}
	before := stored(t, d, Dead)
	require.Equal(t, PurgeResult{Letters: 6, Waiting: 1}, purge(Purge{Match: odd, DryRun: true}))
	require.Equal(t, before, stored(t, d, Dead))

	require.Equal(t, PurgeResult{Letters: 6, Waiting: 1}, purge(Purge{Match: odd}))
	require.ElementsMatch(t, []string{"a-0", "a-2", "a-4", "a-6", "a-8", "b-0", "b-2"}, ids(stored(t, d, Dead)))
	require.Equal(t, ids(letters("a", 10, 13)), ids(stored(t, d, Waiting)))
	require.Equal(t, PurgeResult{Letters: 1}, purge(Purge{Match: odd, Waiting: true}))
	require.Equal(t, []string{"a-10", "a-12"}, ids(stored(t, d, Waiting)))
	require.Equal(t, 7, d.Stats().Dead.Letters)

	// What somebody works on, and what is damaged, stays.
	files := names(t, d.cfg.Path)
	for _, f := range files {
		path := filepath.Join(d.cfg.Path, f)
		if strings.HasPrefix(f, "b_") {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			b[len(b)-20] ^= 1
			require.NoError(t, os.WriteFile(path, b, 0o600))
		}
		if strings.HasSuffix(f, ".batch") {
			lock, err := d.fs.Lock(path)
			require.NoError(t, err)
			defer lock.Close()
		}
	}
	require.Equal(t, PurgeResult{Letters: 5, Busy: 1, Damaged: 1}, purge(Purge{Waiting: true}))
	require.Len(t, names(t, d.cfg.Path), 2)
}

// A crash at any step of a purge leaves every letter that was not to go, and no damage.
func TestPurgeCrash(t *testing.T) {
	match := func(l *Letter) bool { return l.Offset >= 5 }
	for n := 1; ; n++ {
		m := newMemFS()
		d := openDir(t, DirConfig{Path: "d", fs: m})
		require.NoError(t, d.Put(t.Context(), Dead, append(letters("a", 0, 10), letters("b", 5, 7)...)))
		begin := len(m.ops)
		m.fail = func(at int, _ string) error {
			if at >= begin+n {
				return errPower
			}
			return nil
		}
		_, err := d.Purge(t.Context(), Purge{Match: match})
		changes := len(m.pending)
		for keep := range changes + 1 {
			for _, after := range []*memFS{m.powerCut(keep, -1, 0.5), m.powerCut(changes, keep, 0), m.kill()} {
				again := openDir(t, DirConfig{Path: "d", fs: after})
				left := ids(stored(t, again, Dead))
				require.Subset(t, left, ids(letters("a", 0, 5)), "before operation %d", n)
				if _, err := again.Purge(t.Context(), Purge{Match: match}); err == nil {
					require.Equal(t, ids(letters("a", 0, 5)), ids(stored(t, again, Dead)))
				}
			}
		}
		if err == nil {
			require.Greater(t, n, 8)
			return
		}
	}
}

func TestPurgeTopic(t *testing.T) {
	c := broker(t)
	cl := client(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range 10 {
		l := letter("a", i)
		rec := l.Record(lettersTopic)
		rec.Partition = int32(i / 5)
		require.NoError(t, cl.ProduceSync(t.Context(), rec).FirstErr())
	}
	seeds := kgo.SeedBrokers(c.ListenAddrs()...)
	purge := func(p Purge) PurgeResult {
		res, err := PurgeTopic(t.Context(), lettersTopic, p, seeds)
		require.NoError(t, err)
		return res
	}
	some := Purge{Match: func(l *Letter) bool { return l.Offset != 2 && l.Offset != 5 }}
	dry := some
	dry.DryRun = true
	require.Equal(t, PurgeResult{Letters: 2, Behind: 6}, purge(dry))
	got, _ := readAll(t, c)
	require.Len(t, got, 10)
	require.Equal(t, PurgeResult{Letters: 2, Behind: 6}, purge(some))
	got, _ = readAll(t, c)
	require.ElementsMatch(t, ids(letters("a", 2, 10)), ids(got))
	require.Equal(t, PurgeResult{Letters: 8}, purge(Purge{}))
	got, _ = readAll(t, c)
	require.Empty(t, got)
}
