package producer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/embedded"
)

// TestFaultsOfTheBroker has events fired while the broker does something bad, and checks that all of them arrive, each
// tenant's in order.
func TestFaultsOfTheBroker(t *testing.T) {
	for name, fault := range map[string]func(testing.TB, *Producer, *kfake.Cluster, *wire){
		"hung": func(t testing.TB, p *Producer, _ *kfake.Cluster, w *wire) {
			w.hang()
			waiting(t, p, 2000)
			w.goOn()
		},
		"slow": func(t testing.TB, p *Producer, _ *kfake.Cluster, w *wire) {
			w.slow(20 * time.Millisecond)
			shipsOn(t, p)
			w.slow(0)
		},
		"its disk is full": func(t testing.TB, p *Producer, c *kfake.Cluster, _ *wire) {
			full := noProduce(c, kerr.KafkaStorageError)
			waiting(t, p, 2000)
			full.Remove()
		},
		"writing is forbidden": func(t testing.TB, p *Producer, c *kfake.Cluster, _ *wire) {
			forbidden := noProduce(c, kerr.TopicAuthorizationFailed)
			waiting(t, p, 2000)
			forbidden.Remove()
		},
		"this host's clock is far off": func(t testing.TB, p *Producer, c *kfake.Cluster, _ *wire) {
			off := noProduce(c, kerr.InvalidTimestamp)
			waiting(t, p, 2000)
			off.Remove()
		},
		"too few replicas": func(t testing.TB, p *Producer, c *kfake.Cluster, _ *wire) {
			few := noProduce(c, kerr.NotEnoughReplicasAfterAppend)
			waiting(t, p, 2000)
			few.Remove()
		},
		"leaders move": func(t testing.TB, p *Producer, c *kfake.Cluster, _ *wire) {
			for range 10 {
				c.ShufflePartitionLeaders()
				shipsOn(t, p)
			}
		},
		"more partitions": func(t testing.TB, p *Producer, c *kfake.Cluster, _ *wire) {
			_, err := kadm.NewClient(p.client).CreatePartitions(within(t, 30*time.Second), 3, DefaultTopic)
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				n := p.routes.one.shape()
				p.client.ForceMetadataRefresh()
				return n == 7
			}, 30*time.Second, 10*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w wire
			c := cluster(t, kfake.NumBrokers(3), w.option())
			cfg := small(t, c)
			p := start(t, cfg)
			f := fireSteadily(p)
			shipsOn(t, p)
			fault(t, p, c, &w)
			shipsOn(t, p)
			if n := f.end(); name == "more partitions" { // which changes where a tenant's events go
				require.NoError(t, p.Flush(within(t, time.Minute)))
				require.EqualValues(t, n, p.Stats().Shipped)
			} else {
				checkArrived(t, p, p.cfg, n)
			}
			require.Empty(t, p.Stats().Parked, "an outage is no reason")
			require.Zero(t, p.Stats().Letters)
		})
	}
}

// waiting waits until n events wait in the log.
func waiting(t testing.TB, p *Producer, n uint64) {
	require.Eventually(t, func() bool { return p.Stats().Backlog > n }, 60*time.Second, time.Millisecond)
}

func TestBrokerCutOff(t *testing.T) {
	b, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: DefaultTopic, Partitions: 4}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	cfg := small(t, cluster(t))
	cfg.Kafka.Brokers = b.Addrs()
	p := start(t, cfg)
	f := fireSteadily(p)
	for range 3 {
		shipsOn(t, p)
		b.Cut()
		waiting(t, p, 1000)
		require.NoError(t, b.Restore())
	}
	shipsOn(t, p)
	checkArrived(t, p, p.cfg, f.end())
	require.Zero(t, p.Stats().Letters)
}

// TestTopicMadeAnew deletes the topic under way: what was acknowledged before is gone with it, all else arrives.
func TestTopicMadeAnew(t *testing.T) {
	c := cluster(t)
	p := start(t, small(t, c))
	f := fireSteadily(p)
	shipsOn(t, p)
	require.NoError(t, c.DeleteTopic(DefaultTopic))
	var before uint64
	for { // what the deleted topic had acknowledged may be heard of late, and is gone with it
		before = p.Stats().Shipped
		waiting(t, p, p.Stats().Backlog+2000)
		if p.Stats().Shipped == before {
			break
		}
	}
	require.NoError(t, c.CreateTopic(DefaultTopic, 6, nil))
	shipsOn(t, p)
	n := f.end()
	require.NoError(t, p.Flush(within(t, time.Minute)))
	require.EqualValues(t, n, p.Stats().Shipped)
	require.Zero(t, p.Stats().Letters)
	require.NoError(t, shut(p, 20*time.Second))
	require.GreaterOrEqual(t, len(distinct(consume(t, p.cfg.Kafka.Brokers, DefaultTopic))), n-int(before))
}

// TestOneTooLargeAmongMany has one event among 50,000 that the topic doesn't take: it alone becomes a letter, and
// nothing overtakes anything, since no batch is larger than the topic takes.
func TestOneTooLargeAmongMany(t *testing.T) {
	for limit, n := range map[string]int{"20000": 50_000, "2000": 5000} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			c, err := kfake.NewCluster(kfake.NumBrokers(1))
			require.NoError(t, err)
			t.Cleanup(c.Close)
			require.NoError(t, c.CreateTopic(DefaultTopic, 4, map[string]string{"max.message.bytes": limit}))
			cfg := small(t, c)
			refusals := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
			a := openAccount(t, cfg)
			p := a.start()
			for i := range n {
				e := event(fmt.Sprint("t", i%5), i)
				if i == n/2 {
					e.Metadata = firetrail.JSON(incompressible(30_000))
				}
				a.fire(p, e)
			}
			flush(t, p)
			s := p.Stats()
			require.EqualValues(t, n-1, s.Shipped)
			require.EqualValues(t, 1, s.Letters)
			found := a.check(c.ListenAddrs())
			require.Len(t, found.broker, n-1)
			require.Len(t, found.dead, 1)
			require.Positive(t, refusals.Hits())
			last := map[string]uint64{}
			for _, e := range consume(t, c.ListenAddrs(), DefaultTopic) {
				require.Greater(t, e.Seq, last[e.Tenant], "each once, and in order")
				last[e.Tenant] = e.Seq
			}
		})
	}
}

// TestLimitThatIsNotTold has a broker that takes less than it says.
func TestLimitThatIsNotTold(t *testing.T) {
	c := cluster(t)
	refuseLarge(c, 3000)
	p := start(t, small(t, c))
	const n = 3000
	for i := range n {
		p.Fire(context.Background(), event(fmt.Sprint("t", i%5), i))
	}
	flush(t, p)
	require.EqualValues(t, n, p.Stats().Shipped, "no batch makes a letter of an event that is small enough")
	require.Zero(t, p.Stats().Letters)
}

// TestOutageIsNoParking: where nobody acknowledges anything the log is where events wait.
func TestOutageIsNoParking(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.ParkAfter = 50 * time.Millisecond
	p := start(t, cfg)
	f := fireSteadily(p)
	shipsOn(t, p)
	away := noProduce(c, kerr.KafkaStorageError)
	waiting(t, p, 5000)
	require.Empty(t, p.Stats().Parked)
	away.Remove()
	checkArrived(t, p, p.cfg, f.end())
	require.Zero(t, p.Stats().ParkedEvents)
}
