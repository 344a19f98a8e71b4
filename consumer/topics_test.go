package consumer

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/kafkaclient"
)

// soon is longer than it takes to find a new topic and to share it out.
const soon = 40 * time.Second

// topic makes a topic with one partition.
func (w *world) topic(name string) {
	w.t.Helper()
	_, err := w.adm().CreateTopic(w.t.Context(), 1, 1, nil, name)
	require.NoError(w.t, err)
}

// eventsTo produces n new events to partition 0 of a topic.
func (w *world) eventsTo(topic string, n int) {
	w.t.Helper()
	for range n {
		r := w.record(w.event("tenant of "+topic), 0)
		r.Topic = topic
		w.produce(r)
	}
}

func patterns(topics ...string) func(*Config) {
	return func(c *Config) { c.Topics, c.LetterTopic = topics, testLetters }
}

// has returns whether a partition of the topic is assigned to the worker.
func (r *running) has(topic string) func() bool {
	return func() bool {
		return slices.ContainsFunc(r.Stats().Partitions, func(p PartitionStat) bool { return p.Topic == topic })
	}
}

// A pattern's topics are read, those that are made later within seconds, and never letters or what only looks alike.
func TestTopicsByPattern(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		for _, topic := range []string{"audit.t.a", "audit.t.a.dlq", "audit", "auditX.t.b", "my.audit.t.b", "__audit.t", "other"} {
			w.topic(topic)
			w.eventsTo(topic, 3)
		}
		w.events(5, 1)
		r := w.start(patterns("audit.*", "other"))
		w.awaitStored(3 + 3 + 5)
		require.Len(t, r.Stats().Partitions, 4)
		w.topic("audit.t.new")
		w.topic("audit.t.new.dlq")
		began := time.Now()
		w.await("the new topic", r.has("audit.t.new"))
		require.Less(t, time.Since(began), soon)
		w.eventsTo("audit.t.new", 4)
		w.eventsTo("audit.t.new.dlq", 4)
		w.awaitStored(15)
		pass(time.Minute)
		require.Equal(t, 15, w.sink.Len())
		require.NoError(t, r.Ready())

		lag, err := Lag(t.Context(), kafkaclient.Config{Brokers: []string{w.broker}, Dial: w.dial}, testGroup, "audit.*")
		require.NoError(t, err)
		require.Len(t, lag.Partitions, 4)
		require.Zero(t, lag.Records)
		_, err = Lag(t.Context(), kafkaclient.Config{Brokers: []string{w.broker}, Dial: w.dial}, testGroup, "nothing.*")
		require.ErrorContains(t, err, "topics: none there is matches nothing.*")

		r.stop()
		w.noLetters()
	})
}

// A topic that is deleted stops nobody, and one that is made again is read.
func TestTopicIsDeleted(t *testing.T) { inRealTime(t, 1, topicIsDeleted) }

func topicIsDeleted(t *testing.T, w *world) {
	w.topic("audit.t.a")
	w.eventsTo("audit.t.a", 3)
	r := w.start(func(c *Config) {
		patterns("audit.*")(c)
		c.SessionTimeout = 6 * time.Second
		c.groupOpts = []kgo.Opt{
			kgo.HeartbeatInterval(100 * time.Millisecond),
			kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100 * time.Millisecond),
			kgo.ConsiderMissingTopicDeletedAfter(time.Second),
		}
	})
	w.awaitStored(3)
	w.await("the commit", func() bool { return r.Stats().Partitions[1].Committed == 3 })
	_, err := w.adm().DeleteTopics(t.Context(), "audit.t.a")
	require.NoError(t, err)
	w.await("it to be gone", func() bool { return !r.has("audit.t.a")() })
	w.events(1, 0)
	w.awaitStored(4)
	w.await("the look at it", func() bool { signal(r.assignments); return r.Ready() == nil })
	w.topic("audit.t.a")
	w.cl.PurgeTopicsFromClient("audit.t.a")
	w.eventsTo("audit.t.a", 2)
	w.awaitStored(6)
	require.Equal(t, [2]int64{}, losses(r))
	require.Empty(t, r.Stats().Letters)
	r.stop()
}

// Topics that come while the sink is away wait like the others.
func TestNewTopicWhileTheSinkIsAway(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.events(10, 0)
		r := w.start(patterns("audit.*"))
		w.awaitCommitted(0, 10)
		w.sink.Away(errStrange)
		w.events(1, 0)
		w.await("a pause", func() bool { return r.Stats().State == Paused })
		w.topic("audit.t.new")
		w.eventsTo("audit.t.new", 7)
		w.await("the new topic", func() bool { return len(r.Stats().Partitions) == 2 })
		pass(time.Minute)
		s := r.Stats()
		require.EqualValues(t, 11, s.Records, "it is not read")
		require.EqualValues(t, 7, s.Partitions[1].Lag)
		w.sink.Away(nil)
		w.awaitStored(18)
		r.stop()
	})
}

// A worker whose patterns match nothing yet is ready, and reads what comes.
func TestNoTopicYet(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(patterns("tenants.*"))
		w.await("start", func() bool { return r.Ready() == nil })
		pass(time.Minute)
		require.False(t, r.hasFirst())
		w.topic("tenants.a")
		w.eventsTo("tenants.a", 3)
		w.awaitStored(3)
		w.await("it to be the first", r.hasFirst)
		w.topic("tenants.0")
		w.await("another to be the first", func() bool { return r.first() == "tenants.0" && r.hasFirst() })
		r.stop()
	})
}

// A rewind and a direct replay take patterns too.
func TestReplayByPattern(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.topic("audit.t.a")
		w.topic("audit.t.b")
		w.eventsTo("audit.t.a", 2)
		w.eventsTo("audit.t.b", 3)
		r := w.rewind()
		r.Topics, r.ToBeginning = []string{"audit.t.*"}, true
		moves, err := r.Run(t.Context())
		require.NoError(t, err)
		require.Len(t, moves, 2)
		r.ToBeginning, r.ToOffsets = false, map[int32]int64{0: 1}
		require.ErrorContains(t, r.Validate(), "to_offsets: they are of one topic")
		report, err := Replay{Kafka: r.Kafka, Topics: r.Topics, Sink: w.sink}.Run(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 5, report.Stored)
	})
}

// A group that is given by name what it is given by pattern elsewhere keeps its offsets.
func TestFromNamesToPatterns(t *testing.T) {
	inRealTime(t, 1, func(t *testing.T, w *world) {
		w.events(10, 0)
		one := w.start(nil)
		w.awaitCommitted(0, 10)
		two := w.start(patterns("audit.*"))
		w.await("both", func() bool { return len(w.members()) == 2 })
		one.stop()
		w.events(5, 0)
		w.awaitStored(15)
		require.EqualValues(t, 5, two.Stats().Records)
		two.stop()
	})
}
