package producer

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// come has a producer reach the brokers that it was started without.
func come(t testing.TB, p *Producer, addrs []string) {
	require.NoError(t, p.client.UpdateSeedBrokers(addrs...))
	require.NoError(t, p.single.client.UpdateSeedBrokers(addrs...))
}

// large is an event of some 10 KB.
func large(tenant string) firetrail.Event {
	e := event(tenant, 1)
	e.Metadata = firetrail.JSON(incompressible(7_500))
	return e
}

// heldBytes is what the log holds of a tenant's events, as far as MaxTenantBytes knows.
func heldBytes(p *Producer, tenant string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sequences.byTenant[tenant].held.bytes.Load()
}

func TestMaxTenantBytes(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.MaxTenantBytes = 100_000
	a := openAccount(t, cfg)
	p := a.start(brokersAway, volatile, func(cfg *Config) { cfg.MaxTenantBytes = 100_000 })
	a.cfg.Dir = ""
	for range 30 {
		a.fire(p, large("flood"))
	}
	dropped := p.Stats().Dropped[DropTenantFull]
	require.Equal(t, map[DropReason]uint64{DropTenantFull: dropped}, p.Stats().Dropped)
	require.EqualValues(t, 30, dropped+p.Stats().Backlog)
	require.Contains(t, []uint64{9, 10}, p.Stats().Backlog, "what 100,000 bytes hold")
	require.ErrorIs(t, a.emit(within(t, time.Minute), p, large("flood"), OnBroker), errTenantFull)
	for range 9 {
		a.fire(p, large("quiet"))
	}
	require.Equal(t, dropped, p.Stats().DroppedEvents(), "others have their own share")

	come(t, p, cfg.Kafka.Brokers)
	flush(t, p)
	require.Zero(t, heldBytes(p, "flood"))
	for range 3 { // what was acknowledged counts no more
		for range 9 {
			a.fire(p, large("flood"))
		}
		flush(t, p)
	}
	require.Equal(t, dropped, p.Stats().DroppedEvents())
	a.check(cfg.Kafka.Brokers)
}

// TestMaxTenantBytesOverflows: where there is a directory of letters, a tenant's flood goes there, and what becomes a
// letter counts no more.
func TestMaxTenantBytesOverflows(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.MaxTenantBytes = 100_000
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	for range 50 {
		a.fire(p, large("flood"))
	}
	waiting := p.Stats().Letters
	require.Contains(t, []uint64{40, 41}, waiting)
	require.Zero(t, p.Stats().DroppedEvents())
	come(t, p, cfg.Kafka.Brokers)
	flush(t, p)
	bad := large("flood")
	bad.New = firetrail.Raw([]byte("{bad"))
	for range 3 { // dead letters
		for range 9 {
			a.fire(p, bad)
		}
		flush(t, p)
	}
	require.Equal(t, waiting+27, p.Stats().Letters)
	require.Zero(t, heldBytes(p, "flood"))
	require.Eventually(t, func() bool { return p.Stats().Dir.Waiting.Files == 0 }, 30*time.Second, time.Millisecond)
	found := a.check(cfg.Kafka.Brokers)
	require.Len(t, found.broker, 50)
	require.Len(t, found.dead, 27, "none of them overflowed")
}

