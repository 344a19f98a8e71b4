package clickhouse

import (
	"fmt"
	"math"
	"slices"
	"testing"

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

// TestSeen: against a map, with ids that collide in the table.
func TestSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s seen
		for range 3 { // used again
			var rows []sinkers.Row
			for range rapid.IntRange(1, 200).Draw(t, "rows") {
				var r sinkers.Row
				r.ID[15] = rapid.Byte().Draw(t, "id")
				r.Tenant = rapid.SampledFrom([]string{"", "a"}).Draw(t, "tenant")
				rows = append(rows, r)
			}
			s.reset(len(rows))
			first := map[key]int{}
			for i, r := range rows {
				k := key{r.Tenant, r.ID}
				if _, ok := first[k]; !ok {
					first[k] = i
				}
				require.Equal(t, first[k], s.first(rows, i))
			}
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
	token := func(rows ...sinkers.Row) string {
		var c columns
		c.add(&sinkers.Row{Event: firetrail.Event{Tenant: "before"}}, &values{})
		c.reset()
		for i := range rows {
			c.add(&rows[i], &values{})
		}
		return c.token()
	}
	a, b := sinkers.Row{Event: firetrail.Event{Tenant: "t"}}, sinkers.Row{Event: firetrail.Event{Tenant: "u"}}
	require.Equal(t, token(a, b), token(a, b))
	other := a
	other.Hash[3]++
	id := a
	id.ID[3]++
	seen := map[string]bool{}
	for _, rows := range [][]sinkers.Row{{a, b}, {b, a}, {a}, {a, a}, {other, b}, {id, b}, {a, other}, {}} {
		require.False(t, seen[token(rows...)], "%v", rows)
		seen[token(rows...)] = true
	}
}
