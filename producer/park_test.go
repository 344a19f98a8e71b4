package producer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail"
)

// noProduce has the broker refuse what is produced to partitions, until it is removed.
func noProduce(c *kfake.Cluster, err *kerr.Error, partitions ...int32) *kfake.FaultHandle {
	return c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Partitions: partitions, Err: err, Count: -1})
}

// TestParked has a partition take nothing: its events go to files, the others' flow, and in the end all of them are
// there, in order.
func TestParked(t *testing.T) {
	for _, kind := range []*kerr.Error{kerr.KafkaStorageError, kerr.TopicAuthorizationFailed} {
		t.Run(kind.Message, func(t *testing.T) {
			c := cluster(t)
			cfg := small(t, c)
			cfg.ParkAfter = 300 * time.Millisecond
			p := start(t, cfg)
			f := fireSteadily(p)
			shipsOn(t, p)
			fault := noProduce(c, kind, 2)
			require.Eventually(t, func() bool { return p.Stats().ParkedEvents > 1000 }, 60*time.Second, time.Millisecond)
			s := p.Stats()
			require.Len(t, s.Parked, 1)
			require.EqualValues(t, 2, s.Parked[0].Partition)
			require.NotEmpty(t, s.Parked[0].Reason)
			require.GreaterOrEqual(t, s.Letters, s.ParkedEvents)
			shipsOn(t, p)
			fault.Remove()
			require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 }, 60*time.Second, time.Millisecond)
			shipsOn(t, p)
			checkArrived(t, p, p.cfg, f.end())
		})
	}
}

// TestParkedAcrossARestart ends the producer while a partition is parked: at the next start its files go first.
func TestParkedAcrossARestart(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.ParkAfter = 200 * time.Millisecond
	a := openAccount(t, cfg)
	a.twice = true // what was in flight when it was parked may have arrived
	p := a.start()
	n := 0
	fire := func(p *Producer, until func() bool) {
		require.Eventually(t, func() bool {
			for range 20 {
				a.fire(p, event(fmt.Sprint("tenant-", n%flowTenants), n))
				n++
			}
			return until()
		}, 60*time.Second, time.Millisecond)
	}
	fire(p, func() bool { return p.Stats().Shipped > 200 })
	fault := noProduce(c, kerr.KafkaStorageError, 2)
	fire(p, func() bool { return p.Stats().ParkedEvents > 500 })
	_ = shut(p, 2*time.Second)
	fault.Remove()

	again := a.start()
	fire(again, func() bool { return again.Stats().Shipped > 200 })
	flush(t, again)
	require.Eventually(t, func() bool { return len(again.Stats().Parked) == 0 }, 60*time.Second, time.Millisecond)
	flush(t, again)
	require.Zero(t, again.Stats().ParkedEvents)
	require.Len(t, a.check(c.ListenAddrs()).broker, n)
	last := map[string]firetrail.ID{}
	seen := map[firetrail.ID]bool{}
	for _, e := range consume(t, c.ListenAddrs(), DefaultTopic) {
		if !seen[e.ID] {
			require.Positive(t, e.ID.Compare(last[e.Tenant]), "the files' events come before those fired later")
			last[e.Tenant] = e.ID
		}
		seen[e.ID] = true
	}
}

// TestNothingParkedWithoutRoom: where parking is off, or there is no room for files, events wait in the log, and the
// others flow, for as long as the partition is away.
func TestNothingParkedWithoutRoom(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"off":         func(cfg *Config) { cfg.ParkAfter = -1 },
		"no room":     func(cfg *Config) { cfg.LetterMaxBytes = 1 },
		"no letters":  func(cfg *Config) { cfg.Mode, cfg.Dir, cfg.Namespace = Volatile, "", "" },
		"tiny window": func(cfg *Config) { cfg.ParkAfter, cfg.MaxInFlight = -1, 8 },
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t)
			cfg := small(t, c)
			cfg.ParkAfter = 50 * time.Millisecond
			change(&cfg)
			p := start(t, cfg)
			f := fireSteadily(p)
			shipsOn(t, p)
			fault := noProduce(c, kerr.KafkaStorageError, 1, 3)
			for range 5 {
				shipsOn(t, p)
			}
			waiting(t, p, 2000)
			require.Zero(t, p.Stats().ParkedEvents)
			require.Zero(t, p.Stats().Letters)
			fault.Remove()
			checkArrived(t, p, p.cfg, f.end())
		})
	}
}

// TestAwayCostsNoMemory has one partition away while many events pass it by.
func TestAwayCostsNoMemory(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.ParkAfter = -1
	cfg.MaxInFlight = 400
	p := start(t, cfg)
	fault := noProduce(c, kerr.KafkaStorageError, 2)
	const n = 20_000
	for i := range n {
		p.Fire(context.Background(), event(fmt.Sprint("tenant-", i%flowTenants), i))
	}
	w := p.logs.all()[0].shipper.window
	require.Eventually(t, func() bool { return p.Stats().Shipped > n/2 && p.Stats().Shipped == uint64(n)-heldBack(p) }, 60*time.Second, time.Millisecond)
	w.mu.Lock()
	require.LessOrEqual(t, w.inFlight, 100, "no more of it is in the client than its share")
	require.LessOrEqual(t, len(w.marks.words), n/64+1)
	w.mu.Unlock()
	fault.Remove()
	checkArrived(t, p, p.cfg, n)
}

// heldBack is how many of the events in a log of one run go to partition 2.
func heldBack(p *Producer) (n uint64) {
	for i := range flowTenants {
		if p.routes.partition([]byte(fmt.Sprint("tenant-", i)), 4) == 2 {
			n += 20_000 / flowTenants
		}
	}
	return n
}

// TestWaitingForAParkedEvent: Emit is told that its event went to a file.
func TestWaitingForAParkedEvent(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.ParkAfter = 200 * time.Millisecond
	p := start(t, cfg)
	f := fireSteadily(p)
	shipsOn(t, p)
	noProduce(c, kerr.KafkaStorageError, p.routes.partition([]byte("tenant-0"), 4))
	err := p.Emit(within(t, time.Minute), event("tenant-0", -1), OnBroker)
	require.ErrorIs(t, err, ErrPending)
	require.ErrorContains(t, err, "dead letters")
	f.end()
}
