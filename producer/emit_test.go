package producer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

func TestEmit(t *testing.T) {
	c := cluster(t)
	p := start(t, small(t, c))
	ctx := within(t, 10*time.Second)
	require.NoError(t, p.Emit(ctx, event("a", 1), OnDisk))
	require.NoError(t, p.Emit(ctx, event("a", 2), OnBroker))
	require.GreaterOrEqual(t, p.Stats().Shipped, uint64(1))
	require.ErrorContains(t, p.Emit(ctx, firetrail.Event{}, OnDisk), "action")
	require.ErrorContains(t, p.Emit(ctx, firetrail.Event{Action: created.Name(), New: firetrail.JSON(make(chan int))}, OnDisk), "new")
	cut := firetrail.Event{Action: created.Name(), New: firetrail.JSON(make(chan int)), Truncated: firetrail.TruncatedNew}
	require.ErrorContains(t, p.Emit(ctx, cut, OnDisk), "new", "whatever was left out before")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, p.Emit(ended, event("a", 3), OnBroker), context.Canceled)
	require.EqualValues(t, 2, p.Stats().Fired, "what was not taken is not counted")
	require.NoError(t, shut(p, 10*time.Second))
	require.ErrorIs(t, p.Emit(ctx, event("a", 3), OnBroker), ErrNotDurable)

	cfg := small(t, c)
	cfg.Kafka.Brokers = []string{"127.0.0.1:1"}
	p = start(t, cfg)
	require.NoError(t, p.Emit(ctx, event("a", 1), OnDisk))
	err := p.Emit(within(t, 50*time.Millisecond), event("a", 2), OnBroker)
	require.ErrorIs(t, err, ErrPending)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.EqualValues(t, 2, p.Stats().Backlog)

	cfg = small(t, c)
	cfg.Mode = Volatile
	p = start(t, cfg)
	require.ErrorIs(t, p.Emit(ctx, event("a", 1), OnDisk), ErrNotDurable)
	require.NoError(t, p.Emit(ctx, event("a", 1), OnBroker))
}

// outcome is what Emit says.
type outcome int

const (
	done       outcome = iota
	pending            // ErrPending: taken
	notDurable         // ErrNotDurable: not taken, or lost
	notTaken           // another error
	waits              // until the context ends, then ErrPending
)

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return done
	case errors.Is(err, ErrPending) && errors.Is(err, context.DeadlineExceeded):
		return waits
	case errors.Is(err, ErrPending):
		return pending
	case errors.Is(err, ErrNotDurable):
		return notDurable
	}
	return notTaken
}

// emitState is a state of a producer, and what Emit says in it.
type emitState struct {
	config       func(*Config)
	reach        func(*account, *Producer) // brings the producer into the state
	disk, broker outcome
}

func volatile(cfg *Config) { cfg.Mode, cfg.Dir, cfg.Namespace = Volatile, "", "" }

func all(changes ...func(*Config)) func(*Config) {
	return func(cfg *Config) {
		for _, c := range changes {
			c(cfg)
		}
	}
}

func oneEvent(cfg *Config)    { cfg.MaxEvents = 1 }
func failingDisk(cfg *Config) { cfg.WAL.FS = newDisk(failing) }

func fireOne(a *account, p *Producer) { a.fire(p, event("a", 0)) }

func degraded(a *account, p *Producer) {
	a.fire(p, event("a", 0))
	require.Eventually(a.t, func() bool { return p.Stats().State.State == wal.Degraded }, 30*time.Second, time.Millisecond)
}

var emitStates = map[string]emitState{
	"healthy":                {disk: done, broker: done},
	"broker away":            {config: brokersAway, disk: done, broker: waits},
	"volatile":               {config: volatile, disk: notDurable, broker: done},
	"volatile, broker away":  {config: all(volatile, brokersAway), disk: notDurable, broker: waits},
	"volatile, full":         {config: all(volatile, brokersAway, oneEvent), reach: fireOne, disk: notDurable, broker: notTaken},
	"full":                   {config: all(brokersAway, oneEvent), reach: fireOne, disk: pending, broker: pending},
	"degraded":               {config: failingDisk, reach: degraded, disk: notDurable, broker: done},
	"degraded, broker away":  {config: all(failingDisk, brokersAway), reach: degraded, disk: notDurable, broker: waits},
	"no log":                 {config: noLog, reach: degraded, disk: notDurable, broker: done},
	"no log and broker away": {config: all(noLog, brokersAway), reach: degraded, disk: notDurable, broker: waits},
	"hung disk":              {config: all(brokersAway, func(cfg *Config) { cfg.WAL.FS = newDisk(working) }), reach: hang, disk: waits, broker: waits},
	"closed":                 {reach: func(a *account, p *Producer) { require.NoError(a.t, shut(p, 20*time.Second)) }, disk: notDurable, broker: notDurable},
}

// noLog keeps the log from being opened: there is a file where the directory should be.
func noLog(cfg *Config) {
	if err := os.WriteFile(filepath.Join(cfg.Dir, cfg.Namespace), nil, 0o600); err != nil {
		panic(err)
	}
}

func hang(a *account, _ *Producer) { a.cfg.WAL.FS.(*disk).set(hanging) }

