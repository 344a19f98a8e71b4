package producer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClock(t *testing.T) {
	t.Run("the given one is asked each time", func(t *testing.T) {
		at := time.UnixMicro(1_700_000_000_000_000)
		c := clock{now: func() time.Time { at = at.Add(time.Microsecond); return at }}
		require.Equal(t, int64(1_700_000_000_000_001), c.micros())
		require.Equal(t, int64(1_700_000_000_000_002), c.micros())
	})
	t.Run("the system's is right without being asked", func(t *testing.T) {
		var c clock
		asks := 0
		for last := (time.Time{}); asks < 5; {
			before := time.Now().UnixMicro()
			got := c.micros()
			after := time.Now().UnixMicro()
			// The two clocks of the system may be adjusted against each other a little within askEvery.
			require.True(t, before-10 <= got && got <= after+10, "%d is not in %d to %d", got, before, after)
			if c.asked != last {
				last, asks = c.asked, asks+1
			}
		}
	})
	t.Run("one that was set is noticed", func(t *testing.T) {
		c := clock{asked: time.Now().Add(-askEvery), nanos: 5}
		require.Greater(t, c.micros(), int64(1_700_000_000_000_000), "asked long ago")
		c = clock{asked: time.Now().Add(time.Hour), nanos: 5}
		require.Greater(t, c.micros(), int64(1_700_000_000_000_000), "asked in the future")
	})
}
