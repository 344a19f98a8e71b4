//go:build integration && unix

package libsql

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

// jumbled returns rows of some sources whose sequences don't go up with their ids, some beyond int64.
func jumbled(t *testing.T, n int) (rows []sinkers.Row, want []sinkers.Position) {
	rows = someRows(t, 0, n)
	for i := range rows {
		r := &rows[i]
		r.Source, r.Seq = fmt.Sprint("run ", i%3), uint64((i*7919)%n+1)
		if i%100 == 0 {
			r.Seq = math.MaxUint64 - r.Seq
		}
	}
	want = positions(rows)
	slices.SortFunc(want, comparePositions)
	return rows, want
}

func positions(rows []sinkers.Row) (p []sinkers.Position) {
	for i := range rows {
		r := &rows[i]
		p = append(p, sinkers.Position{Tenant: r.Tenant, Source: r.Source, Seq: r.Seq, ID: r.ID, Time: r.Time})
	}
	return p
}

// A scan is in order whatever its pages and passes are, and what is stored while it runs, of which more may be seen than of what
// was stored before, is no part of it.
func TestScanInPasses(t *testing.T) {
	s := openWith(t, namespaceConfig(t))
	rows, want := jumbled(t, 25_000)
	for part := range slices.Chunk(rows, 10_000) {
		mustWrite(t, s, part)
	}
	for n, keep := range []int{1 << 20, 17_000, 4_000} {
		s.scanKeeps = keep
		late := someRows(t, 30_000+n*10, 30_000+n*10+10)
		for i := range late {
			late[i].Source = "run 9"
		}
		var got []sinkers.Position
		for p, err := range s.Scan(t.Context(), sinkers.Scan{Tenant: "acme"}) {
			require.NoError(t, err)
			if got = append(got, p); len(got) == 1 { // of the first pass
				mustWrite(t, s, late)
			}
		}
		require.Equal(t, len(want), len(got), keep)
		for i := range want {
			require.Equal(t, want[i], got[i], keep)
		}
		want = append(want, positions(late)...)
	}
}