// TestEmitInEveryState goes through what a producer can be like, what Emit can be asked for, and when its context
// may end.
func TestEmitInEveryState(t *testing.T) {
	for name, s := range emitStates {
		t.Run(name, func(t *testing.T) {
			c := cluster(t)
			cfg := small(t, c)
			if s.config != nil {
				s.config(&cfg)
			}
			a := openAccount(t, cfg)
			p := a.start()
			if s.reach != nil {
				s.reach(a, p)
			}
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			for ack, want := range map[Ack]outcome{OnDisk: s.disk, OnBroker: s.broker} {
				before := notTaken
				if ack == OnDisk && want == notDurable {
					before = notDurable
				}
				require.Equal(t, before, outcomeOf(a.emit(ended, p, event("a", 1), ack)), "ack %d, ended before", ack)
				ctx := within(t, time.Minute)
				if want == waits {
					ctx = within(t, 20*time.Millisecond)
				}
				err := a.emit(ctx, p, event("a", 2), ack)
				require.Equal(t, want, outcomeOf(err), "ack %d: %v", ack, err)
			}
			if d, ok := cfg.WAL.FS.(*disk); ok && name == "hung disk" {
				d.set(working)
			}
			_ = shut(p, 100*time.Millisecond)
			a.check(c.ListenAddrs())
		})
	}
}

// TestEmitWhileThingsGoWrong: what happens while Emit waits decides what it says.
func TestEmitWhileThingsGoWrong(t *testing.T) {
	for name, c := range map[string]struct {
		config func(*Config)
		ack    Ack
		then   func(*account, *Producer)
		want   outcome
		kept   bool // in the log, or at the broker
	}{
		"the disk fails": {
			config: func(cfg *Config) { cfg.WAL.FS = newDisk(hanging) }, ack: OnDisk,
			then: func(a *account, _ *Producer) { a.cfg.WAL.FS.(*disk).set(failing) },
			want: pending, kept: true,
		},
		"closed, durable":  {config: brokersAway, ack: OnBroker, then: giveUpSoon, want: pending, kept: true},
		"closed, volatile": {config: all(brokersAway, volatile), ack: OnBroker, then: giveUpSoon, want: notDurable},
		"the broker comes back": {
			config: brokersAway, ack: OnBroker, want: done, kept: true,
			then: func(a *account, p *Producer) {
				require.NoError(a.t, p.client.UpdateSeedBrokers(a.cfg.Kafka.Brokers...))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cl := cluster(t)
			a := openAccount(t, small(t, cl))
			c.config(&a.cfg)
			addrs := cl.ListenAddrs()
			p := a.start()
			a.cfg.Kafka.Brokers = addrs
			said := make(chan error, 1)
			go func() { said <- a.emit(within(t, time.Minute), p, event("a", 1), c.ack) }()
			require.Eventually(t, func() bool { return p.Stats().Backlog == 1 }, 30*time.Second, time.Millisecond)
			c.then(a, p)
			err := <-said
			require.Equal(t, c.want, outcomeOf(err), "%v", err)
			if d, ok := a.cfg.WAL.FS.(*disk); ok {
				d.set(working)
			}
			_ = shut(p, time.Second)
			found := a.check(addrs)
			require.Equal(t, c.kept, len(found.broker)+len(found.log) == 1)
		})
	}
}

func giveUpSoon(_ *account, p *Producer) { _ = shut(p, 20*time.Millisecond) }

func TestEmitThatIsNotTakenLeavesNoHole(t *testing.T) {
	cfg := small(t, cluster(t))
	addrs := cfg.Kafka.Brokers
	a := openAccount(t, cfg)
	p := a.start(all(volatile, brokersAway, oneEvent))
	a.cfg.Dir = ""
	fireOne(a, p)
	for _, tenant := range []string{"a", "b"} {
		require.ErrorIs(t, a.emit(within(t, time.Minute), p, event(tenant, 1), OnBroker), wal.ErrFull)
	}
	require.NoError(t, p.client.UpdateSeedBrokers(addrs...))
	require.Eventually(t, func() bool { return p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond)
	fireOne(a, p)
	require.Eventually(t, func() bool { return p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond)
	a.check(addrs)
	require.Equal(t, 1, ends(t, consumeAll(t, addrs, DefaultTopic)), "b has no source, and none to end")
}

func TestEmitWithABadContext(t *testing.T) {
	a := openAccount(t, small(t, cluster(t)))
	p := a.start()
	require.NoError(t, a.emit(nil, p, event("a", 1), OnBroker)) //nolint:staticcheck // on purpose
	require.ErrorContains(t, a.emit(badContext{context.Background()}, p, event("a", 2), OnDisk), "the context panicked: no")
	a.check(a.cfg.Kafka.Brokers)
}

func TestEmitOfARefusedEvent(t *testing.T) {
	c := cluster(t)
	refuseLarge(c, 20_000)
	p := start(t, small(t, c))
	e := event("a", 1)
	e.Metadata = firetrail.JSON(incompressible(30_000))
	require.ErrorIs(t, p.Emit(within(t, 10*time.Second), e, OnBroker), ErrRefused)
	require.EqualValues(t, 1, p.Stats().Letters)
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
