package producer

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/wal"
)

// mend makes room for the log that noLog keeps away, and waits until it is open.
func mend(a *account, p *Producer) {
	require.NoError(a.t, os.Remove(filepath.Join(a.cfg.Dir, a.cfg.Namespace)))
	require.Eventually(a.t, func() bool { return p.Stats().State.State == wal.Healthy }, 30*time.Second, time.Millisecond)
}

// TestStandInMovesToDisk: what was fired while the log couldn't be opened is in the log once it is, protected, in
// order, and whoever waits for it waits on.
func TestStandInMovesToDisk(t *testing.T) {
	cfg := small(t, cluster(t))
	noLog(&cfg)
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	degraded(a, p)
	const n = 3000
	a.many(p, n)
	said := make(chan error, 1)
	go func() { said <- a.emit(within(t, time.Minute), p, event("t0", n), OnBroker) }()
	require.Eventually(t, func() bool { return p.Stats().Backlog == n+2 }, 30*time.Second, time.Millisecond)
	flushed := make(chan error, 1)
	go func() { flushed <- p.Flush(within(t, time.Minute)) }()
	firing := make(chan struct{})
	go func() { // Fire goes on meanwhile
		defer close(firing)
		a.many(p, n)
	}()
	mend(a, p)
	<-firing
	// Events are protected before the memory, which is empty then, is done away with.
	require.Eventually(t, func() bool { return len(p.logs.all()) == 1 }, 30*time.Second, time.Millisecond)
	require.EqualValues(t, 2*n+2, p.Stats().Log.Next-1)
	require.NoError(t, p.log.Sync(within(t, time.Minute)))
	require.Len(t, a.find(cfg.Kafka.Brokers).log, 2*n+2, "all that waits is on disk")

	come(t, p, cfg.Kafka.Brokers)
	require.NoError(t, <-said)
	require.NoError(t, <-flushed)
	flush(t, p)
	require.EqualValues(t, 2*n+2, p.Stats().Shipped)
	require.Len(t, a.check(cfg.Kafka.Brokers).broker, 2*n+2)
	last := map[string]uint64{}
	for _, e := range consumeAll(t, cfg.Kafka.Brokers, DefaultTopic) {
		require.Equal(t, last[e.Tenant]+1, e.Seq)
		last[e.Tenant] = e.Seq
	}
}

// TestStandInOfAFullLog: where the log that opens has no room, it is shipped from, and then from memory, in order.
func TestStandInOfAFullLog(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.WAL.RingSize, cfg.WAL.SegmentSize, cfg.WAL.MaxRecord, cfg.WAL.MaxOverflow = 64<<10, 64<<10, 16<<10, -1
	cfg.MaxBytes = 256 << 10
	noLog(&cfg)
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	degraded(a, p)
	const n = 200
	for range n {
		a.fire(p, large("a"))
	}
	require.NoError(t, os.Remove(filepath.Join(cfg.Dir, cfg.Namespace)))
	require.Eventually(t, func() bool { return len(p.logs.all()) == 2 && p.logs.all()[1].log.Stats().Next > 10 }, 30*time.Second, time.Millisecond)
	require.Equal(t, wal.Degraded, p.Stats().State.State, "not all of it is protected")
	come(t, p, cfg.Kafka.Brokers)
	require.Eventually(t, func() bool { return p.Stats().State.State == wal.Healthy }, 30*time.Second, time.Millisecond)
	flush(t, p)
	a.twice = true // what is called back may have arrived
	require.Len(t, a.check(cfg.Kafka.Brokers).broker, n+1)
	last := uint64(0)
	for _, e := range consumeAll(t, cfg.Kafka.Brokers, DefaultTopic) {
		require.LessOrEqual(t, e.Seq, last+1)
		last = max(last, e.Seq)
	}
}

// TestNewOnAHungDisk: a disk that hangs when the log is opened doesn't hold New. Once it works again, what was there
// and what was fired meanwhile is in the log.
func TestNewOnAHungDisk(t *testing.T) {
	cfg := small(t, cluster(t))
	d := newDisk(hanging)
	t.Cleanup(func() { d.set(working) })
	cfg.WAL.FS, cfg.WAL.HangAfter = d, 50*time.Millisecond
	a := openAccount(t, cfg)
	first := a.start(brokersAway)
	first.saveFor = 50 * time.Millisecond
	a.many(first, 100) // in the ring, from where the next open has to sync it
	require.Error(t, shut(first, time.Millisecond))
	<-first.closed
	d.set(working)
	require.NoError(t, first.join(within(t, time.Minute)))
	slot := wal.Config{Dir: first.slotDir(0)}
	require.Eventually(t, func() bool { r, err := wal.Inspect(slot, nil); return err == nil && !r.InUse }, 30*time.Second, time.Millisecond)

	d.set(hanging)
	p := a.start(brokersAway)
	require.Equal(t, wal.Degraded, p.Stats().State.State)
	require.ErrorContains(t, p.Stats().State.Reason, "hangs")
	a.many(p, 100)
	require.EqualValues(t, 100, p.Stats().Unprotected)
	d.set(working)
	require.Eventually(t, func() bool { return p.Stats().State.State == wal.Healthy }, 30*time.Second, time.Millisecond)
	leave(t, p)
	require.Len(t, a.check(cfg.Kafka.Brokers).log, 200)
}
