package libsql

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

func comparePositions(a, b sinkers.Position) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.ID[:], b.ID[:]))
}

// However few positions are kept at a time, pass after pass gives all of them, in order.
func TestOrdering(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []sinkers.Position
	for n := range 300 {
		at := time.UnixMicro(1_700_000_000_000_000 + int64(n)).UTC()
		p := sinkers.Position{
			Tenant: "a", Source: fmt.Sprint("run ", rng.IntN(5)), Seq: uint64(rng.IntN(80)), ID: firetrail.IDFrom(at, fmt.Sprint(n)), Time: at,
			Closes: n%7 == 0,
		}
		if n%10 == 0 {
			p.Seq = math.MaxUint64 - p.Seq
		}
		all = append(all, p)
	}
	want := slices.SortedFunc(slices.Values(all), comparePositions)
	for _, keep := range []int{1, 2, 7, 149, 150, 151, 299, 300, 301} {
		o := &ordering{keep: keep}
		var got []sinkers.Position
		for more := true; more; more = o.more {
			o.reset()
			for i := range all {
				if len(got) == 0 || comparePositions(all[i], got[len(got)-1]) > 0 {
					o.add(&all[i])
				}
			}
			o.sort()
			require.LessOrEqual(t, cap(o.kept), 4*keep)
			last := len(got)
			for i := range o.kept {
				got = append(got, o.position("a", i))
			}
			require.Greater(t, len(got), last)
		}
		require.Equal(t, want, got, keep)
	}
}

func TestFewSources(t *testing.T) {
	all := []sqlstore.SourceCount{{Events: 5}, {Events: 5}, {Events: 20}, {Events: 1}, {Events: 9}, {Events: 1}}
	var got []int
	for left := all; len(left) > 0; {
		some := fewSources(left, 10)
		got = append(got, len(some))
		left = left[len(some):]
	}
	require.Equal(t, []int{2, 1, 2, 1}, got, "the third alone is too many")
}
