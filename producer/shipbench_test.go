package producer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
)

const (
	shipRound   = 100_000
	shipTenants = 100
)

// BenchmarkShip ships a backlog, and the same records by franz-go alone, which has them rendered in memory, in turns.
// It is kfake that takes them, or with the tag integration a real broker. The ratio is that of the medians.
func BenchmarkShip(b *testing.B) {
	addrs := testenv.Broker(b)
	topic := testenv.Topic(b, addrs, 12)
	records := shipRecords(b, topic)
	bare, err := newClient(&Config{Kafka: kafkaclient.Config{Brokers: addrs}, Linger: 10 * time.Millisecond}, kgo.MaxBufferedRecords(50_000))
	require.NoError(b, err)
	defer bare.Close()
	p := start(b, Config{
		Kafka: kafkaclient.Config{Brokers: addrs}, Topic: topic, Dir: b.TempDir(), Namespace: "bench", WeakTopic: true,
	})
	require.NoError(b, p.Emit(within(b, time.Minute), shipEvent(0), OnBroker))
	produce(b, bare, records[:1])
	var alone, ours []float64
	for range b.N {
		alone = append(alone, produce(b, bare, records).Seconds())
		ours = append(ours, shipBacklog(b, p).Seconds())
	}
	require.Zero(b, p.Stats().Unprotected+p.Stats().DroppedEvents())
	slices.Sort(alone)
	slices.Sort(ours)
	median := len(alone) / 2
	b.ReportMetric(shipRound/alone[median], "bare-events/s")
	b.ReportMetric(shipRound/ours[median], "events/s")
	b.ReportMetric(alone[median]/ours[median], "ratio")
	b.ReportMetric(0, "ns/op")
}

func shipEvent(i int) firetrail.Event {
	return firetrail.Event{
		Tenant: fmt.Sprint("tenant-", i%shipTenants), Action: created.Name(), Entity: firetrail.Entity{ID: fmt.Sprint("c-", i)},
		Actor:   firetrail.Actor{Type: "user", ID: "u-1", Name: "Ada"},
		Request: firetrail.Request{IP: "192.0.2.1", UserAgent: "curl/8.0", ID: "0192f0c1-7b2e-7abc"},
		Old:     firetrail.Raw([]byte(`{"title":"Go","n":1,"tags":["a","b","c"],"description":"a course on the language"}`)),
		New:     firetrail.Raw([]byte(`{"title":"Go 2","n":2,"tags":["a","b","c"],"description":"a course on the language"}`)),
	}
}

// shipRecords are the records that the producer makes of the events of a round.
func shipRecords(b *testing.B, topic string) []*kgo.Record {
	records := make([]*kgo.Record, shipRound)
	ids := firetrail.NewIDGenerator()
	for i := range records {
		e := shipEvent(i)
		e.Time = time.Now().UTC().Truncate(time.Microsecond)
		e.ID, e.Recorded, e.Source, e.Seq = ids.Next(e.Time.UnixMicro()), e.Time, newSource(), uint64(i+1)
		value, err := e.AppendCloudEvent(nil)
		require.NoError(b, err)
		records[i] = &kgo.Record{Topic: topic, Key: []byte(e.Tenant), Value: value, Headers: eventHeaders}
	}
	return records
}

func produce(b *testing.B, cl *kgo.Client, records []*kgo.Record) time.Duration {
	var wg sync.WaitGroup
	wg.Add(len(records))
	begin := time.Now()
	for _, r := range records {
		again := kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
		cl.Produce(context.Background(), &again, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	return time.Since(begin)
}

// shipBacklog fires a round while shipping is held, and measures it then.
func shipBacklog(b *testing.B, p *Producer) time.Duration {
	p.routes.one.mu.Lock()
	n := p.routes.one.partitions
	p.routes.one.partitions = 0
	p.routes.one.mu.Unlock()
	for i := range shipRound {
		p.Fire(context.Background(), shipEvent(i))
		if i%10_000 == 9999 { // no faster than the ring is emptied
			require.NoError(b, p.log.Sync(context.Background()))
		}
	}
	begin := time.Now()
	p.routes.one.mu.Lock()
	p.routes.one.partitions = n
	p.routes.one.mu.Unlock()
	p.logs.all()[0].shipper.window.wake()
	require.NoError(b, p.Flush(within(b, time.Minute)))
	return time.Since(begin)
}
