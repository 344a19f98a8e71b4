package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

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
