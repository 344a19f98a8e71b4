package producer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
)

func TestSequencesEvictWhatWasNotUsed(t *testing.T) {
	table := newSequences("run", 3)
	for _, tenant := range []string{"a", "b", "c", "a", "c"} {
		s, over := table.of(tenant)
		require.Nil(t, over)
		require.Equal(t, "run", s.source)
		s.seq++
	}
	d, over := table.of("d")
	require.Equal(t, "b", over.tenant, "the others were used since they came")
	require.EqualValues(t, 1, over.seq)
	require.Equal(t, "run-1", d.source, "d may have been here before")
	require.Zero(t, d.seq)
	b, over := table.of("b")
	require.NotNil(t, over)
	require.Equal(t, "run-2", b.source)
	require.Zero(t, b.seq)
	require.Equal(t, 3, table.len())
	left := map[string]bool{}
	for s := table.take(); s != nil; s = table.take() {
		left[s.tenant] = true
	}
	require.Len(t, left, 3)
	require.True(t, left["b"])
	require.Zero(t, table.len())
	require.Empty(t, table.byTenant)
}

// TestSequencesNameEachPairOnce goes through more tenants than there is room for, again and again: no (source,
// tenant) counts twice, each that is over was the tenant's last, and the table keeps its size.
func TestSequencesNameEachPairOnce(t *testing.T) {
	const room, tenants = 10, 37
	table := newSequences("run", room)
	type pair struct{ source, tenant string }
	last, over := map[pair]uint64{}, map[pair]bool{}
	for i := range 5000 {
		s, gone := table.of(fmt.Sprint("t", i*i%tenants))
		if gone != nil {
			p := pair{gone.source, gone.tenant}
			require.False(t, over[p], "closed twice")
			require.Equal(t, last[p], gone.seq)
			over[p] = true
		}
		s.seq++
		p := pair{s.source, s.tenant}
		require.False(t, over[p], "%v goes on after its end", p)
		require.Equal(t, last[p]+1, s.seq)
		last[p] = s.seq
		require.LessOrEqual(t, table.len(), room)
		require.Len(t, table.byTenant, table.len())
	}
	require.Greater(t, len(over), 100)
}

// TestSequencesOfUsedTenants: where everybody was used, somebody goes all the same, and soon.
func TestSequencesOfUsedTenants(t *testing.T) {
	table := newSequences("run", 1000)
	for range 2 {
		for i := range 1000 {
			table.of(fmt.Sprint(i))
		}
	}
	_, over := table.of("new")
	require.NotNil(t, over)
	require.Equal(t, fmt.Sprint(maxLooks), over.tenant, "the hand looked at some of them only")
}

func TestSequencesOfInvalidTenants(t *testing.T) {
	table := newSequences("run", 2)
	for _, tenant := range []string{"\xff", "a\x00", strings.Repeat("x", firetrail.MaxTenant+1)} {
		s, over := table.of(tenant)
		require.Nil(t, over)
		require.Same(t, &table.invalid, s)
	}
	require.Zero(t, table.len(), "they take no room, and have no end to be told")
}

func BenchmarkSequences(b *testing.B) {
	for _, tenants := range []int{1, 1000, 100_000} {
		names := make([]string, tenants)
		table := newSequences("run", 100_000)
		for i := range names {
			names[i] = fmt.Sprintf("tenant-%d", i)
			table.of(names[i])
		}
		b.Run(fmt.Sprintf("known-%d", tenants), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s, _ := table.of(names[i*7919%tenants])
				s.seq++
			}
		})
	}
	b.Run("evict", func(b *testing.B) {
		b.ReportAllocs()
		table := newSequences("run", 1000)
		for i := 0; b.Loop(); i++ {
			table.of(fmt.Sprint(i))
		}
	})
}
