package producer

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMarks compares marks with a map of all there is.
func TestMarks(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		low := r.Uint64N(1000)
		m, all := newMarks(low), map[uint64]bool{}
		isDone := func(seq uint64) bool { return seq <= low || all[seq] }
		for range 200 {
			from := low + 1
			seq := from + r.Uint64N(1+r.Uint64N(300))
			if r.IntN(20) == 0 {
				m.setTo(seq)
				for ; from <= seq; from++ {
					all[from] = true
				}
			} else {
				moved := m.set(seq)
				require.Equal(t, seq == low+1 && !isDone(seq), moved)
				all[seq] = true
			}
			for all[low+1] {
				low++
			}
			require.Equal(t, low, m.low)
			for s := low - min(low, 5); s < low+400; s++ {
				if isDone(s) != m.has(s) {
					t.Fatalf("seed %d: %d", seed, s)
				}
			}
		}
	}
}

// TestMarksStayFlat marks all but one, as when a partition is away, and then that one.
func TestMarksStayFlat(t *testing.T) {
	m := newMarks(0)
	const n = 100_000
	for seq := uint64(2); seq <= n; seq++ {
		m.set(seq)
	}
	require.LessOrEqual(t, len(m.words), n/64+1, "a bit each")
	require.True(t, m.set(1))
	require.EqualValues(t, n, m.low)
	require.LessOrEqual(t, len(m.words), 1)
	for seq := uint64(n + 1); seq <= 2*n; seq++ {
		m.set(seq)
	}
	require.LessOrEqual(t, cap(m.words), n/32)
}
