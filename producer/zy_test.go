package producer

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func BenchmarkZY(b *testing.B) {
	c := cluster(b)
	cl, _ := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("audit.events"), kgo.ProducerLinger(0))
	defer cl.Close()
	val := make([]byte, 500)
	var spent time.Duration
	n := 0
	b.ReportAllocs()
	for n < b.N {
		t := time.Now()
		for range 80 {
			cl.TryProduce(context.Background(), &kgo.Record{Key: []byte("acme"), Value: val}, func(*kgo.Record, error) {})
		}
		spent += time.Since(t)
		n += 80
		_ = cl.Flush(context.Background())
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(n), "ns/op")
}
