package firetrail

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Every microsecond of a millisecond comes back from an id, and ids sort as their times do.
func TestIDHoldsMicroseconds(t *testing.T) {
	for _, ms := range []int64{0, 1, 1_772_355_600_000, maxTime.UnixMilli() - 1} {
		last := ID{}
		for frac := range int64(1000) {
			us := ms*1000 + frac
			for _, tail := range []uint64{0, math.MaxUint64} {
				id := newID(us, tail)
				require.Equal(t, us, id.Time().UnixMicro())
				require.Equal(t, 1, id.Compare(last), "after the one before, whatever the random bits")
				require.True(t, id.isV7())
				require.Equal(t, "7", id.String()[14:15])
				require.Contains(t, "89ab", id.String()[19:20])
				last = id
			}
		}
	}
}

func TestIDOrderIsTimeOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(0, maxTime.UnixMicro()-1).Draw(t, "a")
		b := rapid.OneOf(rapid.Just(a+1), rapid.Int64Range(0, maxTime.UnixMicro()-1)).Draw(t, "b")
		x, y := newID(a, rapid.Uint64().Draw(t, "x")), newID(b, rapid.Uint64().Draw(t, "y"))
		if a != b {
			require.Equal(t, a < b, x.Compare(y) < 0)
			require.Equal(t, a < b, x.String() < y.String(), "as text too")
		}
	})
}

// A UUIDv7 made elsewhere has random bits where ours has the microsecond: they never make its time wrong by a
// millisecond.
func TestIDTimeOfOthers(t *testing.T) {
	for frac := range 0x1000 {
		id := newID(5_000, 0)
		id[6], id[7] = 0x70|byte(frac>>8), byte(frac)
		require.EqualValues(t, 5, id.Time().UnixMilli())
	}
}

func TestIDGenerator(t *testing.T) {
	g, other := NewIDGenerator(), NewIDGenerator()
	seen := map[ID]bool{}
	for range 10_000 {
		for _, g := range []*IDGenerator{g, other} {
			id := g.Next(1e15)
			require.False(t, seen[id])
			require.EqualValues(t, 1e15, id.Time().UnixMicro())
			seen[id] = true
		}
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { g.Next(1) }))
}

// The ids of imports are in databases: the same input must give them for ever.
func TestIDFrom(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 123_456_789, time.FixedZone("", 3600))
	for s, want := range map[string]string{
		"":                                     "019ca869-507b-774b-b8ec-3110a63f0705",
		"42":                                   "019ca869-507b-774b-9cd1-d72d0295a3a3",
		"875240ac-e821-4fc6-a311-8c352a1d20f5": "019ca869-507b-774b-b7c6-3ae2790added",
	} {
		require.Equal(t, want, IDFrom(at, s).String(), s)
	}
	require.Equal(t, at.UnixMicro(), IDFrom(at, "x").Time().UnixMicro())
	require.Equal(t, IDFrom(at, "x"), IDFrom(at.UTC().Truncate(time.Microsecond), "x"))
}

func TestParseID(t *testing.T) {
	id := newID(1e15, 7)
	for _, s := range []string{id.String(), strings.ToUpper(id.String())} {
		got, err := ParseID(s)
		require.NoError(t, err)
		require.Equal(t, id, got)
	}
	for _, s := range []string{"", "x", id.String()[:35], id.String() + "0", strings.ReplaceAll(id.String(), "-", "0"), "g" + id.String()[1:], "{" + id.String()[1:], "urn:uuid:" + id.String()} {
		_, err := ParseID(s)
		require.ErrorContains(t, err, "id: ", s)
	}
	b, err := json.Marshal(map[ID]ID{id: id})
	require.NoError(t, err)
	var back map[ID]ID
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, map[ID]ID{id: id}, back)
	require.Error(t, json.Unmarshal([]byte(`"x"`), &id))
	require.True(t, slices.IsSortedFunc([]ID{{}, newID(1, 0), newID(2, 0)}, ID.Compare))
	require.Zero(t, bytes.Compare((&ID{}).append(nil), []byte("00000000-0000-0000-0000-000000000000")))
}
