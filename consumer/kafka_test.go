//go:build integration

package consumer

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// onKafka is inRealTime on the real broker that the tests of this binary share, in which the topics are made again for
// each test.
func onKafka(t *testing.T, partitions int32, test func(t *testing.T, w *world)) {
	t.Helper()
	w := &world{t: t, dial: (&net.Dialer{}).DialContext, broker: testenv.Broker(t)[0]}
	w.sink, w.sent = &sinkertest.Memory{}, map[int32][]firetrail.ID{}
	w.cl = w.client()
	defer w.cl.Close()
	for topic, n := range map[string]int32{testTopic: partitions, testLetters: 1} {
		_, err := w.adm().CreateTopic(t.Context(), n, 1, nil, topic)
		require.NoError(t, err)
	}
	defer func() {
		for _, r := range w.workers {
			r.abort()
			<-r.done
		}
		_, err := w.adm().DeleteTopics(t.Context(), testTopic, testLetters, "audit.t.a")
		require.NoError(t, err)
	}()
	w.await("the topics", func() bool { return w.cl.ProduceSync(t.Context(), &kgo.Record{Topic: testLetters}).FirstErr() == nil })
	test(t, w)
}

// session is a worker's group timeouts that a real broker allows.
func session(c *Config) {
	c.groupOpts = []kgo.Opt{kgo.HeartbeatInterval(100 * time.Millisecond), kgo.SessionTimeout(6 * time.Second)}
}

// What a real Kafka deletes under a group that is stopped, and under one whose sink is away, is counted to the record.
func TestKafkaDeletes(t *testing.T) {
	onKafka(t, 1, func(t *testing.T, w *world) {
		w.events(100, 0)
		r := w.start(session)
		w.awaitStored(100)
		w.awaitCommitted(0, 100)
		r.stop()
		w.events(50, 0)
		w.deleteRecords(0, 130)
		require.EqualValues(t, 30, w.lag().Lost)
		require.EqualValues(t, 20, w.lag().Records)
		r = w.start(session)
		w.awaitStored(120)
		require.Equal(t, [2]int64{1, 30}, losses(r))
		w.awaitCommitted(0, 150)
		require.Zero(t, w.lag().Lost)
		require.EqualValues(t, 30, w.unexplained())

		w.sink.Away(errStrange)
		w.events(10, 0)
		w.await("a pause", func() bool { return r.Stats().State == Paused })
		w.events(100, 0)
		w.deleteRecords(0, 240)
		w.sink.Away(nil)
		w.await("the rest", func() bool { return int64(w.sink.Len()) == 100+160-losses(r)[1] })
		w.awaitCommitted(0, 260)
		lost := losses(r)[1]
		require.LessOrEqual(t, lost, int64(30+80), "what was read when the pause began is stored")
		require.Greater(t, lost, int64(30))
		require.EqualValues(t, lost, w.unexplained())
		require.EqualValues(t, lost, r.Stats().Partitions[0].Lost)
		r.stop()
	})
}

func TestTopicIsDeletedOnKafka(t *testing.T) { onKafka(t, 1, topicIsDeleted) }

// On a real Kafka, too, which begins a rebalance for the group's leader alone when static members join again with nothing
// new to say, a partition that no member has gets one.
func TestPartitionOfNobodyOnKafka(t *testing.T) {
	onKafka(t, 3, func(t *testing.T, w *world) {
		const many = 1000
		var plans atomic.Int32
		static := func(id string) func(c *Config) {
			return func(c *Config) {
				session(c)
				c.InstanceID, c.orphanInterval = id, 500*time.Millisecond
				c.groupOpts = append(c.groupOpts, kgo.Balancers(forgetful{kgo.CooperativeStickyBalancer(), &plans, many}))
			}
		}
		first := w.start(static("one"))
		has := func(r *running) int { return len(r.Stats().Partitions) }
		w.await("the first", func() bool { return has(first) == 2 })
		second := w.start(static("two"))
		w.await("the second", func() bool { return len(w.members()) == 2 && second.Stats().Rebalances > 0 })
		w.events(10, 1)
		w.await("attempts", func() bool { return plans.Load() > 5 })
		require.Zero(t, w.sink.Len())
		plans.Store(many)
		w.awaitStored(10)
		w.await("all", func() bool { return has(first)+has(second) == 3 })
		first.stop()
		second.stop()
	})
}
