package producer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Records that stay in flight, a few of each arena's, don't keep all that was rendered beside them.
func TestArenasHoldWhatIsInFlight(t *testing.T) {
	const size = 800
	as := arenas{free: make(chan *arena, maxFree)}
	render := func() *arena {
		a := as.of(size)
		if a != nil {
			a.b = a.b[:len(a.b)+size]
			as.lend(a, size)
		}
		return a
	}
	var stuck []*arena
	for i := range 1_000_000 {
		switch a := render(); {
		case a == nil: // memory of its own
		case i%330 == 0:
			stuck = append(stuck, a)
		default:
			as.giveBack(a, size, true)
		}
		require.LessOrEqual(t, as.held.Load()*arenaSize, maxFree*arenaSize+arenaSize+4*as.used.Load())
	}
	require.Greater(t, len(stuck), maxFree/2)
	require.Less(t, len(stuck), 2*maxFree)
	for _, a := range stuck {
		as.giveBack(a, size, true)
	}
	require.Zero(t, as.used.Load())
	require.LessOrEqual(t, as.held.Load(), int64(1), "the one that is rendered into")
	require.NotNil(t, render(), "they are shared again")
}
