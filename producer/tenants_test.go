package producer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

func TestTopicPrefixIsChecked(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.Topic, cfg.TopicPrefix = "audit.events", "_x"
	_, err := New(cfg)
	require.ErrorContains(t, err, `TopicPrefix: "_x" contradicts Topic, "audit.events"`)
	require.ErrorContains(t, err, `TopicPrefix: "_x" begins with '_'`)
}

// TestMissingTopicWaits: a tenant whose topic isn't there waits, in the log or in files, and is warned of; the others'
// events flow, and no topic is made. When it is there, all of its events come, in order.
func TestMissingTopicWaits(t *testing.T) {
	for name, parkAfter := range map[string]time.Duration{"in the log": -1, "in files": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, kfake.AllowAutoTopicCreation())
			tenants := append(numbered(1, flowTenants), "", "it's / odd")
			makeTopics(t, c, tenants...)
			cfg := perTenant(t, c)
			cfg.ParkAfter = parkAfter
			var log logged
			cfg.Logger = log.logger()
			p := start(t, cfg)
			f := fireEvery(p, 10*time.Millisecond) // tenant-0's too
			n := map[string]int{}
			for _, tenant := range []string{"", "it's / odd", "also it's missing"} {
				n[tenant] = 1
				p.Fire(context.Background(), event(tenant, 0))
			}
			for range 3 {
				shipsOn(t, p)
			}
			if parkAfter > 0 {
				require.Eventually(t, func() bool { s := p.Stats(); return s.ParkedEvents > 50 && len(s.Parked) == 2 }, 60*time.Second, time.Millisecond)
				parked := p.Stats().Parked
				require.Equal(t, topicOf("also it's missing"), parked[0].Topic)
				require.Equal(t, topicOf("tenant-0"), parked[1].Topic)
				require.EqualValues(t, -1, parked[1].Partition)
				require.Contains(t, parked[1].Reason, "UNKNOWN_TOPIC_OR_PARTITION")
			} else {
				require.Eventually(t, func() bool { return p.Stats().Backlog > 100 }, 60*time.Second, time.Millisecond)
				require.Zero(t, p.Stats().Letters)
			}
			require.Equal(t, 2, p.Stats().MissingTopics)
			require.NoError(t, p.Ready(within(t, 30*time.Second)))
			command := "sink-worker topics create --brokers=" + cfg.Kafka.Brokers[0] + " --topic-prefix=audit.t. --tenant="
			require.Eventually(t, func() bool { return strings.Contains(log.String(), command) }, 60*time.Second, time.Millisecond)
			topics, err := kadm.NewClient(p.client).ListTopics(within(t, 30*time.Second))
			require.NoError(t, err)
			require.False(t, topics.Has(topicOf("tenant-0")), "it is never made silently")

			makeTopics(t, c, "tenant-0", "also it's missing")
			require.Eventually(t, func() bool { return p.Stats().MissingTopics == 0 && len(p.Stats().Parked) == 0 }, 60*time.Second, time.Millisecond)
			shipsOn(t, p)
			fired := f.end()
			addFlow(n, fired)
			checkTenants(t, p, n, true)
		})
	}
}

// TestTenantWithoutATopic: what has a tenant that isn't valid is a letter at once; nobody is told to make a topic for it.
func TestTenantWithoutATopic(t *testing.T) {
	c := cluster(t)
	makeTopics(t, c, "good")
	p := start(t, perTenant(t, c))
	for _, tenant := range []string{"good", "line\nfeed", strings.Repeat("x", 200), "good"} {
		p.Fire(context.Background(), event(tenant, 0))
	}
	flush(t, p)
	require.EqualValues(t, 2, p.Stats().Shipped)
	require.Equal(t, 2, p.Stats().Dir.Dead.Letters)
	require.Zero(t, p.Stats().MissingTopics)
}

// TestTopicsOfTenantsFromMemory: the log can't be opened at first, and what memory holds moves to it, topics and all.
func TestTopicsOfTenantsFromMemory(t *testing.T) {
	c := cluster(t)
	makeTopics(t, c, "a")
	cfg := perTenant(t, c)
	blocked := filepath.Join(cfg.Dir, cfg.Namespace)
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	p := start(t, cfg)
	for i := range 100 {
		p.Fire(context.Background(), event([]string{"a", "b"}[i%2], i))
	}
	require.Eventually(t, func() bool { s := p.Stats(); return s.Shipped == 50 && s.MissingTopics == 1 }, 60*time.Second, time.Millisecond)
	require.NoError(t, os.Remove(blocked))
	require.Eventually(t, func() bool { return p.Stats().State.State == wal.Healthy }, 60*time.Second, time.Millisecond)
	for i := range 100 {
		p.Fire(context.Background(), event([]string{"a", "b"}[i%2], i))
	}
	makeTopics(t, c, "b")
	checkTenants(t, p, map[string]int{"a": 100, "b": 100}, true)
}

