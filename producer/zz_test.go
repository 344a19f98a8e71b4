package producer

import (
	"context"
	"testing"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
)

func BenchmarkZZ(b *testing.B) {
	ctx := firetrail.WithContext(context.Background(), firetrail.Context{
		Tenant: "acme", Actor: firetrail.Actor{Type: "user", ID: "u-1", Name: "Ada"},
		Request: firetrail.Request{IP: "192.0.2.1", UserAgent: "curl/8.0", ID: "0192f0c1-7b2e-7abc"},
	})
	oldRaw := []byte(`{"title":"Go","n":1,"tags":["a","b","c"],"description":"a course on the language"}`)
	newRaw := []byte(`{"title":"Go 2","n":2,"tags":["a","b","c"],"description":"a course on the language"}`)
	e := func() firetrail.Event {
		return firetrail.Event{Action: created.Name(), Entity: firetrail.Entity{ID: "c-1"}, Old: firetrail.Raw(oldRaw), New: firetrail.Raw(newRaw)}
	}
	for _, mode := range []Mode{Volatile, Durable} {
		b.Run(mode.String(), func(b *testing.B) {
			cfg := Config{Kafka: kafkaclient.Config{Brokers: []string{"127.0.0.1:1"}}, Mode: mode, Dir: b.TempDir(), Namespace: "bench", MaxBytes: -1, MaxInFlight: 1}
			p, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			var spent time.Duration
			n := 0
			b.ResetTimer()
			for n < b.N {
				t := time.Now()
				for range 1000 {
					p.Fire(ctx, e())
				}
				spent += time.Since(t)
				n += 1000
				if n%10000 == 0 && mode == Durable {
					_ = p.log.Sync(ctx)
				}
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(n), "ns/op")
			b.StopTimer()
			if mode == Volatile { p.log.Release(1<<62) }
			c, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = p.Close(c)
		})
	}
}
