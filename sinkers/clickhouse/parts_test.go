package clickhouse

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

func TestMigrationsAreNumbered(t *testing.T) {
	for i, m := range migrations {
		require.Equal(t, i+1, m.version)
		require.NotEmpty(t, m.statements)
	}
	require.Len(t, migrations, latest)
}

func TestLiteral(t *testing.T) {
	for s, want := range map[string]string{
		"": "''", "acme": "'acme'", "arn:aws:iam::1/x y@z": "'arn:aws:iam::1/x y@z'",
		"a'b": "unhex('612762')", `a\`: "unhex('615c')", "ü": "unhex('c3bc')", "\x00": "unhex('00')", "a\n": "unhex('610a')", "{x:String}": "unhex('7b783a537472696e677d')", "?": "unhex('3f')",
	} {
		require.Equal(t, want, literal(s))
	}
}

func TestHasTTL(t *testing.T) {
	create := func(ttl string) string {
		return "CREATE TABLE d.audit_events (`id` FixedString(16)) ENGINE = ReplacingMergeTree(first_wins) ORDER BY id" + ttl + " SETTINGS x = 1"
	}
	require.True(t, hasTTL(create(""), ""))
	require.False(t, hasTTL(create(""), ttl(30)))
	require.True(t, hasTTL(create(" TTL "+ttl(30)), ttl(30)))
	require.False(t, hasTTL(create(" TTL "+ttl(30)), ttl(3)))
	require.False(t, hasTTL(create(" TTL "+ttl(30)), ""))
}

// TestKeyOrder: against a stable sort by the key, with tenants and ids that come again, the memory used again.
func TestKeyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o keyOrder
		for range 3 {
			var rows []sinkers.Row
			var want []int
			for i := range rapid.IntRange(1, 200).Draw(t, "rows") {
				var r sinkers.Row
				r.ID[15] = rapid.Byte().Draw(t, "id")
				r.Tenant = rapid.SampledFrom([]string{"", "b", "a", "\xff"}).Draw(t, "tenant")
				rows, want = append(rows, r), append(want, i)
			}
			slices.SortStableFunc(want, func(a, b int) int {
				return cmp.Or(cmp.Compare(rows[a].Tenant, rows[b].Tenant), bytes.Compare(rows[a].ID[:], rows[b].ID[:]))
			})
			o.sort(rows)
			require.Equal(t, want, o.at)
			o.reset()
		}
	})
}

// TestStretches: they hold all rows, are in order, apart and few, and what they leave out are the widest gaps.
func TestStretches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []sinkers.Row
		for tenant := range rapid.IntRange(1, 8).Draw(t, "tenants") {
			from := rapid.Int64Range(0, 10_000).Draw(t, "from")
			for range rapid.IntRange(1, 5).Draw(t, "rows") {
				var r sinkers.Row
				r.Tenant = fmt.Sprint(tenant)
				r.Time = time.UnixMilli(from + rapid.Int64Range(0, 100).Draw(t, "ms")).UTC()
				r.ID = firetrail.IDFrom(r.Time, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "id"))
				rows = append(rows, r)
			}
		}
		var o keyOrder
		o.sort(rows)
		all := o.stretches(rows)
		require.LessOrEqual(t, len(all), maxStretches)
		for i, b := range all {
			require.LessOrEqual(t, bytes.Compare(b.low[:], b.high[:]), 0)
			if i > 0 {
				require.Less(t, all[i-1].to, b.from)
			}
		}
		for _, r := range rows {
			require.True(t, slices.ContainsFunc(all, func(b bounds) bool {
				ms := r.Time.UnixMilli()
				return bytes.Compare(b.low[:], r.ID[:]) <= 0 && bytes.Compare(r.ID[:], b.high[:]) <= 0 && b.from <= ms && ms <= b.to
			}), "%v", r.ID)
		}
	})
}

// TestWithin: of each tenant what lies within its extent, and nothing of the others.
func TestWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []sinkers.Row
		for range rapid.IntRange(1, 100).Draw(t, "rows") {
			var r sinkers.Row
			r.ID[15] = rapid.Byte().Draw(t, "id")
			r.Tenant = rapid.SampledFrom([]string{"", "b", "a"}).Draw(t, "tenant")
			rows = append(rows, r)
		}
		var near []extent
		for _, tenant := range []string{"a", "c", "b"} {
			e := extent{tenant: tenant}
			e.low[15], e.high[15] = rapid.Byte().Draw(t, "low"), rapid.Byte().Draw(t, "high")
			near = append(near, e)
		}
		var o keyOrder
		o.sort(rows)
		found := o.within(rows, near)
		for i := range rows {
			want := slices.ContainsFunc(near, func(e extent) bool {
				return e.tenant == rows[i].Tenant && e.low[15] <= rows[i].ID[15] && rows[i].ID[15] <= e.high[15]
			})
			require.Equal(t, want, slices.Contains(found, &rows[i]), "row %d", i)
		}
	})
}

// TestFirsts: of rows with one key the first inserted is kept, and where the reading may have stopped in the midst
// of them, none.
func TestFirsts(t *testing.T) {
	row := func(tenant string, id byte, hash byte, inserted uint64) stored {
		r := stored{firstWins: math.MaxUint64 - inserted}
		r.Tenant, r.ID[0], r.Hash[0] = tenant, id, hash
		return r
	}
	found := []stored{
		row("a", 9, 1, 5), row("a", 9, 1, 6),
		row("a", 8, 1, 7), row("a", 8, 2, 3), row("a", 8, 3, 4),
		row("b", 7, 1, 1), row("a", 7, 1, 1),
		row("a", 6, 4, 2), row("a", 6, 5, 2), // the same microsecond
	}
	names := func(rows []stored) (s []string) {
		for _, r := range rows {
			s = append(s, fmt.Sprint(r.Tenant, r.ID[0], ".", r.Hash[0]))
		}
		return s
	}
	kept, last := firsts(slices.Clone(found), false)
	require.Equal(t, []string{"a9.1", "a8.2", "b7.1", "a7.1", "a6.5"}, names(kept))
	require.Equal(t, byte(6), last.ID[0])
	kept, last = firsts(slices.Clone(found), true)
	require.Equal(t, []string{"a9.1", "a8.2", "b7.1", "a7.1"}, names(kept))
	require.Equal(t, sinkers.CursorPosition{ID: found[6].ID, Tenant: "a"}, *last)
	kept, last = firsts(found[:2], true)
	require.Empty(t, kept)
	require.Nil(t, last, "read more of it")
	kept, last = firsts(nil, false)
	require.Empty(t, kept)
	require.NotNil(t, last)
}

// TestTokenIsOfContent: whatever differs in the rows makes another token, and nothing else does.
func TestTokenIsOfContent(t *testing.T) {
	of := func(rows ...sinkers.Row) string {
		var chosen []int
		for i := range rows {
			chosen = append(chosen, i)
		}
		return token(rows, chosen)
	}
	a, b := sinkers.Row{Event: firetrail.Event{Tenant: "t"}}, sinkers.Row{Event: firetrail.Event{Tenant: "u"}}
	require.Equal(t, of(a, b), token([]sinkers.Row{b, a, a}, []int{1, 0}))
	other := a
	other.Hash[3]++
	id := a
	id.ID[3]++
	seen := map[string]bool{}
	for _, rows := range [][]sinkers.Row{{a, b}, {b, a}, {a}, {a, a}, {other, b}, {id, b}, {a, other}, {}} {
		require.False(t, seen[of(rows...)], "%v", rows)
		seen[of(rows...)] = true
	}
}