// TestQuotedTenants: what the warning says can be given to a shell.
func TestQuotedTenants(t *testing.T) {
	for in, want := range map[string]string{"acme-1": "acme-1", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		require.Equal(t, want, quoted(in))
	}
}

// TestManyMissingTopics: thousands of tenants without a topic are known by what they are, warned of in a few lines, and
// nothing is done for them at each step; when their topics are there, all of their events come.
func TestManyMissingTopics(t *testing.T) {
	const many = 2000
	c := cluster(t)
	makeTopics(t, c, "good")
	cfg := perTenant(t, c)
	cfg.ParkAfter = 100 * time.Millisecond
	var log logged
	cfg.Logger = log.logger()
	p := start(t, cfg)
	n := map[string]int{"good": 0}
	good := func() { n["good"]++; p.Fire(context.Background(), event("good", 0)) }
	for _, tenant := range numbered(0, many) {
		good()
		n[tenant] = 2
		p.Fire(context.Background(), event(tenant, 0))
	}
	require.Eventually(t, func() bool {
		good()
		return p.Stats().MissingTopics == many && len(p.Stats().Parked) == maxParked
	}, 60*time.Second, time.Millisecond)
	for _, tenant := range numbered(0, many) {
		p.Fire(context.Background(), event(tenant, 1))
	}
	require.Eventually(t, func() bool { return p.Stats().Shipped == uint64(n["good"]) }, 60*time.Second, time.Millisecond, "the others flow")
	require.LessOrEqual(t, strings.Count(log.String(), "are not there"), 3)
	require.LessOrEqual(t, strings.Count(log.String(), "its events go to files"), 10)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "missing=") }, 60*time.Second, time.Millisecond)
	require.LessOrEqual(t, len(p.Stats().Parked), maxParked)

	makeTopics(t, c, numbered(0, many)...)
	require.NoError(t, p.Flush(within(t, 2*time.Minute)))
	require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 }, time.Minute, time.Millisecond)
	o := p.logs.all()[0].shipper
	require.NoError(t, shut(p, 30*time.Second))
	require.Len(t, o.tenants.of, many+1)
	checkTopics(t, p, n, false)
}

// TestMoreTenantsThanRoom: there is room for fewer tenants than there are, and some of these wait for their topic.
func TestMoreTenantsThanRoom(t *testing.T) {
	c := cluster(t)
	const some = 30
	makeTopics(t, c, numbered(0, some)...)
	cfg := perTenant(t, c)
	cfg.MaxTenants, cfg.ParkAfter = 12, -1
	p := start(t, cfg)
	n := map[string]int{}
	fire := func(tenant string) { n[tenant]++; p.Fire(context.Background(), event(tenant, n[tenant])) }
	for i := range 200 {
		if i%3 == 0 {
			fire(fmt.Sprint("missing-", i%4))
		}
		fire(fmt.Sprint("tenant-", i*7%some))
	}
	shipper := p.logs.all()[0].shipper
	require.Eventually(t, func() bool {
		s := p.Stats()
		return s.Shipped == 200 && s.MissingTopics == 4
	}, 60*time.Second, time.Millisecond, "the others take turns in what is left")
	for i := 200; i < 300; i++ {
		fire(fmt.Sprint("missing-", i%20)) // more than there are places
		fire(fmt.Sprint("tenant-", i*7%some))
	}
	require.Eventually(t, func() bool { return p.Stats().MissingTopics == 12 }, 60*time.Second, time.Millisecond)
	for i := range 20 {
		makeTopics(t, c, fmt.Sprint("missing-", i))
	}
	checkTenants(t, p, n, true)
	require.LessOrEqual(t, len(shipper.tenants.of), 12)
	p.routes.mu.Lock()
	defer p.routes.mu.Unlock()
	require.Empty(t, p.routes.of, "nobody uses them any more")
	require.Empty(t, p.routes.unknown)
}

