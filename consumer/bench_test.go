package consumer

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
)

// discard is a sink that takes everything and keeps nothing.
type discard struct {
	sinkers.Sinker
	rows atomic.Int64
}

func (d *discard) Write(_ context.Context, b sinkers.Batch) (sinkers.Result, error) {
	d.rows.Add(int64(len(b.Rows)))
	return sinkers.Result{Stored: len(b.Rows)}, nil
}

const benchEvents = 300_000

// benchTopic fills a topic of 8 partitions with events of about 600 bytes on the wire.
func benchTopic(b *testing.B) (broker string) {
	b.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(8, testTopic), kfake.SeedTopics(1, testLetters))
	require.NoError(b, err)
	b.Cleanup(cluster.Close)
	broker = cluster.ListenAddrs()[0]
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(testTopic))
	require.NoError(b, err)
	defer cl.Close()
	meta := firetrail.Raw([]byte(`{"region":"eu-central-1","userAgent":"console.amazonaws.com","readOnly":false}`))
	bytes := 0
	for i := range benchEvents {
		now := time.Now()
		e := testAction.Event(firetrail.Input[struct{}]{
			Tenant: fmt.Sprint("tenant-", i%100), Time: now, Metadata: meta,
			Entity: firetrail.Entity{Type: "course", ID: fmt.Sprint(i)},
			Actor:  firetrail.Actor{Type: "user", ID: "u1", Name: "Ada Lovelace"},
		})
		e.ID, e.Source, e.Seq, e.Recorded = testIDs.Next(now.UnixMicro()), "bench", uint64(i), now
		value, err := e.AppendCloudEvent(nil)
		require.NoError(b, err)
		bytes += len(value)
		cl.Produce(b.Context(), &kgo.Record{Key: []byte(e.Tenant), Value: value, Headers: []kgo.RecordHeader{{
			Key: firetrail.ContentTypeHeader, Value: []byte(firetrail.ContentType),
		}}}, nil)
	}
	require.NoError(b, cl.Flush(b.Context()))
	b.Logf("%d events of %d bytes", benchEvents, bytes/benchEvents)
	return broker
}

// bareRun reads the topic with the client alone, and decodes what it reads if it is told to.
func bareRun(b *testing.B, broker, group string, decode bool) time.Duration {
	b.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(testTopic), kgo.ConsumerGroup(group),
		kgo.FetchMaxBytes(maxFetch)) // the client reads ahead: as much as the worker's
	require.NoError(b, err)
	defer cl.Close()
	var began time.Time
	for n := 0; n < benchEvents; {
		f := cl.PollFetches(b.Context())
		if began.IsZero() {
			began = time.Now() // joining the group is not what is measured
		}
		n += f.NumRecords()
		if decode {
			part := &batch{}
			f.EachRecord(func(r *kgo.Record) { part.add(item{rec: r}, recordBytes(r)) })
			_, letters := decodeBatch(part, make([]sinkers.Row, part.len()), time.Now(), runtime.GOMAXPROCS(0))
			require.Empty(b, letters)
		}
	}
	return time.Since(began)
}

func workerRun(b *testing.B, broker, group string) time.Duration {
	b.Helper()
	sink := &discard{}
	w, err := New(Config{Kafka: kafkaclient.Config{Brokers: []string{broker}}, Group: group, Sink: sink})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	for w.Stats().Records == 0 {
		<-time.After(time.Millisecond)
	}
	began := time.Now()
	for w.flow.mark() < benchEvents-DefaultMaxSize { // the last batch waits for its interval
		<-time.After(time.Millisecond)
	}
	took := time.Since(began)
	cancel()
	require.NoError(b, <-done)
	return took
}

// mark is the sum of all marks.
func (f *flow) mark() (sum int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.parts {
		sum += max(p.mark, 0)
	}
	return sum
}

// BenchmarkWorker holds the way from fetch to commit, with a sink that does nothing, against a bare client that
// reads the same topic, and one that decodes it too, in turns.
func BenchmarkWorker(b *testing.B) {
	broker := benchTopic(b)
	var bare, decoding, worker time.Duration
	for i := range b.N {
		bare += bareRun(b, broker, fmt.Sprint("bare", b.N, i), false)
		decoding += bareRun(b, broker, fmt.Sprint("decoding", b.N, i), true)
		worker += workerRun(b, broker, fmt.Sprint("worker", b.N, i))
	}
	rate := func(d time.Duration, events int) float64 { return float64(b.N*events) / d.Seconds() }
	own := rate(worker, benchEvents-DefaultMaxSize)
	b.ReportMetric(rate(bare, benchEvents), "bare-events/s")
	b.ReportMetric(rate(decoding, benchEvents), "decoding-events/s")
	b.ReportMetric(own, "events/s")
	b.ReportMetric(own/rate(bare, benchEvents), "of-bare")
	b.ReportMetric(own/rate(decoding, benchEvents), "of-decoding")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDecode makes rows of real records, as the decode stage does, in one goroutine.
func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	var part batch
	for _, rec := range realRecords(b, DefaultMaxSize) {
		part.add(item{rec: rec}, recordBytes(rec))
	}
	decoded := make([]sinkers.Row, part.len())
	b.SetBytes(part.bytes / DefaultMaxSize)
	b.ResetTimer()
	for range b.N/DefaultMaxSize + 1 {
		_, letters := decodeBatch(&part, decoded, time.Now(), 1)
		require.Empty(b, letters)
	}
}
