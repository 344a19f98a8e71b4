package dlq

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
)

const lettersTopic = "audit.events.dlq"

func broker(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, lettersTopic))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func client(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

func readAll(t *testing.T, c *kfake.Cluster) (got []Letter, errs []error) {
	t.Helper()
	for l, err := range ReadTopic(t.Context(), lettersTopic, kgo.SeedBrokers(c.ListenAddrs()...)) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got = append(got, l)
	}
	return got, errs
}

func TestTopicRoundTrip(t *testing.T) {
	c := broker(t)
	topic := NewTopic(client(t, c), lettersTopic)
	in := append(letters("a", 0, 300), letters("b", 0, 20)...)
	in[5].Key, in[5].Value = nil, nil
	in[6].Key, in[6].Value = []byte{}, []byte{}
	in[7].Value = []byte{0xff, 0, 1}
	in[8].Headers = []Header{{Key: "nil"}, {Key: "empty", Value: []byte{}}, {Key: HeaderLetterID, Value: []byte("an older one")}}
	require.NoError(t, topic.Put(t.Context(), in))
	got, errs := readAll(t, c)
	require.Empty(t, errs)
	require.ElementsMatch(t, in, got)
	// One partition a key, in order.
	var a []string
	for _, l := range got {
		if string(l.Key) == "b" {
			a = append(a, l.ID)
		}
	}
	require.Equal(t, ids(letters("b", 0, 20)), a)
}

func TestReadTopicEmptyAndMissing(t *testing.T) {
	c := broker(t)
	got, errs := readAll(t, c)
	require.Empty(t, got)
	require.Empty(t, errs)
	var last error
	for _, err := range ReadTopic(t.Context(), "nosuch", kgo.SeedBrokers(c.ListenAddrs()...)) {
		last = err
	}
	require.ErrorIs(t, last, kerr.UnknownTopicOrPartition)
	require.ErrorContains(t, last, "nosuch")
}

// What was purged, a transaction's markers at the end and what is no letter don't hold up the reading.
func TestReadTopicWithGapsAndMarkers(t *testing.T) {
	c := broker(t)
	cl := client(t, c, kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	produce := func(commit kgo.TransactionEndTry, rs ...*kgo.Record) {
		require.NoError(t, cl.BeginTransaction())
		require.NoError(t, cl.ProduceSync(t.Context(), rs...).FirstErr())
		require.NoError(t, cl.EndTransaction(t.Context(), commit))
	}
	for i := range 3 {
		produce(kgo.TryCommit, letter("kept", i).Record(lettersTopic))
	}
	produce(kgo.TryAbort, letter("aborted", 1).Record(lettersTopic))
	gone := letter("gone", 1).Record(lettersTopic)
	gone.Partition = 1
	produce(kgo.TryCommit, gone)
	foreign := &kgo.Record{Topic: lettersTopic, Partition: 2, Value: []byte("v")}
	last := letter("last", 1).Record(lettersTopic)
	last.Partition = 2
	produce(kgo.TryCommit, foreign, last)
	adm := kadm.NewClient(cl)
	var del kadm.Offsets
	del.AddOffset(lettersTopic, 1, 2, -1)
	deleted, err := adm.DeleteRecords(t.Context(), del)
	require.NoError(t, err)
	require.NoError(t, deleted.Error())
	got, errs := readAll(t, c)
	require.ElementsMatch(t, []string{"kept-0", "kept-1", "kept-2", "last-1"}, ids(got))
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], ErrNotLetter)
}

// Letters purged while they are being read are no reason to wait for them.
func TestReadTopicPurgedMeanwhile(t *testing.T) {
	c := broker(t)
	cl := client(t, c)
	topic := NewTopic(cl, lettersTopic)
	for i := range 8 { // one batch each
		require.NoError(t, topic.Put(t.Context(), letters("a", i, i+1)))
	}
	n := 0
	err := readTopic(t.Context(), lettersTopic, []kgo.Opt{
		kgo.SeedBrokers(c.ListenAddrs()...), kgo.FetchMaxBytes(1),
		kgo.FetchMaxPartitionBytes(1), kgo.MaxConcurrentFetches(1),
	}, 20*time.Millisecond, func(r *kgo.Record) bool {
		_, err := ParseRecord(r)
		require.NoError(t, err)
		if n++; n == 1 {
			adm := kadm.NewClient(cl)
			ends, err := adm.ListEndOffsets(t.Context(), lettersTopic)
			require.NoError(t, err)
			deleted, err := adm.DeleteRecords(t.Context(), ends.Offsets())
			require.NoError(t, err)
			require.NoError(t, deleted.Error())
		}
		return true
	})
	require.NoError(t, err)
	require.Less(t, n, 8)
}

func TestReadTopicStops(t *testing.T) {
	c := broker(t)
	require.NoError(t, NewTopic(client(t, c), lettersTopic).Put(t.Context(), letters("a", 0, 10)))
	n := 0
	for _, err := range ReadTopic(t.Context(), lettersTopic, kgo.SeedBrokers(c.ListenAddrs()...)) {
		require.NoError(t, err)
		if n++; n == 3 {
			break
		}
	}
	require.Equal(t, 3, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range ReadTopic(ctx, lettersTopic, kgo.SeedBrokers(c.ListenAddrs()...)) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestTopicRefusals(t *testing.T) {
	c := broker(t)
	topic := NewTopic(client(t, c, kgo.ProducerBatchMaxBytes(2000)), lettersTopic)
	in := letters("a", 0, 3)
	in[1].Value = make([]byte, 4000)
	err := topic.Put(t.Context(), in)
	var te *TopicError
	require.ErrorAs(t, err, &te)
	require.Len(t, te.Failed, 1)
	require.Equal(t, 1, te.Failed[0].Index)
	require.ErrorIs(t, err, kerr.MessageTooLarge)
	require.ErrorContains(t, err, "a-1")
	got, _ := readAll(t, c)
	require.Equal(t, []string{"a-0", "a-2"}, ids(got))
}

// A broker that says nothing holds up nobody for longer than the timeout, and a caller who has gone for
// not even that long.
func TestTopicIsBounded(t *testing.T) {
	c := broker(t)
	release := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		c.SleepControl(func() { <-release })
		return nil, nil, false
	})
	defer close(release)
	topic := NewTopic(client(t, c), lettersTopic)
	topic.Timeout = 20 * time.Millisecond
	err := topic.Put(t.Context(), letters("a", 0, 2))
	var te *TopicError
	require.ErrorAs(t, err, &te)
	require.Len(t, te.Failed, 2)

	topic.Timeout = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller has gone")
	go cancel(gone)
	require.ErrorIs(t, topic.Put(ctx, letters("a", 0, 2)), gone)
	require.NoError(t, topic.Put(t.Context(), nil))
}
