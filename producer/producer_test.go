package producer

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

var both = []Mode{Durable, Volatile}

func TestFireShipsInOrder(t *testing.T) {
	for _, mode := range both {
		t.Run(mode.String(), func(t *testing.T) {
			c := cluster(t)
			cfg := small(t, c)
			cfg.Mode = mode
			var acknowledged []firetrail.ID
			cfg.OnAcknowledged = func(id firetrail.ID, recovered bool) {
				acknowledged = append(acknowledged, id)
				require.False(t, recovered)
			}
			p := start(t, cfg)
			ctx := firetrail.WithContext(context.Background(), firetrail.Context{Actor: firetrail.Actor{Type: "user", ID: "u-1"}})
			const n = 3000
			for i := range n {
				p.Fire(ctx, event(fmt.Sprint("tenant-", i%7), i))
			}
			flush(t, p)
			s := p.Stats()
			require.EqualValues(t, n, s.Fired)
			require.EqualValues(t, n, s.Shipped)
			require.Eventually(t, func() bool { return p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond, "the log is told soon after")
			require.Zero(t, s.DroppedEvents())
			require.Zero(t, s.Unprotected)
			require.NoError(t, shut(p, 10*time.Second))
			require.Len(t, acknowledged, n)

			events := consume(t, c.ListenAddrs(), DefaultTopic)
			require.Len(t, events, n)
			require.Len(t, distinct(events), n)
			seqs, last := map[string]uint64{}, map[string]firetrail.ID{}
			for _, e := range events {
				seqs[e.Tenant]++
				require.Equal(t, seqs[e.Tenant], e.Seq, "a sequence without a hole")
				require.Positive(t, e.ID.Compare(last[e.Tenant]), "id order is the order of Fire")
				last[e.Tenant] = e.ID
				require.Equal(t, events[0].Source, e.Source)
				require.Equal(t, "u-1", e.Actor.ID)
				require.False(t, e.Recorded.IsZero())
			}
		})
	}
}

func TestNilProducerIsTheOffSwitch(t *testing.T) {
	var p *Producer
	p.Fire(context.Background(), event("a", 1))
	require.ErrorIs(t, p.Emit(context.Background(), event("a", 1), OnDisk), ErrNotDurable)
	require.NoError(t, p.Flush(context.Background()))
	require.NoError(t, p.Ready(context.Background()))
	require.NoError(t, p.Close(context.Background()))
	require.Zero(t, p.Stats().Fired)
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

type badContext struct{ context.Context }

func (badContext) Value(any) any { panic("no") }

func TestFireTakesAnything(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	a := openAccount(t, cfg)
	p := a.start()
	type node struct{ Next *node }
	cycle := &node{}
	cycle.Next = cycle
	name := created.Name()
	unencodable := []any{cycle, deep(100_000), make(chan int), math.NaN(), func() {}, panics{}, map[string]any{"x": make(chan int)}}
	for _, v := range unencodable {
		a.fire(p, firetrail.Event{Action: name, New: firetrail.JSON(v)})
	}
	p.Fire(nil, a.mark(event("nil context", 1), true)) //nolint:staticcheck // on purpose
	p.Fire(badContext{context.Background()}, a.mark(event("bad context", 1), true))
	a.fire(p, firetrail.Event{Action: name, Metadata: firetrail.JSON(strings.Repeat("x", 10<<20))})
	a.fire(p, firetrail.Event{Action: name, Actor: firetrail.Actor{ID: strings.Repeat("é", 5000), Name: "\xff\xfe"}})
	bad := []firetrail.Event{
		{},
		{Action: name, Tenant: "\xff"},
		{Action: name, Tenant: strings.Repeat("x", 1<<20)},
		{Action: name, Outcome: 77},
		{Action: name, ID: firetrail.ID{1, 2, 3}},
		{Action: name, Time: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Action: name, New: firetrail.Raw([]byte(`{"not json`))},
	}
	for _, e := range bad {
		a.fire(p, e)
	}
	flush(t, p)
	s := p.Stats()
	require.EqualValues(t, map[DropReason]uint64{DropPanic: 1}, s.Dropped)
	require.EqualValues(t, len(bad), s.Letters)
	require.EqualValues(t, len(unencodable)+3, s.Shipped)
	require.EqualValues(t, s.Fired, s.Shipped+s.Letters+s.DroppedEvents(), "each event is somewhere")
	a.check(c.ListenAddrs())
	require.Len(t, consume(t, c.ListenAddrs(), DefaultTopic), len(unencodable)+3)
	found := readLetters(t, cfg)
	require.Len(t, found[dlq.Dead], len(bad))
	for _, l := range found[dlq.Dead] {
		require.NotEmpty(t, l.Value)
		require.NotEmpty(t, l.Error)
		require.Equal(t, dlq.ReasonInvalid, l.Reason)
	}
}

func TestBrokerAwayAtStart(t *testing.T) {
	for _, mode := range both {
		t.Run(mode.String(), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			port := l.Addr().(*net.TCPAddr).Port
			require.NoError(t, l.Close())
			cfg := small(t, cluster(t))
			cfg.Mode = mode
			cfg.Kafka.Brokers = []string{fmt.Sprint("127.0.0.1:", port)}
			a := openAccount(t, cfg)
			p := a.start()
			a.many(p, 500)
			require.Error(t, p.Ready(within(t, time.Second)))
			require.ErrorIs(t, p.Flush(within(t, 50*time.Millisecond)), context.DeadlineExceeded)
			require.EqualValues(t, 500, p.Stats().Backlog)
			c := cluster(t, kfake.Ports(port))
			flush(t, p)
			require.NoError(t, p.Ready(within(t, 10*time.Second)))
			require.EqualValues(t, 500, p.Stats().Shipped)
			require.Len(t, a.check(c.ListenAddrs()).broker, 500)
		})
	}
}

func TestWhatIsLeftIsShippedAtTheNextStart(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	const n = 700
	for i := range n {
		a.fire(p, event("a", i))
	}
	leave(t, p)
	a.fire(p, event("a", n))
	require.EqualValues(t, map[DropReason]uint64{DropClosed: 1}, p.Stats().Dropped)

	var recovered int
	p = a.start(func(cfg *Config) {
		cfg.OnAcknowledged = func(_ firetrail.ID, r bool) {
			if r {
				recovered++
			}
		}
	})
	a.fire(p, event("a", n+1))
	flush(t, p)
	s := p.Stats()
	require.EqualValues(t, n+1, s.Recovered, "and the end of the run's source")
	require.EqualValues(t, n+1, s.Reshipped)
	require.EqualValues(t, 1, s.Shipped)
	a.check(c.ListenAddrs())
	require.Equal(t, n, recovered)
	events := consume(t, c.ListenAddrs(), DefaultTopic)
	require.Len(t, events, n+1)
	for i, e := range events[:n] {
		require.EqualValues(t, i+1, e.Seq)
	}
	require.NotEqual(t, events[0].Source, events[n].Source, "a run has a source of its own")
}

func TestSlots(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	a := openAccount(t, cfg)
	first, second := a.start(brokersAway), a.start(brokersAway)
	a.fire(first, event("a", 1))
	a.fire(second, event("a", 2))
	for _, slot := range []string{"0", "1"} {
		require.DirExists(t, filepath.Join(cfg.Dir, cfg.Namespace, slot))
	}
	leave(t, first)
	leave(t, second)
	p := a.start() // takes slot 0 and adopts slot 1
	require.Eventually(t, func() bool { return p.Stats().Reshipped == 4 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return len(p.logs.all()) == 1 }, 10*time.Second, time.Millisecond, "an adopted log is closed once drained")
	require.Len(t, a.check(c.ListenAddrs()).broker, 2)
}

func TestLogThatCannotBeOpened(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	blocked := filepath.Join(cfg.Dir, cfg.Namespace)
	require.NoError(t, os.WriteFile(blocked, nil, 0o600)) // a file where the directory should be
	var mu sync.Mutex
	var states []wal.State
	cfg.OnState = func(s wal.StateChange) { mu.Lock(); states = append(states, s.State); mu.Unlock() }
	a := openAccount(t, cfg)
	p := a.start()
	for i := range 100 {
		a.fire(p, event("a", i))
	}
	require.Equal(t, wal.Degraded, p.Stats().State.State)
	require.Error(t, p.Stats().State.Reason)
	require.ErrorIs(t, a.emit(within(t, time.Second), p, event("a", 1), OnDisk), ErrNotDurable)
	require.EqualValues(t, 100, p.Stats().Unprotected)
	flush(t, p)
	require.NoError(t, os.Remove(blocked))
	require.Eventually(t, func() bool { return p.Stats().State.State == wal.Healthy }, 10*time.Second, time.Millisecond)
	for i := range 100 {
		a.fire(p, event("a", 100+i))
	}
	require.NoError(t, a.emit(within(t, 10*time.Second), p, event("a", 200), OnDisk))
	flush(t, p)
	require.EqualValues(t, 100, p.Stats().Unprotected)
	a.check(c.ListenAddrs())
	events := consume(t, c.ListenAddrs(), DefaultTopic)
	require.Len(t, events, 201)
	for i, e := range events {
		require.EqualValues(t, i+1, e.Seq, "in order")
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, []wal.State{wal.Degraded, wal.Healthy}, states)
}

func TestOneRefusedAmongManyGood(t *testing.T) {
	for name, c := range map[string]struct{ n, most int }{
		"it alone is over the limit":  {200, 35_000},
		"whole batches are, too":      {2000, 20_000},
		"so is all but single events": {300, 1_500},
	} {
		t.Run(name, func(t *testing.T) { testOneRefused(t, c.n, c.most) })
	}
}

func testOneRefused(t *testing.T, n, most int) {
	c := cluster(t)
	cfg := small(t, c)
	refuseLarge(c, most)
	a := openAccount(t, cfg)
	p := a.start()
	for i := range n {
		e := event("a", i)
		if i == n/2 {
			e.Metadata = firetrail.JSON(incompressible(30_000))
		}
		a.fire(p, e)
	}
	flush(t, p)
	s := p.Stats()
	require.EqualValues(t, n-1, s.Shipped)
	require.EqualValues(t, 1, s.Letters)
	a.check(c.ListenAddrs())
	events := consume(t, c.ListenAddrs(), DefaultTopic)
	require.Len(t, distinct(events), n-1)
	if most > 30_000 {
		for i, e := range events {
			require.True(t, i == 0 || e.Seq > events[i-1].Seq, "order is kept around the letter: %d after %d", e.Seq, events[max(i-1, 0)].Seq)
		}
	}
	found := readLetters(t, cfg)
	require.Len(t, found[dlq.Dead], 1)
	require.Equal(t, dlq.ReasonUnsendable, found[dlq.Dead][0].Reason)
	require.Contains(t, found[dlq.Dead][0].Error, "MESSAGE_TOO_LARGE")
}

func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// refuseLarge has the broker refuse batches over a size, as one does whose max.message.bytes is below the
// client's.
func refuseLarge(c *kfake.Cluster, most int) {
	c.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		large := false
		for _, topic := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, part := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition = part.Partition
				if len(part.Records) > most {
					large = true
				}
				rp.ErrorCode = kerr.MessageTooLarge.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, large
	})
}

