//go:build integration

package producer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
)

// realConfig is a producer's config for a real broker, and a topic of its own there.
func realConfig(t *testing.T, k *testenv.Kafka) Config {
	cfg := small(t, cluster(t))
	cfg.Kafka = kafkaclient.Config{Brokers: k.Addrs()}
	cfg.Topic = testenv.Topic(t, k.Addrs(), 4)
	return cfg
}

func fireFor(p *Producer, d time.Duration) (n int) {
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		p.Fire(context.Background(), event(fmt.Sprint("tenant-", n%5), n))
		if n%20 == 19 {
			<-time.After(time.Millisecond)
		}
	}
	return n
}

// checkAll checks that every event is at the broker, and each tenant's in order as a sink would see them, which
// passes over what comes twice.
func checkAll(t *testing.T, p *Producer, cfg Config, n int) {
	ctx := within(t, 2*time.Minute)
	require.NoError(t, p.Flush(ctx))
	s := p.Stats()
	require.EqualValues(t, n, s.Shipped)
	require.Zero(t, s.Letters)
	require.Zero(t, s.DroppedEvents())
	require.Zero(t, s.Unprotected)
	events := consume(t, cfg.Kafka.Brokers, cfg.Topic)
	require.Len(t, distinct(events), n)
	last := map[string]uint64{}
	for _, e := range events {
		if e.Seq > last[e.Tenant] {
			require.Equal(t, last[e.Tenant]+1, e.Seq)
			last[e.Tenant] = e.Seq
		}
	}
	require.NoError(t, shut(p, 20*time.Second))
}

func TestBrokerKilledHungAndBack(t *testing.T) {
	k := testenv.StartKafka(t, 1)
	for name, fault := range map[string]struct{ away, back func() }{
		"kill -9": {func() { k.Kill(t, 0) }, func() { k.StartAgain(t, 0) }},
		"hung":    {func() { k.Pause(t, 0) }, func() { k.Resume(t, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := realConfig(t, k)
			p := start(t, cfg)
			n := fireFor(p, 500*time.Millisecond)
			fault.away()
			n += fireFor(p, 3*time.Second)
			fault.back()
			n += fireFor(p, 500*time.Millisecond)
			checkAll(t, p, cfg, n)
		})
	}
}

func TestTopicDeletedAndMadeAgain(t *testing.T) {
	k := testenv.SharedKafka(t)
	cfg := realConfig(t, k)
	p := start(t, cfg)
	fireFor(p, 300*time.Millisecond)
	require.NoError(t, p.Flush(within(t, 30*time.Second)))
	shipped := p.Stats().Shipped
	adm := kadm.NewClient(testenv.Client(t, k.Addrs()))
	_, err := adm.DeleteTopic(within(t, 30*time.Second), cfg.Topic)
	require.NoError(t, err)
	n := fireFor(p, 2*time.Second)
	require.Eventually(t, func() bool {
		_, err := adm.CreateTopic(within(t, 30*time.Second), 4, -1, nil, cfg.Topic)
		return err == nil
	}, 30*time.Second, 100*time.Millisecond)
	require.NoError(t, p.Flush(within(t, 2*time.Minute)))
	require.EqualValues(t, shipped+uint64(n), p.Stats().Shipped)
	require.Zero(t, p.Stats().Letters)
	require.Len(t, distinct(consume(t, cfg.Kafka.Brokers, cfg.Topic)), n, "all that was fired since the topic was deleted")
}