// TestMaxTenantBytesAfterALoss: what the log has lost is given back by nobody, and forgotten once all is released.
func TestMaxTenantBytesAfterALoss(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.MaxTenantBytes = 15_000
	p := start(t, cfg)
	p.Fire(context.Background(), large("a"))
	flush(t, p)
	require.Eventually(t, func() bool { return p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond)
	p.mu.Lock()
	s, _ := p.sequences.of("a")
	require.Zero(t, s.held.bytes.Load())
	s.held.bytes.Store(10_000)
	p.mu.Unlock()
	p.Fire(context.Background(), large("a"))
	flush(t, p)
	require.EqualValues(t, 2, p.Stats().Shipped)
	require.Zero(t, p.Stats().Letters)
}

// TestMaxBytes fills the log, then the directory of letters, then the memory before that, with the broker away.
func TestMaxBytes(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.MaxBytes = 4 << 20
	cfg.LetterMaxBytes = 1 << 20
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	p.saveFor = time.Second
	for p.Stats().Dropped[DropFull] < 10 {
		for range 100 {
			a.fire(p, large("a"))
		}
	}
	// While records are copied from the ring to a segment they count twice.
	require.Eventually(t, func() bool { return p.Stats().Log.Bytes <= cfg.MaxBytes+64<<10 }, 30*time.Second, time.Millisecond,
		"MaxBytes, and the headers of segments")
	_ = shut(p, 10*time.Millisecond)
	<-p.closed
	s := p.Stats()
	require.LessOrEqual(t, s.Dir.Waiting.Bytes, cfg.LetterMaxBytes)
	found := a.check(cfg.Kafka.Brokers)
	require.Greater(t, len(found.log), 300)
	require.Greater(t, len(found.waiting), 30)
	require.Greater(t, s.Dropped[DropFull], uint64(1000), "what memory held is dropped when there is room for it nowhere")
}

// scarce is a file system with as much room as one says.
type scarce struct {
	wal.FS
	free *atomic.Uint64
}

func (s scarce) Free(string) (uint64, error) { return s.free.Load(), nil }

// TestMinFree: under the floor of free disk events go to letters, and to the log again once there is room.
func TestMinFree(t *testing.T) {
	cfg := small(t, cluster(t))
	var free atomic.Uint64
	free.Store(1 << 40)
	cfg.WAL.FS, cfg.WAL.MinFree = scarce{wal.OSFS(), &free}, 1<<30
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	a.many(p, 10)
	require.Zero(t, p.Stats().Letters)
	free.Store(1 << 20)
	require.Eventually(t, func() bool { a.many(p, 1); return p.Stats().Letters > 0 }, 30*time.Second, time.Millisecond)
	n := p.Stats().Letters
	a.many(p, 10)
	require.Equal(t, n+10, p.Stats().Letters)
	require.ErrorIs(t, a.emit(within(t, time.Minute), p, event("a", 1), OnDisk), ErrPending)
	free.Store(1 << 40)
	backlog := p.Stats().Backlog
	require.Eventually(t, func() bool { a.many(p, 1); return p.Stats().Backlog > backlog }, 30*time.Second, time.Millisecond)
	leave(t, p)
	found := a.check(cfg.Kafka.Brokers)
	require.EqualValues(t, p.Stats().Letters, len(found.waiting))
}

// TestLettersOpenLate: while the directory of letters can't be opened what overflows waits in memory.
func TestLettersOpenLate(t *testing.T) {
	cfg := small(t, cluster(t))
	oneEvent(&cfg)
	noLetters(&cfg)
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	a.many(p, 50)
	require.EqualValues(t, 49, p.Stats().Letters)
	require.Zero(t, p.Stats().DroppedEvents())
	require.NoError(t, os.Remove(filepath.Join(cfg.Dir, cfg.Namespace, "dlq")))
	require.Eventually(t, func() bool { return p.Stats().Dir.Put == 49 }, 30*time.Second, time.Millisecond)
	come(t, p, cfg.Kafka.Brokers)
	require.Eventually(t, func() bool { return p.Stats().Dir.Delivered == 49 }, 30*time.Second, time.Millisecond)
	require.Len(t, a.check(cfg.Kafka.Brokers).broker, 50)
}

// TestSharedLetters: two producers whose logs are full share a directory of letters; both try what waits there again,
// and each event is sent once.
func TestSharedLetters(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.MaxEvents = 10
	a := openAccount(t, cfg)
	for _, p := range []*Producer{a.start(brokersAway), a.start(brokersAway)} {
		a.many(p, 300)
		leave(t, p)
	}
	require.Len(t, readLetters(t, cfg)[dlq.Waiting], 2*(290+3), "and the ends of their sources")
	first, second := a.start(), a.start()
	require.Eventually(t, func() bool {
		return first.Stats().Dir.Delivered+second.Stats().Dir.Delivered == 2*293
	}, 30*time.Second, time.Millisecond)
	flush(t, first)
	flush(t, second)
	require.Len(t, a.check(cfg.Kafka.Brokers).broker, 600)
}
