package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/kafkaclient"
)

func (w *world) lag() GroupLag {
	w.t.Helper()
	lag, err := Lag(w.t.Context(), kafkaclient.Config{Brokers: []string{w.broker}, Dial: w.dial}, testGroup, testTopic)
	require.NoError(w.t, err)
	return lag
}

// setGroup commits an offset of a partition for the group, which has no members.
func (w *world) setGroup(partition int32, offset int64) {
	w.t.Helper()
	var o kadm.Offsets
	o.AddOffset(testTopic, partition, offset, -1)
	done, err := w.adm().CommitOffsets(w.t.Context(), testGroup, o)
	require.NoError(w.t, err)
	require.NoError(w.t, done.Error())
}

// deleteRecords makes Kafka forget a partition's records below an offset.
func (w *world) deleteRecords(partition int32, below int64) {
	w.t.Helper()
	var o kadm.Offsets
	o.AddOffset(testTopic, partition, below, -1)
	done, err := w.adm().DeleteRecords(w.t.Context(), o)
	require.NoError(w.t, err)
	require.NoError(w.t, done.Error())
}

// The lag of a group that doesn't exist, is stopped, has lost records, or runs.
func TestGroupLag(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		began := time.Now()
		w.events(10, 0)
		pass(time.Minute)
		w.events(5, 1)
		lag := w.lag()
		require.Equal(t, "Dead", lag.State)
		require.EqualValues(t, 15, lag.Records)
		require.WithinDuration(t, began, lag.Oldest, time.Second)
		require.Equal(t, PartitionLag{Topic: testTopic, Partition: 2, Committed: -1}, lag.Partitions[2], "empty")

		w.setGroup(0, 10)
		w.setGroup(1, 1)
		w.deleteRecords(1, 3)
		lag = w.lag()
		require.Equal(t, "Empty", lag.State)
		require.EqualValues(t, 2, lag.Records)
		require.EqualValues(t, 2, lag.Lost)
		require.Zero(t, lag.Partitions[0].Records)
		require.True(t, lag.Partitions[0].Oldest.IsZero())
		require.WithinDuration(t, began.Add(time.Minute), lag.Oldest, time.Second)

		r := w.start(nil)
		w.awaitStored(2)
		w.awaitCommitted(1, 5)
		lag = w.lag()
		require.Equal(t, "Stable", lag.State)
		require.Len(t, lag.Members, 1)
		require.Zero(t, lag.Records)
		r.stop()
	})
}

// A worker's own lag is right for partitions that it reads nothing of: after a rebalance, while they are idle, and
// while its sink is away.
func TestWorkersLag(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		w.events(10, 0)
		w.events(4, 1)
		w.setGroup(0, 10)
		w.sink.Away(errStrange)
		r := w.start(nil)
		at := func(i int) (p PartitionStat) {
			if ps := r.Stats().Partitions; len(ps) == 3 {
				p = ps[i]
			} else {
				p.Lag = -1
			}
			return p
		}
		w.await("all to be known", func() bool { return at(0).Lag == 0 && at(1).Lag == 4 && at(2).Lag == 0 })
		require.True(t, at(0).Oldest.IsZero())
		require.False(t, at(1).Oldest.IsZero())
		w.await("a pause", func() bool { return r.Stats().State == Paused })
		began := time.Now()
		w.events(3, 2)
		pass(time.Minute)
		require.EqualValues(t, 3, at(2).Lag)
		require.WithinDuration(t, began, at(2).Oldest, time.Second, "it was not read, only looked at")
		w.sink.Away(nil)
		w.awaitStored(7)
		w.await("no lag", func() bool { return at(1).Lag == 0 && at(2).Lag == 0 && at(2).Oldest.IsZero() })
		r.stop()
	})
}

// A stopped group that stands before markers and aborted records alone is not behind, and no time is shown for it.
func TestGroupLagOfMarkers(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		cl := w.client(kgo.TransactionalID("tx"))
		defer cl.Close()
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
			require.NoError(t, cl.BeginTransaction())
			require.NoError(t, cl.ProduceSync(t.Context(), w.record(w.event("a"), 0)).FirstErr())
			require.NoError(t, cl.EndTransaction(t.Context(), end))
		}
		w.events(3, 1)
		w.setGroup(0, 1) // the commit's marker, an aborted record and its marker are left
		w.setGroup(1, 1)
		lag := w.lag()
		require.EqualValues(t, 2, lag.Records)
		require.Zero(t, lag.Partitions[0].Records)
		require.True(t, lag.Partitions[0].Oldest.IsZero())
		w.setGroup(0, 0)
		require.EqualValues(t, 4, w.lag().Partitions[0].Records)
	})
}

// After a rebalance each partition's lag is told by its owner alone, for those that are idle too, and a partition that
// nobody can tell of doesn't hide the others.
func TestLagAfterRebalances(t *testing.T) {
	inRealTime(t, 4, func(t *testing.T, w *world) {
		for p := range int32(2) {
			w.events(20, p)
		}
		a := w.start(nil)
		w.awaitStored(40)
		b := w.start(nil)
		owners := func(rs ...*running) map[int32]int {
			n := map[int32]int{}
			for _, r := range rs {
				for _, p := range r.Stats().Partitions {
					if p.Lag == 0 && p.Oldest.IsZero() {
						n[p.Partition]++
					}
				}
			}
			return n
		}
		all := map[int32]int{0: 1, 1: 1, 2: 1, 3: 1}
		w.await("two owners", func() bool {
			return len(b.Stats().Partitions) == 2 && assert.ObjectsAreEqual(all, owners(a, b))
		})
		a.stop()
		require.Empty(t, a.Stats().Partitions, "what was given back is nobody's here")
		w.await("one owner", func() bool { return assert.ObjectsAreEqual(all, owners(b)) })

		w.cluster.ControlKey(kmsg.ListOffsets.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
			for _, topic := range req.(*kmsg.ListOffsetsRequest).Topics {
				out := kmsg.NewListOffsetsResponseTopic()
				out.Topic = topic.Topic
				for _, p := range topic.Partitions {
					answer := kmsg.NewListOffsetsResponseTopicPartition()
					answer.Partition, answer.Offset = p.Partition, 1000
					switch {
					case p.Partition == 3:
						answer.ErrorCode = kerr.LeaderNotAvailable.Code
					case p.Timestamp == -2: // the start
						answer.Offset = 0
					}
					out.Partitions = append(out.Partitions, answer)
				}
				res.Topics = append(res.Topics, out)
			}
			return res, nil, true
		})
		signal(b.assignments)
		w.await("the lag of those that are known", func() bool {
			ps := b.Stats().Partitions
			return ps[0].Lag == 980 && ps[2].Lag == 1000 && ps[3].Lag == 0
		})
		w.await("unreadiness", func() bool { return b.Ready() != nil })
		require.ErrorContains(t, b.Ready(), "partition 3: LEADER_NOT_AVAILABLE")
		b.stop()
	})
}
