package producer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

// TestAnothersPoison ships two logs at once, one of which the broker refuses: nothing of the other is a letter.
func TestAnothersPoison(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	a := openAccount(t, cfg)
	first, second := a.start(brokersAway), a.start(brokersAway)
	const poison, good = 10, 600
	for i := range poison {
		e := event("a", i)
		e.Metadata = firetrail.JSON(incompressible(20_000))
		a.fire(second, e)
	}
	for i := range good {
		a.fire(first, event("a", i))
	}
	leave(t, first)
	leave(t, second)
	refuseLarge(c, 15_000)
	a.twice = true // the broker takes less than it says: what is in flight comes back, to go in smaller batches
	p := a.start()
	require.Eventually(t, func() bool { return p.Stats().Letters >= poison && p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond)
	require.EqualValues(t, poison, p.Stats().Letters)
	require.EqualValues(t, good+2, p.Stats().Reshipped, "and the ends of two sources")
	require.Len(t, a.check(c.ListenAddrs()).broker, good)
}

// TestEveryEventIsSomewhere fires with a disk that fails and a broker that is away, and closes.
func TestEveryEventIsSomewhere(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.WAL.FS = newDisk(failing)
	cfg.WAL.RingSize = 64 << 10
	cfg.WAL.MaxRecord = 8 << 10
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	const n = 2000
	a.many(p, n)
	require.Eventually(t, func() bool { return p.Stats().State.State == wal.Degraded }, 10*time.Second, time.Millisecond)
	_ = shut(p, 100*time.Millisecond)
	require.Error(t, shut(p, 20*time.Second), "what was in memory only is said to be lost")
	found := a.check(c.ListenAddrs())
	require.NotEmpty(t, found.log)
	require.Less(t, len(found.log), n)
}

func TestNewWithABadRecordSize(t *testing.T) {
	_, err := New(Config{
		Kafka: kafkaclient.Config{Brokers: []string{"b"}}, Dir: t.TempDir(), Namespace: "x", WAL: wal.Config{MaxRecord: -1},
	})
	require.ErrorContains(t, err, "MaxRecord")
}
