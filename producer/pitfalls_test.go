package producer

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
)

// What is easily done wrong with franz-go, each with the reason.

// Only the context of the first record in a batch counts, and its end fails the whole partition's buffer.
func TestNoContextOfACallerReachesTheClient(t *testing.T) {
	c := cluster(t)
	p := start(t, small(t, c))
	for i := range 1000 {
		ctx, cancel := context.WithCancel(context.Background())
		if i%2 == 0 {
			cancel()
		}
		p.Fire(ctx, event("a", i))
		cancel()
	}
	checkArrived(t, p, p.cfg, 1000)
}

// What is handed over between a refusal and the news of it would overtake what was refused.
func TestNothingOvertakesWhatCameBack(t *testing.T) {
	c := cluster(t)
	p := start(t, small(t, c))
	require.NoError(t, p.Emit(within(t, 30*time.Second), event("a", 0), OnBroker))
	entered, leave := make(chan struct{}), make(chan struct{})
	p.client.Produce(within(t, time.Minute), &kgo.Record{Topic: "missing", Value: []byte("{}")}, func(*kgo.Record, error) {
		close(entered)
		<-leave
	})
	<-entered // promises are told of nothing from here on
	forbidden := noProduce(c, kerr.TopicAuthorizationFailed)
	for i := range 100 {
		p.Fire(context.Background(), event("a", 1+i))
	}
	require.NoError(t, forbidden.Wait(within(t, 30*time.Second), 1))
	d := p.logs.all()[0].shipper.destinations[p.routes.partition([]byte("a"), 4)]
	require.Eventually(t, d.braked, 30*time.Second, time.Millisecond, "the client says what it has failed")
	forbidden.Remove()
	for i := range 100 {
		p.Fire(context.Background(), event("a", 101+i))
	}
	<-time.After(50 * time.Millisecond) // long enough for them to arrive, were they sent
	close(leave)
	checkArrived(t, p, p.cfg, 201)
}

// Promises run one at a time for the whole client: whoever waits in one stops all of them.
func TestNothingWaitsInAPromise(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cfg.OnAcknowledged = func(firetrail.ID, bool) { once.Do(func() { close(entered); <-leave }) }
	p := start(t, cfg)
	p.Fire(context.Background(), event("a", 1))
	<-entered
	done := make(chan error, 1)
	p.client.Produce(within(t, 30*time.Second), &kgo.Record{Topic: DefaultTopic, Value: []byte("{}")}, func(_ *kgo.Record, err error) { done <- err })
	require.NoError(t, <-done, "another promise of the client runs")
	close(leave)
	flush(t, p)
}

// A delivery timeout counts from a record's timestamp, and a broker may refuse old ones.
func TestTimestampsAreThoseOfSending(t *testing.T) {
	c := cluster(t)
	p := start(t, small(t, c))
	begin := time.Now().Truncate(time.Millisecond)
	e := event("a", 1)
	e.Time = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, p.Emit(within(t, 30*time.Second), e, OnBroker))
	cl := testenv.Client(t, c.ListenAddrs(), kgo.ConsumeTopics(DefaultTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	records := cl.PollFetches(within(t, 30*time.Second)).Records()
	require.Len(t, records, 1)
	require.False(t, records[0].Timestamp.Before(begin))
}

// By default the client's buffer ends at 50,000 records: Produce blocks there, and TryProduce fails.
func TestProduceNeitherBlocksNorRefuses(t *testing.T) {
	var w wire
	c := cluster(t, w.option(), kfake.SeedTopics(1, "one"))
	cfg := small(t, c)
	cfg.Topic, cfg.MaxInFlight = "one", 60_000
	p := start(t, cfg)
	require.NoError(t, p.Emit(within(t, 30*time.Second), event("a", 0), OnBroker))
	w.hang()
	for i := range 55_000 {
		p.Fire(context.Background(), event("a", 1+i))
	}
	require.Eventually(t, func() bool { return p.client.BufferedProduceRecords() >= 55_000 }, 60*time.Second, time.Millisecond)
	w.goOn()
	flush(t, p)
	require.EqualValues(t, 55_001, p.Stats().Shipped)
}

// The client's Close fails what it buffers, and doesn't wait for the promises.
func TestCloseWaitsForWhatIsInFlight(t *testing.T) {
	var w wire
	c := cluster(t, w.option())
	p := start(t, small(t, c))
	require.NoError(t, p.Emit(within(t, 30*time.Second), event("a", 0), OnBroker))
	w.hang()
	defer w.goOn()
	for i := range 5000 {
		p.Fire(context.Background(), event("a", 1+i))
	}
	window := p.logs.all()[0].shipper.window
	require.Eventually(t, func() bool { return p.client.BufferedProduceRecords() > 1000 }, 60*time.Second, time.Millisecond)
	leave(t, p)
	window.mu.Lock()
	defer window.mu.Unlock()
	require.Zero(t, window.inFlight)
	require.Equal(t, uint64(1), window.marks.low, "nothing that came back counts as done")
}

// TestStaleEventsAreTold: the age of what waits is known, and told of when it is too much, and when that is over.
func TestStaleEventsAreTold(t *testing.T) {
	var mu sync.Mutex
	var log strings.Builder
	said := func(what ...string) bool {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range what {
			if !strings.Contains(log.String(), w) {
				return false
			}
		}
		return true
	}
	c := cluster(t)
	cfg := small(t, c)
	cfg.StaleAfter = 20 * time.Millisecond
	cfg.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	p := start(t, cfg)
	require.NoError(t, p.Emit(within(t, 30*time.Second), event("a", 0), OnBroker))
	require.Eventually(t, func() bool { return p.Stats().OldestPending == 0 }, 30*time.Second, time.Millisecond)
	forbidden := noProduce(c, nil)
	for i := range 1000 {
		p.Fire(context.Background(), event("a", 1+i))
	}
	require.Eventually(t, func() bool {
		return p.Stats().OldestPending > 50*time.Millisecond && said("events have waited for long", "UNKNOWN_SERVER_ERROR")
	}, 30*time.Second, time.Millisecond)
	forbidden.Remove()
	require.Eventually(t, func() bool { return said("in time again") }, 60*time.Second, time.Millisecond)
	flush(t, p)
	require.Zero(t, p.Stats().OldestPending)
}

// TestStaleAtStart: what an earlier run left has its age too, and so has what waits for a broker that was never there.
func TestStaleAtStart(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.Kafka.Brokers = []string{"127.0.0.1:1"}
	long := time.Now().Add(-time.Hour)
	cfg.Clock = func() time.Time { return long }
	p := start(t, cfg)
	p.Fire(context.Background(), event("a", 1))
	leave(t, p)
	cfg.Clock = nil
	p = start(t, cfg)
	require.Eventually(t, func() bool { return p.Stats().OldestPending > 59*time.Minute }, 30*time.Second, time.Millisecond)
}

func TestAgesForgetEvenly(t *testing.T) {
	var a ages
	for i := range uint64(5000) {
		a.samples = append(a.thin(), sample{i + 1, int64(i + 1)})
	}
	require.LessOrEqual(t, len(a.samples), maxSamples)
	require.EqualValues(t, 1, a.oldest(0))
	at := a.oldest(2500)
	require.InDelta(t, 2500, at, 100)
	require.LessOrEqual(t, at, int64(2501))
}