func TestFullLogGoesToFilesAndOn(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.MaxEvents = 100
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	const n = 1000
	for i := range n {
		a.fire(p, event("a", i))
	}
	s := p.Stats()
	require.EqualValues(t, 100, s.Backlog)
	require.EqualValues(t, n-100, s.Letters)
	require.EqualValues(t, n-100, s.Unprotected)
	require.Zero(t, s.DroppedEvents())
	leave(t, p)
	p = a.start()
	require.Eventually(t, func() bool { return p.Stats().Dir.Delivered == n-100+1 }, 20*time.Second, time.Millisecond)
	flush(t, p)
	require.Len(t, a.check(c.ListenAddrs()).broker, n)
	require.Empty(t, readLetters(t, cfg))
}

func TestVolatileDropsAreCountedExactly(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.Mode, cfg.Dir, cfg.Namespace = Volatile, "", ""
	cfg.MaxEvents = 300
	a := openAccount(t, cfg)
	p := a.start(brokersAway)
	a.many(p, 1000)
	require.Equal(t, map[DropReason]uint64{DropFull: 700}, p.Stats().Dropped)
	_ = shut(p, 100*time.Millisecond) // ends the waiting for the broker
	require.ErrorContains(t, shut(p, 10*time.Second), "300 events")
	require.Equal(t, map[DropReason]uint64{DropFull: 700, DropUnsent: 300}, p.Stats().Dropped)
	a.check(c.ListenAddrs())
}

