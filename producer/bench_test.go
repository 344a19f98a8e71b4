package producer

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/race"
	"github.com/firetrail/firetrail/kafkaclient"
)

// burst is how many events are fired before the clock is stopped and all of them are shipped: about a request's
// worth or two, so that what is measured is the caller's cost and not the speed of whatever shares its cores.
const burst = 80

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
					cfg := Config{Kafka: kafkaclient.Config{Brokers: c.ListenAddrs()}, Mode: mode, Dir: b.TempDir(), Namespace: "bench", MaxBytes: -1, Linger: -1}
					p := start(b, cfg)
					fireBursts(ctx, b, p, e, goroutines)
					require.Zero(b, p.Stats().Unprotected)
					require.Zero(b, p.Stats().DroppedEvents())
				})
			}
		}
	}
}

// fireBursts fires b.N events and reports the time spent in Fire alone as ns/op. The benchmark's own clock would
// have to be stopped for each burst, which costs more than the burst.
func fireBursts(ctx context.Context, b *testing.B, p *Producer, e func() firetrail.Event, goroutines int) {
	each := burst / goroutines
	var spent time.Duration
	bursts := 0
	for n := 0; n < b.N; n += burst {
		begin, done := make(chan struct{}), make(chan time.Duration)
		for range goroutines {
			go func() {
				<-begin
				t := time.Now()
				for range each {
					p.Fire(ctx, e())
				}
				done <- time.Since(t)
			}()
		}
		close(begin)
		for range goroutines {
			spent += <-done
		}
		bursts++
		if err := p.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(bursts*burst), "ns/op")
}

// TestFireAllocatesNothing fires with the broker away, so that nothing else in the process does much.
func TestFireAllocatesNothing(t *testing.T) {
	for _, mode := range both {
		cfg := small(t, cluster(t))
		cfg.Mode = mode
		cfg.Kafka.Brokers = []string{"127.0.0.1:1"}
		cfg.MaxInFlight = 1 // shipping allocates, and is not measured here
		cfg.WAL.RingSize, cfg.WAL.SegmentSize = 16<<20, 16<<20
		p := start(t, cfg)
		ctx := firetrail.WithContext(context.Background(), firetrail.Context{Tenant: "acme", Actor: firetrail.Actor{ID: "u-1"}})
		e := firetrail.Event{Action: created.Name(), New: firetrail.Raw([]byte(`{"a":1}`))}
		p.Fire(ctx, e)
		allocs := testing.AllocsPerRun(20_000, func() { p.Fire(ctx, e) })
		require.True(t, allocs == 0 || race.Enabled, "%v: %v allocations", mode, allocs)
	}
}
