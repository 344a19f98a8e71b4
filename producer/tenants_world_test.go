package producer

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
)

// perTenant is a config for topics of tenants.
func perTenant(t testing.TB, c *kfake.Cluster) Config {
	cfg := small(t, c)
	cfg.TopicPrefix = kafkaclient.TenantTopicPrefix
	return cfg
}

func topicOf(tenant string) string {
	return kafkaclient.TenantTopic(kafkaclient.TenantTopicPrefix, tenant)
}

// makeTopics makes the topics of tenants.
func makeTopics(t testing.TB, c *kfake.Cluster, tenants ...string) {
	for _, tenant := range tenants {
		require.NoError(t, c.CreateTopic(topicOf(tenant), 2, nil))
	}
}

func numbered(from, to int) (tenants []string) {
	for i := from; i < to; i++ {
		tenants = append(tenants, fmt.Sprint("tenant-", i))
	}
	return tenants
}

// checkTenants closes the producer and checks that n events of each tenant are in its topic, in order as a sink sees
// them, and nothing else; once says that none may be there twice.
func checkTenants(t testing.TB, p *Producer, n map[string]int, once bool) {
	t.Helper()
	require.NoError(t, p.Flush(within(t, 2*time.Minute)))
	require.Eventually(t, func() bool { return p.Stats().Dir.Waiting.Letters == 0 }, time.Minute, 5*time.Millisecond)
	s := p.Stats()
	require.Zero(t, s.DroppedEvents(), "%v", s.Dropped)
	require.Zero(t, s.Dir.Dead.Letters)
	require.Zero(t, s.MissingTopics)
	require.NoError(t, shut(p, 30*time.Second))
	checkTopics(t, p, n, once)
}

// checkTopics is checkTenants of a producer that is closed.
func checkTopics(t testing.TB, p *Producer, n map[string]int, once bool) {
	t.Helper()
	found := ofTenants(t, p.cfg.Kafka.Brokers, slices.Collect(maps.Keys(n))...)
	for tenant, want := range n {
		events := found[tenant]
		require.Len(t, distinct(events), want, tenant)
		if once {
			require.Len(t, events, want, tenant)
		}
		last, seen := firetrail.ID{}, map[firetrail.ID]bool{}
		for _, e := range events {
			if !seen[e.ID] {
				require.Positive(t, e.ID.Compare(last), "%s is in order", tenant)
				last = e.ID
			}
			seen[e.ID] = true
		}
	}
}

// ofTenants reads every record of tenants' topics as of now, and checks that each is an event of that tenant.
func ofTenants(t testing.TB, addrs []string, tenants ...string) map[string][]firetrail.Event {
	ctx := within(t, time.Minute)
	var topics []string
	for _, tenant := range tenants {
		topics = append(topics, topicOf(tenant))
	}
	cl := testenv.Client(t, addrs, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	require.NoError(t, err)
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) {
		require.NoError(t, o.Err)
		left += o.Offset
	})
	found := map[string][]firetrail.Event{}
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			if e := decode(t, r); e.Action != firetrail.SourceClosed {
				require.Equal(t, topicOf(e.Tenant), r.Topic)
				found[e.Tenant] = append(found[e.Tenant], e)
			}
		})
	}
	return found
}

// addFlow adds the events of a flow's tenants.
func addFlow(n map[string]int, fired int) {
	for i := range flowTenants {
		n[fmt.Sprint("tenant-", i)] = (fired + flowTenants - 1 - i) / flowTenants
	}
}

// logged is a logger, and what it was told.
type logged struct {
	mu  sync.Mutex
	log strings.Builder
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(lockedWriter{&l.mu, &l.log}, nil))
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.String()
}
