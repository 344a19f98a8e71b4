package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/kafkaclient"
)

func (w *world) rewind() Rewind {
	return Rewind{
		Kafka: kafkaclient.Config{Brokers: []string{w.broker}, Dial: w.dial}, Group: testGroup, Topics: []string{testTopic},
	}
}

func (w *world) moved(r Rewind) map[int32][2]int64 {
	w.t.Helper()
	moves, err := r.Run(w.t.Context())
	require.NoError(w.t, err)
	got := map[int32][2]int64{}
	for _, m := range moves {
		got[m.Partition] = [2]int64{m.From, m.To}
	}
	return got
}

func TestRewind(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		w.events(5, 0)
		pass(time.Minute)
		middle := time.Now()
		pass(time.Minute)
		w.events(5, 0)
		w.events(4, 1)
		w.deleteRecords(1, 1)
		w.setGroup(0, 10)
		w.setGroup(2, 0)

		r := w.rewind()
		r.ToBeginning, r.DryRun = true, true
		want := map[int32][2]int64{0: {10, 0}, 1: {-1, 1}, 2: {0, 0}}
		require.Equal(t, want, w.moved(r))
		require.EqualValues(t, 10, w.committed(0))
		r.DryRun = false
		require.Equal(t, want, w.moved(r))
		require.EqualValues(t, 0, w.committed(0))
		require.EqualValues(t, 1, w.committed(1))

		r = w.rewind()
		r.ToTime = middle
		require.Equal(t, map[int32][2]int64{0: {0, 0}, 1: {1, 1}, 2: {0, 0}}, w.moved(r), "what is unread is not skipped")
		w.setGroup(0, 10)
		require.Equal(t, map[int32][2]int64{0: {10, 5}, 1: {1, 1}, 2: {0, 0}}, w.moved(r))
		r.ToTime = time.Now().Add(time.Hour)
		require.Equal(t, map[int32][2]int64{0: {5, 5}, 1: {1, 1}, 2: {0, 0}}, w.moved(r), "nor by a time to come")
		r.Partitions = []int32{1}
		require.Equal(t, map[int32][2]int64{1: {1, 1}}, w.moved(r))
		r.Partitions = []int32{7}
		_, err := r.Run(t.Context())
		require.ErrorContains(t, err, "no partition 7")

		r = w.rewind()
		r.ToOffsets = map[int32]int64{0: 7, 1: 4}
		skipping, err := r.Run(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, skipping[0].Skipped())
		require.Zero(t, skipping[0].Lost())
		require.EqualValues(t, 3, skipping[1].Skipped())
		require.EqualValues(t, 7, w.committed(0))
		require.EqualValues(t, 4, w.committed(1))
		require.EqualValues(t, 0, w.committed(2))
		r.ToOffsets = map[int32]int64{0: 11, 1: 0}
		_, err = r.Run(t.Context())
		require.ErrorContains(t, err, "partition 0 has offsets 0 to 10, not 11")
		require.ErrorContains(t, err, "partition 1 has offsets 1 to 4, not 0")
		require.EqualValues(t, 7, w.committed(0))

		w.deleteRecords(0, 9)
		r = w.rewind()
		r.ToBeginning = true
		short, err := r.Run(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, short[0].Lost(), "7 and 8")
		require.Zero(t, short[0].Skipped())

		_, err = Rewind{Topics: []string{"a", "b"}, ToBeginning: true, ToOffsets: map[int32]int64{0: 1}, Partitions: []int32{1}}.Run(t.Context())
		for _, field := range []string{"kafka: ", "group: ", "to: ", "to_offsets: ", "partitions: "} {
			require.ErrorContains(t, err, field)
		}
	})
}

// A live group is not touched, and its members are named; a static member that was killed is waited for, or taken
// out. What is read again makes no duplicate.
func TestRewindLiveGroup(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		w.events(10, 0)
		worker := w.start(nil)
		w.awaitStored(10)
		w.awaitCommitted(0, 10)
		r := w.rewind()
		r.ToBeginning = true
		var live *LiveGroupError
		_, err := r.Run(t.Context())
		require.ErrorAs(t, err, &live)
		require.ErrorContains(t, err, "firetrail (at ")
		require.EqualValues(t, 10, w.committed(0))
		r.DryRun = true
		require.Equal(t, [2]int64{10, 0}, w.moved(r)[0])
		worker.stop()
		r.DryRun = false
		require.Equal(t, [2]int64{10, 0}, w.moved(r)[0])

		static := func(c *Config) { c.InstanceID = "pod-7" }
		killed := w.start(static)
		w.await("the replay", func() bool { return killed.Stats().Duplicates == 10 })
		w.awaitCommitted(0, 10)
		r.Wait = -1
		_, err = r.Run(t.Context())
		require.ErrorContains(t, err, "instance id pod-7")
		killed.abort()
		<-killed.done
		_, err = r.Run(t.Context())
		require.ErrorAs(t, err, &live, "nobody knows yet that it is dead")
		var waited []GroupMember
		r.Wait, r.OnWait = 2*time.Minute, func(m []GroupMember) { waited = m }
		require.Equal(t, [2]int64{10, 0}, w.moved(r)[0])
		require.Equal(t, "pod-7", waited[0].InstanceID)

		killed = w.start(static)
		w.await("the replay", func() bool { return killed.Stats().Duplicates == 10 })
		w.awaitCommitted(0, 10)
		killed.abort()
		<-killed.done
		r.Wait, r.Remove = -1, []string{"pod-7"}
		require.Equal(t, [2]int64{10, 0}, w.moved(r)[0])
		require.Equal(t, 10, w.sink.Len())
		w.noLetters()
	})
}
