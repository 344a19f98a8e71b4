package backend

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail"
)

// TestIDBounds: for whatever range of times, an id lies within the bounds if its event does.
func TestIDBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.Int64Range(0, 7_258_118_400_000_000-1).Draw(t, "us") // to the end of 2199
		near := rapid.Int64Range(-2_500, 2_500)
		from, to := us+near.Draw(t, "from"), us+near.Draw(t, "to")
		id := firetrail.IDFrom(time.UnixMicro(us), rapid.String().Draw(t, "external"))
		low, high := IDBounds(from, to)
		within := (low == nil || bytes.Compare(id[:], low) >= 0) && (high == nil || bytes.Compare(id[:], high) < 0)
		if from <= us && us < to {
			require.True(t, within, "%d in [%d, %d) is outside %x to %x", us, from, to, low, high)
		}
		if us/1000 < from/1000 || us/1000 > to/1000 {
			require.False(t, within, "%d isn't in [%d, %d), but within %x to %x", us, from, to, low, high)
		}
	})
	low, high := IDBounds(math.MinInt64, math.MaxInt64)
	require.Nil(t, low)
	require.Nil(t, high)
	low, high = IDBounds(math.MaxInt64-1, math.MaxInt64-1)
	require.Equal(t, "ffffffffffff", hex.EncodeToString(low[:6]))
	require.Equal(t, "ffffffffffff", hex.EncodeToString(high[:6]))
	_, high = IDBounds(0, -5)
	require.Equal(t, make([]byte, 16), high, "nothing is before 1970")
}