func TestTopicMissingThenMade(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p := start(t, small(t, c))
	for i := range 50 {
		p.Fire(context.Background(), event("a", i))
	}
	require.ErrorContains(t, p.Ready(within(t, 5*time.Second)), "sink-worker topics create")
	admin, err := newClient(&Config{Kafka: p.cfg.Kafka})
	require.NoError(t, err)
	defer admin.Close()
	_, err = kafkaclient.EnsureTopics(within(t, 10*time.Second), admin, []kafkaclient.TopicSpec{{Name: DefaultTopic, Partitions: 1, ReplicationFactor: 1}})
	require.NoError(t, err)
	flush(t, p)
	require.EqualValues(t, 50, p.Stats().Shipped)
	require.Zero(t, p.Stats().Letters, "an outage makes no letters")
}

func TestWeakTopicIsWarnedOf(t *testing.T) {
	for _, weak := range []bool{false, true} {
		var mu sync.Mutex
		var log strings.Builder
		cfg := small(t, cluster(t))
		cfg.WeakTopic = weak
		cfg.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
		p := start(t, cfg)
		warned := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(log.String(), "can lose acknowledged events")
		}
		if !weak {
			require.Eventually(t, warned, 10*time.Second, time.Millisecond)
		}
		require.NoError(t, shut(p, 10*time.Second))
		require.Equal(t, !weak, warned())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func TestConcurrentFire(t *testing.T) {
	c := cluster(t)
	a := openAccount(t, small(t, c))
	p := a.start()
	var wg sync.WaitGroup
	const workers, each = 8, 2000
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				a.fire(p, event(fmt.Sprint(w), i))
			}
		})
	}
	wg.Wait()
	flush(t, p)
	s := p.Stats()
	require.EqualValues(t, workers*each, s.Shipped+s.Letters)
	require.Len(t, a.check(c.ListenAddrs()).broker, workers*each)
}

func TestConfigErrorsComeTogether(t *testing.T) {
	_, err := New(Config{OnFull: FullDrop, Namespace: "../x", MaxEvents: -1, LetterInterval: time.Microsecond})
	for _, field := range []string{"Kafka", "Dir", "OnFull", "MaxEvents", "LetterInterval"} {
		require.ErrorContains(t, err, field)
	}
	_, err = New(Config{Kafka: kafkaclient.Config{Brokers: []string{"b"}}, Dir: t.TempDir(), Namespace: "../x"})
	require.ErrorContains(t, err, "Namespace")
	_, err = New(Config{Kafka: kafkaclient.Config{Brokers: []string{"b"}}, Dir: t.TempDir(), Namespace: "x", WAL: wal.Config{RingSize: 3}})
	require.ErrorContains(t, err, "RingSize")
}
