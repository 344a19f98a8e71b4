package consumer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// Workers come and go while 100,000 events flow: all are stored once, and no commit is ever ahead.
func TestRebalancesLoseNothing(t *testing.T) {
	inRealTime(t, 4, func(t *testing.T, w *world) {
		const each = 25_000
		guard := guardCommits(w)
		w.sink.OnWrite(sinkertest.Delay(20 * time.Millisecond)) // so that rebalances meet writes
		small := func(c *Config) { c.Sink = guard; c.Batch.MaxSize = 1000; c.MaxInFlightBytes = 4 << 20 }
		more := func() {
			for p := range int32(4) {
				w.events(each/5, p)
			}
		}
		has := func(r *running) func() bool { return func() bool { return len(r.Stats().Partitions) > 0 } }
		a := w.start(small)
		more()
		w.await("a to write", func() bool { return w.sink.Len() > 5_000 })
		more()
		b := w.start(small)
		w.await("b to take part", has(b))
		more()
		c := w.start(small)
		w.await("c to take part", has(c))
		more()
		a.stop()
		more()
		w.await("b and c to go on", func() bool { return w.sink.Len() > 70_000 })
		b.abort()
		<-b.done
		w.awaitStored(4 * each)
		for p := range int32(4) {
			w.awaitCommitted(p, each)
		}
		for _, r := range []*running{a, b, c} {
			s := r.Stats()
			require.Positive(t, s.Stored)
			require.Zero(t, s.Conflicts)
			t.Logf("%d stored, %d again", s.Stored, s.Duplicates)
		}
		c.stop()
		require.NoError(t, guard.verdict())
		w.noLetters()
	})
}

// A rebalance in an outage is not held up, and the batch of the partitions that move is left to their new owner.
func TestRebalanceInAnOutage(t *testing.T) {
	inRealTime(t, 2, func(t *testing.T, w *world) {
		w.events(100, 0)
		w.events(100, 1)
		broken := &sinkertest.Memory{}
		broken.Away(errors.New("away"))
		a := w.start(func(c *Config) { c.Sink = broken })
		w.await("pause", func() bool { return a.Stats().State == Paused })
		b := w.start(nil)
		began := time.Now()
		w.await("b to have a partition", func() bool { return len(b.Stats().Partitions) == 1 })
		require.Less(t, time.Since(began), revokeTimeout)
		w.awaitStored(100)
		a.stop()
		w.awaitStored(200)
		b.stop()
		w.noLetters()
	})
}

func TestStaticMember(t *testing.T) {
	inRealTime(t, 2, func(t *testing.T, w *world) {
		named := func(id string) func(*Config) { return func(c *Config) { c.InstanceID = id } }
		w.events(10, 0)
		a := w.start(named("pod-0"))
		w.awaitStored(10)
		require.Len(t, w.members(), 1)
		t.Log("a clean stop leaves by instance id, so that the partitions move at once")
		a.stop()
		require.Empty(t, w.members())

		t.Log("a second worker of the same id takes over, and the first ends with a clear message")
		a = w.start(named("pod-0"))
		w.await("a's partitions", func() bool { return len(a.Stats().Partitions) == 2 })
		b := w.start(named("pod-0"))
		<-a.done
		require.ErrorIs(t, a.err, kerr.FencedInstanceID)
		require.ErrorContains(t, a.err, `instance_id: "pod-0" is used by another worker`)
		w.events(10, 1)
		w.awaitStored(20)
		require.Len(t, w.members(), 1, "the fenced worker must not take the other out of the group")
		b.stop()
	})
}

func TestMissingTopics(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(func(c *Config) { c.Topics = []string{testTopic, "none"}; c.LetterTopic = "no.letters" })
		<-r.done
		require.ErrorContains(t, r.err, "topic none, no.letters: not there; make it with: sink-worker topics create")
		require.Error(t, r.Ready())
	})
}

func TestNoPermission(t *testing.T) {
	for _, c := range []struct {
		key  kmsg.Key
		err  *kerr.Error
		want string
	}{
		{kmsg.FindCoordinator, kerr.GroupAuthorizationFailed, "group: no permission"},
		{kmsg.JoinGroup, kerr.GroupAuthorizationFailed, "group: no permission"},
		{kmsg.JoinGroup, kerr.InvalidSessionTimeout, "session_timeout: 45s is outside what the brokers allow"},
		{kmsg.Fetch, kerr.TopicAuthorizationFailed, "topics: no permission"},
		{kmsg.OffsetCommit, kerr.GroupAuthorizationFailed, "group: no permission"},
		{kmsg.Metadata, kerr.TopicAuthorizationFailed, "topics: no permission"},
	} {
		t.Run(c.key.Name(), func(t *testing.T) {
			inWorld(t, 1, func(t *testing.T, w *world) {
				w.events(1, 0)
				w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.err, Count: -1})
				r := w.start(nil)
				<-r.done
				require.ErrorContains(t, r.err, c.want)
				require.ErrorIs(t, r.err, c.err)
			})
		})
	}
}

