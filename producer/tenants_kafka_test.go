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

// TestTopicsOfTenantsOnKafka has a topic for each tenant, of which one is missing and made under way, and one is deleted
// and made again: all events arrive, once and in order, and Kafka, which would make a topic for whoever asks, is not asked.
func TestTopicsOfTenantsOnKafka(t *testing.T) {
	k := testenv.SharedKafka(t)
	adm := kadm.NewClient(testenv.Client(t, k.Addrs()))
	cfg := small(t, cluster(t))
	cfg.Kafka = kafkaclient.Config{Brokers: k.Addrs()}
	cfg.TopicPrefix = testenv.Unique(t) + "."
	cfg.ParkAfter = 2 * time.Second
	create := func(tenants ...string) {
		for _, tenant := range tenants {
			_, err := adm.CreateTopic(within(t, time.Minute), 1, 1, nil, kafkaclient.TenantTopic(cfg.TopicPrefix, tenant))
			require.NoError(t, err)
		}
	}
	create(append(numbered(1, flowTenants), "a.b", "a_b", "dlq")...) // Kafka takes no two that differ in '.' and '_' alone
	p := start(t, cfg)
	f := fireSteadily(p) // tenant-0's too
	shipsOn(t, p)
	require.Eventually(t, func() bool { return p.Stats().ParkedEvents > 1000 }, time.Minute, time.Millisecond)
	require.Equal(t, 1, p.Stats().MissingTopics)
	require.Len(t, p.Stats().Parked, 1)
	shipsOn(t, p)
	missing := kafkaclient.TenantTopic(cfg.TopicPrefix, "tenant-0")
	topics, err := adm.ListTopics(within(t, time.Minute))
	require.NoError(t, err)
	require.False(t, topics.Has(missing))
	create("tenant-0")
	require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 && p.Stats().MissingTopics == 0 }, time.Minute, time.Millisecond)
	shipsOn(t, p)
	for _, tenant := range []string{"a.b", "a_b", "dlq"} {
		p.Fire(context.Background(), event(tenant, 0))
	}
	n := f.end()
	require.NoError(t, p.Flush(within(t, 2*time.Minute)))
	require.Eventually(t, func() bool { return p.Stats().Dir.Waiting.Letters == 0 }, time.Minute, 5*time.Millisecond)

	gone := kafkaclient.TenantTopic(cfg.TopicPrefix, "a.b")
	_, err = adm.DeleteTopic(within(t, time.Minute), gone)
	require.NoError(t, err)
	for i := range 10 {
		p.Fire(context.Background(), event("a.b", 1+i))
	}
	require.Eventually(t, func() bool { return p.Stats().MissingTopics == 1 }, time.Minute, time.Millisecond)
	create("a.b")
	require.NoError(t, p.Flush(within(t, 2*time.Minute)))
	require.NoError(t, shut(p, 30*time.Second))
	require.Zero(t, p.Stats().DroppedEvents())

	for i := range flowTenants {
		tenant := fmt.Sprint("tenant-", i)
		events := consume(t, k.Addrs(), kafkaclient.TenantTopic(cfg.TopicPrefix, tenant))
		want := n / flowTenants
		if i < n%flowTenants {
			want++
		}
		require.Len(t, events, want, "%s: each once", tenant)
		for i, e := range events {
			require.EqualValues(t, i+1, e.Seq, "%s: in order", tenant)
		}
	}
	require.Len(t, consume(t, k.Addrs(), gone), 10)
	require.Len(t, consume(t, k.Addrs(), kafkaclient.TenantTopic(cfg.TopicPrefix, "a_b")), 1)
}
