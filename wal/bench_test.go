package wal

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkRecovery opens a log with a backlog and reads it all, beside reading the same files with nothing but
// read(2).
func BenchmarkRecovery(b *testing.B) {
	cfg := Config{Dir: b.TempDir(), MaxBytes: -1, MinFree: -1}
	const size, records = 400, 256 << 20 / 400
	l, err := Open(cfg)
	require.NoError(b, err)
	rec := bytes.Repeat([]byte("r"), size)
	for range records {
		if seq, safe, err := l.Append(1, rec); err != nil || !safe {
			require.NoError(b, err)
			l.wake()
			require.NoError(b, l.Sync(context.Background()), seq)
		}
	}
	require.NoError(b, closeLog(l))
	segs, err := OSFS().ReadDir(cfg.Dir)
	require.NoError(b, err)
	b.Run("read alone", func(b *testing.B) {
		b.SetBytes(size * records)
		for range b.N {
			for _, name := range segs {
				if _, ok := parseSegmentName(name); ok {
					_, err := os.ReadFile(cfg.Dir + "/" + name)
					require.NoError(b, err)
				}
			}
		}
	})
	b.Run("open", func(b *testing.B) {
		for range b.N {
			l, err := Open(cfg)
			require.NoError(b, err)
			b.StopTimer()
			require.NoError(b, closeLog(l))
			b.StartTimer()
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(size * records)
		for range b.N {
			l, err := Open(cfg)
			require.NoError(b, err)
			r := l.NewReader()
			var batch []Record
			for n := 0; n < records; n += len(batch) {
				batch, err = r.Read(context.Background(), batch[:0], 1000)
				require.NoError(b, err)
			}
			require.NoError(b, r.Close())
			b.StopTimer()
			require.NoError(b, closeLog(l))
			b.StartTimer()
		}
	})
}

// BenchmarkScanRing is what Open pays for a ring of the default size in which nothing waits: all of it is looked through.
func BenchmarkScanRing(b *testing.B) {
	r, err := newRing(heapMapping(make([]byte, ringPage+16<<20)), logID{1}, 2, 1, 0)
	require.NoError(b, err)
	rec := bytes.Repeat([]byte("record. "), 50)
	for seq := uint64(1); seq < 100_000; seq++ {
		if r.used() > r.size/2 {
			require.NoError(b, r.setTail(r.head, seq, 0))
		}
		ok, err := r.put(seq, 1, rec)
		require.True(b, ok)
		require.NoError(b, err)
	}
	require.NoError(b, r.setTail(r.head, r.headSeq, 0))
	b.SetBytes(int64(r.size))
	for b.Loop() {
		s, err := scanRing(r.m.Bytes(), logID{1})
		require.NoError(b, err)
		require.Empty(b, s.frames)
	}
}