// Brokers that can't be reached are waited for, at the start and later.
func TestBrokersAway(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.events(10, 0)
		var l *link
		r := w.start(func(c *Config) {
			l = &link{through: w.dial, cut: true}
			c.Kafka.Dial = l.dial
		})
		pass(time.Hour)
		require.ErrorContains(t, r.Ready(), "the network is cut")
		l.set(false)
		w.awaitStored(10)
		require.NoError(t, r.Ready())

		l.set(true)
		w.await("unreadiness", func() bool { return r.Ready() != nil })
		pass(time.Hour)
		l.set(false)
		w.events(10, 0)
		w.awaitStored(20)
		w.await("readiness", func() bool { return r.Ready() == nil })
		w.awaitCommitted(0, 20)
		r.stop()
	})
}

func TestStopWhileTheBrokersAreAway(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.events(10, 0)
		r := w.start(nil)
		w.awaitCommitted(0, 10)
		w.events(10, 0)
		w.await("fetch", func() bool { return r.Stats().Records == 20 })
		r.link.set(true)
		began := time.Now()
		r.stop()
		require.Less(t, time.Since(began), DefaultShutdownTimeout+2*leaveTimeout)
		require.Equal(t, 20, w.sink.Len(), "what was read is stored")
		r = w.start(nil)
		w.awaitCommitted(0, 20)
		require.EqualValues(t, 10, r.Stats().Duplicates)
		r.stop()
	})
}

// A topic that is deleted and made again is read from its start; what was read of the old one is stored.
func TestTopicMadeAgain(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(nil)
		w.events(50, 0)
		w.awaitCommitted(0, 50)
		require.NoError(t, w.cluster.DeleteTopic(testTopic))
		w.await("unreadiness", func() bool { return r.Ready() != nil })
		require.ErrorContains(t, r.Ready(), "audit.events: not there")
		require.NoError(t, w.cluster.CreateTopic(testTopic, 1, nil))
		w.cl.PurgeTopicsFromClient(testTopic)
		w.events(20, 0)
		w.awaitStored(70)
		w.await("readiness", func() bool { return r.Ready() == nil })
		w.awaitCommitted(0, 20)
		w.events(20, 0)
		w.awaitStored(90)
		r.stop()
	})
}

// What is in flight of a topic that is deleted and made again can't be read a second time: it is stored all the same.
func TestInFlightOfTheOldTopicIsStored(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		r := w.start(func(c *Config) { c.Batch.FlushInterval, c.Batch.MinFlushInterval = 24*time.Hour, 24*time.Hour })
		w.events(1, 0)
		w.awaitStored(1) // at once: there was none before it
		w.events(49, 0)
		w.await("fetch", func() bool { return r.Stats().Records == 50 })
		require.NoError(t, w.cluster.DeleteTopic(testTopic))
		require.NoError(t, w.cluster.CreateTopic(testTopic, 1, nil))
		w.cl.PurgeTopicsFromClient(testTopic)
		w.events(20, 0)
		w.await("the new topic", func() bool { return r.Stats().Records == 70 })
		require.Equal(t, 1, w.sink.Len())
		r.stop()
		require.Equal(t, 70, w.sink.Len())
		require.EqualValues(t, 20, w.committed(0))
	})
}

// Nothing is skipped where the group has no offset, nor where its offset is no more.
func TestReadsFromTheStart(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.events(30, 0)
		require.NoError(t, w.cluster.DeleteRecords(testTopic, 0, 10))
		o := kadm.Offsets{}
		o.AddOffset(testTopic, 0, 5, -1)
		require.NoError(t, w.adm().CommitAllOffsets(t.Context(), testGroup, o))
		r := w.start(nil)
		w.awaitStored(20)
		r.stop()
	})
}

// Records of a transaction are read when it is committed, and not when it is aborted; its markers hold up nothing.
func TestTransactions(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		cl := w.client(kgo.TransactionalID("tx"))
		defer cl.Close()
		for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
			require.NoError(t, cl.BeginTransaction())
			require.NoError(t, cl.ProduceSync(t.Context(), w.record(w.event("a"), 0), w.record(w.event("a"), 0)).FirstErr())
			require.NoError(t, cl.EndTransaction(t.Context(), commit))
		}
		r := w.start(nil)
		w.awaitStored(4)
		w.awaitCommitted(0, 9) // and the marker
		r.stop()
	})
}

// While a rebalance takes a partition away, its write under way is waited for and committed.
func TestRevokeWaitsForTheWrite(t *testing.T) {
	inRealTime(t, 2, func(t *testing.T, w *world) {
		w.events(100, 0)
		w.events(100, 1)
		release := make(chan struct{})
		began := make(chan struct{}, 10)
		w.sink.OnWrite(sinkertest.Times(1, func(ctx context.Context, _ sinkers.Batch) error {
			began <- struct{}{}
			<-release
			return nil
		}))
		a := w.start(nil)
		<-began
		b := w.start(nil)
		w.await("b to join", func() bool { return len(w.members()) == 2 })
		require.Never(t, func() bool { return len(b.Stats().Partitions) > 0 && len(a.Stats().Partitions) < 2 },
			200*time.Millisecond, 10*time.Millisecond, "a partition moved in the middle of its write")
		close(release)
		w.await("both", func() bool { return len(a.Stats().Partitions) == 1 && len(b.Stats().Partitions) == 1 })
		w.awaitCommitted(0, 100)
		w.awaitCommitted(1, 100)
		w.awaitStored(200)
		require.Zero(t, a.Stats().Duplicates+b.Stats().Duplicates)
		a.stop()
		b.stop()
	})
}
