package producer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/wal"
)

// closeStates are states in which a producer may be closed. What is fired in them is somewhere, or counted.
var closeStates = map[string]struct {
	config func(*Config)
	reach  func(*account, *Producer)
	then   func(*account) // once Close has returned
}{
	"healthy":     {},
	"broker away": {config: brokersAway},
	"volatile":    {config: all(volatile, brokersAway)},
	"hung disk": {
		config: all(brokersAway, func(cfg *Config) { cfg.WAL.FS = newDisk(working) }), reach: hang,
		then: func(a *account) { a.cfg.WAL.FS.(*disk).set(working) },
	},
	"degraded":                 {config: all(brokersAway, failingDisk), reach: degraded},
	"log not open":             {config: all(brokersAway, noLog), reach: degraded},
	"no directory for letters": {config: all(brokersAway, oneEvent, noLetters)},
	"letters can't be written": {config: all(brokersAway, func(cfg *Config) { cfg.MaxEvents = 100 }), reach: loseLetters},
	"adopting": {config: brokersAway, reach: func(a *account, p *Producer) {
		other := a.start(brokersAway) // has the next slot
		a.many(other, 100)
		leave(a.t, other)
		p.wg.Go(p.adopt)
		require.Eventually(a.t, func() bool { return len(p.logs.all()) == 2 }, 30*time.Second, time.Millisecond)
	}},
}

func noLetters(cfg *Config) {
	dir := filepath.Join(cfg.Dir, cfg.Namespace)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "dlq"), nil, 0o600)); err != nil {
		panic(err)
	}
}

// loseLetters puts a file in the place of the directory of letters, which has none yet.
func loseLetters(a *account, _ *Producer) {
	dir := filepath.Join(a.cfg.Dir, a.cfg.Namespace, "dlq")
	require.NoError(a.t, os.RemoveAll(dir))
	require.NoError(a.t, os.WriteFile(dir, nil, 0o600))
}

func TestCloseInEveryState(t *testing.T) {
	for name, s := range closeStates {
		t.Run(name, func(t *testing.T) {
			cfg := small(t, cluster(t))
			addrs := cfg.Kafka.Brokers
			if s.config != nil {
				s.config(&cfg)
			}
			a := openAccount(t, cfg)
			p := a.start()
			p.saveFor = 500 * time.Millisecond
			a.many(p, 100)
			if s.reach != nil {
				s.reach(a, p)
			}
			a.many(p, 100)
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			returned := make(chan struct{})
			go func() {
				defer close(returned)
				_ = p.Close(ctx)
			}()
			select {
			case <-returned:
			case <-within(t, 30*time.Second).Done():
				t.Fatal("Close doesn't return")
			}
			if s.then != nil {
				s.then(a)
			}
			a.many(p, 10) // dropped, and counted
			<-p.closed
			first := p.Close(context.Background())
			require.Equal(t, first, p.Close(ctx), "the first Close's result, even for a context that has ended")
			require.Equal(t, wal.Closed, p.Stats().State.State)
			found := a.check(addrs)
			if cfg.Mode == Durable && s.reach == nil && cfg.MaxEvents == 0 {
				require.Len(t, found.broker, len(a.fired)-10-len(found.log))
			}
		})
	}
}

// TestCloseBesideFire closes from several goroutines while others fire.
func TestCloseBesideFire(t *testing.T) {
	c := cluster(t)
	a := openAccount(t, small(t, c))
	p := a.start()
	var firing, closing sync.WaitGroup
	begun := make(chan struct{}, 4)
	for range 4 {
		firing.Go(func() {
			for i := range 2000 {
				a.fire(p, event("a", i))
				if i == 100 {
					begun <- struct{}{}
				}
			}
		})
	}
	<-begun
	for range 3 {
		closing.Go(func() { require.NoError(t, shut(p, 20*time.Second)) })
	}
	closing.Wait()
	firing.Wait()
	a.check(c.ListenAddrs())
}

// TestCloseLeavesAHungDiskBehind: where the disk doesn't come back, closing ends all the same.
func TestCloseLeavesAHungDiskBehind(t *testing.T) {
	d := newDisk(working)
	cfg := small(t, cluster(t))
	cfg.WAL.FS = d
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	p.saveFor = 50 * time.Millisecond
	a.many(p, 100)
	d.set(hanging)
	_ = shut(p, time.Millisecond)
	<-p.closed
	require.ErrorIs(t, shut(p, time.Second), context.DeadlineExceeded)
	require.Zero(t, p.Stats().DroppedEvents(), "what is in the ring is safe there")
	d.set(working)
	require.Eventually(t, func() bool { return p.Stats().Log.State == wal.Closed }, 30*time.Second, time.Millisecond)
	a.check(cfg.Kafka.Brokers)
}

// TestLettersThatHang: a disk that hangs while letters are written to it keeps the log from nothing.
func TestLettersThatHang(t *testing.T) {
	a := openAccount(t, small(t, cluster(t)))
	p := a.start(brokersAway)
	p.saveFor = 200 * time.Millisecond
	a.many(p, 10)
	p.letters.stop()
	<-p.letters.moved
	p.letters.moved = make(chan struct{}) // as if who writes them didn't end
	_ = shut(p, time.Millisecond)
	<-p.closed
	require.Equal(t, wal.Closed, p.Stats().State.State)
	require.Len(t, a.check(a.cfg.Kafka.Brokers).log, 10)
}

// TestAdoptionThatHangs: a disk that hangs while another's log is opened keeps nobody from closing, and the log is
// let go of when it does open.
func TestAdoptionThatHangs(t *testing.T) {
	d := newDisk(working)
	cfg := small(t, cluster(t))
	cfg.WAL.FS = d
	a := openAccount(t, cfg)
	first, second := a.start(brokersAway), a.start(brokersAway)
	a.many(second, 50)
	leave(t, second)
	require.Equal(t, []int{1}, first.orphans())
	d.set(hanging)
	first.saveFor = 50 * time.Millisecond
	first.wg.Go(first.adopt)
	_ = shut(first, time.Millisecond)
	<-first.closed
	require.Error(t, first.Close(context.Background()))
	d.set(working)
	first.wg.Wait()
	a.check(cfg.Kafka.Brokers)
}

func TestFileSystemWithoutLocks(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.WAL.FS = lockless{wal.OSFS()}
	_, err := New(cfg)
	require.ErrorIs(t, err, wal.ErrNoLocks)
	require.ErrorContains(t, err, "local")
}
