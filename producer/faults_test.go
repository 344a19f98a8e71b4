package producer

import (
	"context"
	"syscall"
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
	away := cfg
	away.Kafka.Brokers = []string{"127.0.0.1:1"}
	first, second := start(t, away), start(t, away)
	const poison, good = 10, 600
	for i := range poison {
		e := event("a", i)
		e.Metadata = firetrail.JSON(incompressible(20_000))
		second.Fire(context.Background(), e)
	}
	for i := range good {
		first.Fire(context.Background(), event("a", i))
	}
	leave(t, first)
	leave(t, second)
	refuseLarge(c, 15_000)
	p := start(t, cfg)
	require.Eventually(t, func() bool { return p.Stats().Letters >= poison && p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond)
	require.EqualValues(t, poison, p.Stats().Letters)
	require.EqualValues(t, good+2, p.Stats().Reshipped, "and the ends of two sources")
	require.NoError(t, shut(p, 10*time.Second))
	require.Len(t, distinct(consume(t, c.ListenAddrs(), DefaultTopic)), good)
}

// badDisk is a file system whose files can't be written to, but for the ring and the mark.
type badDisk struct{ wal.FS }

type badFile struct{ wal.File }

func (d badDisk) Open(name string) (wal.File, error) {
	f, err := d.FS.Open(name)
	return badFile{f}, err
}

func (badFile) Sync() error { return syscall.EIO }

// TestEveryEventIsSomewhere fires with a disk that fails and a broker that is away, and closes.
func TestEveryEventIsSomewhere(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.Kafka.Brokers = []string{"127.0.0.1:1"}
	cfg.WAL.FS = badDisk{wal.OSFS()}
	cfg.WAL.RingSize = 64 << 10
	cfg.WAL.MaxRecord = 8 << 10
	var told dropped
	cfg.OnDrop = told.add
	p := start(t, cfg)
	const n = 2000
	for i := range n {
		p.Fire(context.Background(), event("a", i))
	}
	require.Eventually(t, func() bool { return p.Stats().State.State == wal.Degraded }, 10*time.Second, time.Millisecond)
	_ = shut(p, 100*time.Millisecond)
	require.Error(t, shut(p, 20*time.Second), "what was in memory only is said to be lost")
	s := p.Stats()
	require.Equal(t, s.Dropped, told.n)

	cfg.WAL.FS = nil
	again := start(t, cfg)
	require.EqualValues(t, n, again.Stats().Recovered+s.DroppedEvents(), "in the log, or a counted drop: %+v", s.Dropped)
}

func TestEmitOfAnInvalidValue(t *testing.T) {
	for _, mode := range both {
		cfg := small(t, cluster(t))
		cfg.Mode = mode
		p := start(t, cfg)
		for range 50 {
			e := firetrail.Event{Action: created.Name(), New: firetrail.Raw([]byte("{bad"))}
			require.ErrorIs(t, p.Emit(within(t, 10*time.Second), e, OnBroker), ErrRefused)
		}
		require.NoError(t, p.Emit(within(t, 10*time.Second), event("a", 1), OnBroker))
	}
}

func TestNewWithABadRecordSize(t *testing.T) {
	_, err := New(Config{
		Kafka: kafkaclient.Config{Brokers: []string{"b"}}, Dir: t.TempDir(), Namespace: "x", WAL: wal.Config{MaxRecord: -1},
	})
	require.ErrorContains(t, err, "MaxRecord")
}
