package producer

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
)

// burst is how many events are fired before the clock is stopped and the log emptied: what fits the ring, so that
// what is measured is the caller's cost and not the disk's speed.
const burst = 10_000

// BenchmarkFire measures what Fire costs its caller. The floor is the encoding alone.
func BenchmarkFire(b *testing.B) {
	c := cluster(b)
	ctx := firetrail.WithContext(context.Background(), firetrail.Context{
		Tenant: "acme", Actor: firetrail.Actor{Type: "user", ID: "u-1", Name: "Ada"},
		Request: firetrail.Request{IP: "192.0.2.1", UserAgent: "curl/8.0", ID: "0192f0c1-7b2e-7abc"},
	})
	oldRaw := []byte(`{"title":"Go","n":1,"tags":["a","b","c"],"description":"a course on the language"}`)
	newRaw := []byte(`{"title":"Go 2","n":2,"tags":["a","b","c"],"description":"a course on the language"}`)
	events := map[string]func() firetrail.Event{
		"raw": func() firetrail.Event {
			return firetrail.Event{Action: created.Name(), Entity: firetrail.Entity{ID: "c-1"}, Old: firetrail.Raw(oldRaw), New: firetrail.Raw(newRaw)}
		},
		"struct": func() firetrail.Event {
			return created.Event(firetrail.Input[course]{Entity: firetrail.Entity{ID: "c-1"}, Old: &course{"Go", 1}, New: &course{"Go 2", 2}})
		},
	}
	for _, kind := range []string{"raw", "struct"} {
		e := events[kind]
		b.Run(kind+"/encode alone", func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 4096)
			for range b.N {
				e := e()
				e.FillFrom(ctx)
				buf, _, _ = e.AppendBinary(buf[:0])
			}
		})
		for _, mode := range []Mode{Volatile, Durable} {
			for _, goroutines := range []int{1, 8} {
				b.Run(kind+"/"+mode.String()+"/"+map[int]string{1: "1", 8: "8"}[goroutines], func(b *testing.B) {
					cfg := Config{Kafka: kafkaclient.Config{Brokers: c.ListenAddrs()}, Mode: mode, Dir: b.TempDir(), Namespace: "bench", MaxBytes: -1}
					p := start(b, cfg)
					fireBursts(b, p, ctx, e, goroutines)
					require.Zero(b, p.Stats().Unprotected)
					require.Zero(b, p.Stats().DroppedEvents())
				})
			}
		}
	}
}

func fireBursts(b *testing.B, p *Producer, ctx context.Context, e func() firetrail.Event, goroutines int) {
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= burst {
		n := min(left, burst)
		if goroutines == 1 {
			for range n {
				p.Fire(ctx, e())
			}
		} else {
			done := make(chan struct{})
			for range goroutines {
				go func() {
					for range n / goroutines {
						p.Fire(ctx, e())
					}
					done <- struct{}{}
				}()
			}
			for range goroutines {
				<-done
			}
		}
		b.StopTimer()
		if err := p.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
