//go:build integration && unix

package chaos

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
)

// The account can fail: each thing that may not be is a problem, and what may be is none.
func TestChaosAccountSees(t *testing.T) {
	const n = 2 * round
	whole := func() *account {
		a := &account{report: &report{Letters: map[string]int{}}, poison: []poison{{}, {reason: dlq.ReasonConflict}}, poisonRows: []uint8{1, 0}}
		b := book{fates: make([]testenv.Fate, n), topic: make([]uint8, n), stored: make([]uint8, n)}
		for i := range n / 2 {
			b.fates[i], b.topic[i], b.stored[i] = testenv.Protected, 1, 1
		}
		a.books = []book{b}
		return a
	}
	for name, c := range map[string]struct {
		change func(a *account, b *book)
		want   string // part of the only problem; "" for none
	}{
		"whole":                        {func(*account, *book) {}, ""},
		"cut off, one of each firer's": {func(_ *account, b *book) { b.stored[round], b.stored[round+quiet] = 1, 1 }, ""},
		"unprotected and gone":         {func(_ *account, b *book) { b.fates[5], b.stored[5] = testenv.Unprotected, 0 }, ""},
		"lost":                         {func(_ *account, b *book) { b.stored[5] = 0 }, "event 5 (tenant-5 1) is LOST; it is in the topic 1 times"},
		"twice":                        {func(_ *account, b *book) { b.stored[7] = 2 }, "event 7 is stored 2 times"},
		"never fired":                  {func(_ *account, b *book) { b.stored[round], b.stored[round+1] = 1, 1 }, "stored and was never fired"},
		"a forged one in its place":    {func(a *account, _ *book) { a.poisonRows[0] = 0 }, "which is good, is stored 0 times"},
	} {
		t.Run(name, func(t *testing.T) {
			a := whole()
			c.change(a, &a.books[0])
			a.settle()
			if c.want == "" {
				require.Empty(t, a.Problems)
				return
			}
			require.Len(t, a.Problems, 1)
			require.Contains(t, a.Problems[0], c.want)
		})
	}
}
