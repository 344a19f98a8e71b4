package dlq

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func deliverAll(_ context.Context, ls []Letter) []Outcome {
	out := make([]Outcome, len(ls))
	for i := range out {
		out[i] = Delivered
	}
	return out
}

// One operation is 1,000 letters of about 450 bytes, put and synced, then read, delivered and removed.
func BenchmarkDir(b *testing.B) {
	ls := letters("acme", 0, 1000)
	for i := range ls {
		ls[i].Value = append(ls[i].Value, make([]byte, 400)...)
		for j := range ls[i].Value {
			ls[i].Value[j] = 'a' + byte(j%26)
		}
	}
	d, err := OpenDir(DirConfig{Path: filepath.Join(b.TempDir(), "dlq")})
	require.NoError(b, err)
	b.Run("put", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, d.Put(b.Context(), Waiting, ls))
		}
		b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
		_, err := d.Retry(b.Context(), deliverAll)
		require.NoError(b, err)
	})
	b.Run("put and retry", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, d.Put(b.Context(), Waiting, ls))
			_, err := d.Retry(b.Context(), deliverAll)
			require.NoError(b, err)
		}
		b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
	})
	require.NoError(b, d.Close())
}

func BenchmarkLine(b *testing.B) {
	l := letter("acme", 1)
	l.Value = append(l.Value, make([]byte, 400)...)
	for i := range l.Value {
		l.Value[i] = 'a' + byte(i%26)
	}
	e := entry{Letter: l}
	line := appendLetter(nil, &e)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		b.ReportAllocs()
		buf := line
		for b.Loop() {
			buf = appendLetter(buf[:0], &e)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		b.ReportAllocs()
		for b.Loop() {
			_, _ = checkLine(line[:len(line)-1])
			_, _ = parseLetter(line[:len(line)-1])
		}
	})
}