// TestTenantsTopicMadeAnew deletes the topic of one tenant, and makes it again with other partitions.
func TestTenantsTopicMadeAnew(t *testing.T) {
	c := cluster(t)
	makeTopics(t, c, numbered(0, flowTenants)...)
	cfg := perTenant(t, c)
	cfg.ParkAfter = -1
	p := start(t, cfg)
	f := fireEvery(p, 10*time.Millisecond)
	shipsOn(t, p)
	require.NoError(t, c.DeleteTopic(topicOf("tenant-3")))
	require.Eventually(t, func() bool { return p.Stats().MissingTopics == 1 }, 60*time.Second, time.Millisecond)
	shipsOn(t, p)
	before := p.Stats().Shipped
	require.NoError(t, c.CreateTopic(topicOf("tenant-3"), 5, nil))
	require.Eventually(t, func() bool { return p.Stats().MissingTopics == 0 }, 60*time.Second, time.Millisecond)
	require.Greater(t, p.Stats().Shipped, uint64(0))
	n := f.end()
	require.NoError(t, p.Flush(within(t, time.Minute)))
	require.EqualValues(t, n, p.Stats().Shipped)
	require.NotEmpty(t, ofTenants(t, cfg.Kafka.Brokers, "tenant-3")["tenant-3"])
	require.Greater(t, before, uint64(0))
	require.Zero(t, p.Stats().Letters)
	cl := testenv.Client(t, c.ListenAddrs())
	_, err := kadm.NewClient(cl).CreatePartitions(within(t, 30*time.Second), 3, topicOf("tenant-4"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		p.Fire(context.Background(), event("tenant-4", 0))
		p.client.ForceMetadataRefresh()
		return p.routes.find(topicOf("tenant-4")).shape() == 5
	}, 30*time.Second, 10*time.Millisecond)
	flush(t, p)
}

// TestOneTenantsFault: what one tenant's topic refuses, for a while or for good, is no other's business.
func TestOneTenantsFault(t *testing.T) {
	c := cluster(t)
	makeTopics(t, c, numbered(0, flowTenants)...)
	require.NoError(t, c.CreateTopic(topicOf("small"), 1, map[string]string{"max.message.bytes": "2000"}))
	cfg := perTenant(t, c)
	cfg.ParkAfter = time.Second
	p := start(t, cfg)
	fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topicOf("tenant-2"), Err: kerr.TopicAuthorizationFailed, Count: -1})
	f := fireEvery(p, 10*time.Millisecond)
	n := map[string]int{"small": 100}
	for i := range 101 {
		e := event("small", i)
		if i == 50 {
			e.Metadata = firetrail.JSON(incompressible(30_000))
		}
		p.Fire(context.Background(), e)
	}
	require.Eventually(t, func() bool { s := p.Stats(); return s.ParkedEvents > 50 && len(s.Parked) == 1 }, 60*time.Second, time.Millisecond)
	require.Equal(t, topicOf("tenant-2"), p.Stats().Parked[0].Topic)
	shipsOn(t, p)
	require.Eventually(t, func() bool { return p.Stats().Dir.Dead.Letters == 1 }, 60*time.Second, time.Millisecond)
	fault.Remove()
	require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 }, 60*time.Second, time.Millisecond)
	fired := f.end()
	addFlow(n, fired)
	flush(t, p)
	require.Eventually(t, func() bool { return p.Stats().Dir.Waiting.Letters == 0 }, time.Minute, 5*time.Millisecond)
	require.NoError(t, shut(p, 20*time.Second))
	checkTopics(t, p, n, false)
}

// TestSettingChanges: what waits, in the log and in files, goes where the setting of the next run says.
func TestSettingChanges(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.ParkAfter = 200 * time.Millisecond
	p := start(t, cfg)
	at := p.routes.partition([]byte("a"), 4)
	fault := noProduce(c, kerr.KafkaStorageError, at)
	other := ""
	for i := 0; other == "" || p.routes.partition([]byte(other), 4) == at; i++ {
		other = fmt.Sprint("b", i)
	}
	sent := 0
	require.Eventually(t, func() bool {
		sent++
		p.Fire(context.Background(), event("a", sent))
		p.Fire(context.Background(), event(other, sent))
		return p.Stats().ParkedEvents > 10
	}, 60*time.Second, time.Millisecond)
	for i := range 10 {
		p.Fire(context.Background(), event("a", sent+i+1))
	}
	leave(t, p)
	fault.Remove()

	makeTopics(t, c, "a", other)
	cfg.TopicPrefix = kafkaclient.TenantTopicPrefix
	p = start(t, cfg)
	require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 && p.Stats().Dir.Waiting.Letters == 0 }, 60*time.Second, time.Millisecond)
	p.Fire(context.Background(), event("a", sent+11))
	checkTenants(t, p, map[string]int{"a": sent + 11}, false)
}
