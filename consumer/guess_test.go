package consumer

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// guessed fails every batch that has one of the rows, with an error that is marked with the row that guess chooses: bad is the
// first of them.
func guessed(err error, ids map[firetrail.ID]bool, guess func(b sinkers.Batch, bad int) int) sinkertest.Hook {
	return func(_ context.Context, b sinkers.Batch) error {
		for i := range b.Rows {
			if ids[b.Rows[i].ID] {
				return sinkers.Suspect(guess(b, i), err)
			}
		}
		return nil
	}
}

func right(_ sinkers.Batch, bad int) int { return bad }

// wrong returns guesses that name a good row wherever there is one.
func wrong(ids map[firetrail.ID]bool) func(sinkers.Batch, int) int {
	return func(b sinkers.Batch, bad int) int {
		for i := range b.Rows {
			if !ids[b.Rows[i].ID] {
				return i
			}
		}
		return bad
	}
}

// rows makes a batch of n new events.
func (w *world) rows(n int) *batch {
	b := &batch{}
	p := newPartition(source{})
	for range n {
		e := w.event("a")
		rec := w.record(e, 0)
		b.add(item{part: p, rec: rec}, recordBytes(rec))
		b.rows = append(b.rows, sinkers.Row{Event: e})
	}
	return b
}

// spread returns the ids of k rows of b, each as far from the next.
func spread(b *batch, k int) map[firetrail.ID]bool {
	ids := map[firetrail.ID]bool{}
	for i := range k {
		ids[b.rows[i*b.len()/k].ID] = true
	}
	return ids
}

// isolated has the bad rows of b found in a sink that fails as hook says, all of them, and returns how many writes it took.
func isolated(t *testing.T, b *batch, bad int, hook sinkertest.Hook) int {
	t.Helper()
	sink := &sinkertest.Memory{}
	sink.OnWrite(hook)
	s, r := newStore(sink, Retry{WriteTimeout: -1}), &rulings{}
	rest, err := s.attempt(t.Context(), b, r)
	require.ErrorIs(t, err, errStrange)
	rest, err = s.isolate(t.Context(), rest, err, r, false)
	require.NoError(t, err)
	require.Nil(t, rest)
	require.Equal(t, rulings{storedRows: b.len() - bad, suspects: bad, proofs: bad}, *r)
	require.Equal(t, b.len()-bad, sink.Len())
	return len(sink.Writes())
}

// A sink that says which row it was has each found in three writes, and a single one in two after the first.
func TestRightGuessesAreCheap(t *testing.T) {
	w := &world{t: t}
	all := w.rows(20_000)
	for _, c := range []struct{ n, k, writes int }{
		{20_000, 1, 3}, {20_000, 2, 6}, {20_000, 20, 60}, {1000, 1000 / 3, 1000}, {1000, 500, 1500}, {2, 1, 3}, {3, 1, 3}, {3, 2, 5},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.k, c.n), func(t *testing.T) {
			b := all.slice(0, c.n)
			bad := spread(b, c.k)
			writes := isolated(t, b, c.k, guessed(sinkers.Permanent(errStrange), bad, right))
			t.Logf("%d writes", writes)
			require.LessOrEqual(t, writes, c.writes)
		})
	}
}

// One that is always wrong costs three writes more than one that says nothing, and indexes that are none of the batch's
// cost none.
func TestWrongGuessesAreCheap(t *testing.T) {
	w := &world{t: t}
	all := w.rows(10_000)
	for _, c := range []struct{ n, k int }{{10_000, 1}, {10_000, 100}, {1000, 1000 / 3}, {2, 1}, {3, 1}} {
		t.Run(fmt.Sprintf("%d of %d", c.k, c.n), func(t *testing.T) {
			b := all.slice(0, c.n)
			bad := spread(b, c.k)
			silent := isolated(t, b, c.k, poison(sinkers.Permanent(errStrange), bad))
			misled := isolated(t, b, c.k, guessed(sinkers.Permanent(errStrange), bad, wrong(bad)))
			t.Logf("%d writes, %d without guesses", misled, silent)
			require.LessOrEqual(t, misled, silent+maxWrong)
			for _, outside := range []int{-1, c.n} {
				writes := isolated(t, b, c.k, guessed(sinkers.Permanent(errStrange), bad, func(sinkers.Batch, int) int { return outside }))
				require.Equal(t, silent, writes, "a guess of %d", outside)
			}
		})
	}
}

// Whatever a sink guesses, right and wrong in turn, or right only where it helps least, it takes no more than 2k(1+log2(n/k)) + 2k + 4 writes.
func TestGuessesAreBounded(t *testing.T) {
	w := &world{t: t}
	all := w.rows(8_192)
	rnd := rand.New(rand.NewPCG(7, 7))
	most := -1 << 30
	for range 300 {
		n := 2 + rnd.IntN(1<<(1+rnd.IntN(13)))
		k := 1 + rnd.IntN(max(min(n-1, 1<<rnd.IntN(9)), 1))
		if k > n/2 { // hardly anything is good: that may be an outage
			continue
		}
		together, bad, at := rnd.IntN(2) == 0, map[firetrail.ID]bool{}, rnd.IntN(n-k+1)
		for len(bad) < k {
			i := rnd.IntN(n)
			if together {
				i = at + len(bad)
			}
			bad[all.rows[i].ID] = true
		}
		honesty, falsely, large := rnd.Float64(), wrong(bad), 2+rnd.IntN(64)
		writes := isolated(t, all.slice(0, n), k, guessed(sinkers.Permanent(errStrange), bad, func(b sinkers.Batch, bad int) int {
			switch {
			case large < 20 && len(b.Rows) > large:
				return falsely(b, bad)
			case large < 20 || rnd.Float64() < honesty:
				return bad
			case rnd.IntN(2) == 0:
				return falsely(b, bad)
			default:
				return rnd.IntN(len(b.Rows))
			}
		}))
		bound := 1 + 2*k*(1+bits.Len(uint(n/k))) + 2*k + 4
		most = max(most, writes-(1+2*k*(1+bits.Len(uint(n/k)))))
		require.LessOrEqual(t, writes, bound, "%d of %d, together %v, honesty %.2f", k, n, together, honesty)
	}
	t.Logf("at the most %d beyond the bound without guesses", most)
}

// A sink that guesses and refuses all it is given is away, and the guesses make no letters.
func TestGuessesInAnOutage(t *testing.T) {
	for name, err := range map[string]error{"permanent": sinkers.Permanent(errStrange), "not understood": errStrange} {
		for _, probes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/probes=%v", name, probes), func(t *testing.T) {
				inWorld(t, 1, func(t *testing.T, w *world) {
					w.events(5000, 0)
					w.sink.OnWrite(func(_ context.Context, b sinkers.Batch) error { return sinkers.Suspect(len(b.Rows)/2, err) })
					r := w.start(func(c *Config) {
						if !probes {
							c.Sink = bare{w.sink}
						}
					})
					w.await("pause", func() bool { return r.Stats().State == Paused })
					require.Less(t, len(w.sink.Writes()), 150, "until it is taken for an outage")
					w.takesItAll(r, 5000)
				})
			})
		}
	}
}
