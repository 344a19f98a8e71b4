package producer

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

// BenchmarkFireUnderFault measures each Fire, 20,000 a second, while something else fails: none of it may be seen by
// the caller. What counts is p99.9-ns, below 1e6, and p99's ratio to the first line's. ns/op is the pace.
func BenchmarkFireUnderFault(b *testing.B) {
	c := cluster(b)
	hung := hungBroker(b)
	for _, f := range []struct {
		name   string
		broker string
		mood   mood
		change func(*Config)
		closed bool
	}{
		{name: "healthy"},
		{name: "broker-away", broker: "127.0.0.1:1"},
		{name: "broker-hung", broker: hung},
		{name: "disk-full", mood: full},
		{name: "fsync-fails", mood: failing},
		{name: "hung-disk", mood: hanging},
		{name: "full", broker: "127.0.0.1:1", change: func(c *Config) { c.MaxEvents = 1000 }},
		{name: "full-drop", broker: "127.0.0.1:1", change: func(c *Config) { c.MaxEvents, c.Mode, c.OnFull = 1000, Volatile, FullDrop }},
		{name: "closed", closed: true},
	} {
		b.Run(f.name, func(b *testing.B) {
			cfg := small(b, c)
			cfg.WAL = wal.Config{}
			if f.broker != "" {
				cfg.Kafka.Brokers = []string{f.broker}
			}
			d := newDisk(working)
			cfg.WAL.FS = d
			if f.change != nil {
				f.change(&cfg)
			}
			p := start(b, cfg)
			defer d.set(working)
			if f.closed {
				require.NoError(b, shut(p, time.Minute))
			}
			d.set(f.mood)
			reportTimes(b, p)
			if f.broker == "" && f.mood == working && !f.closed {
				require.Zero(b, p.Stats().Unprotected+p.Stats().DroppedEvents())
			}
			d.set(working)
			_ = shut(p, time.Second) // not every broker comes back
		})
	}
}

// reportTimes fires at a pace, and reports how long single calls take.
func reportTimes(b *testing.B, p *Producer) {
	const some = 20 // events at a time, each millisecond
	ctx := firetrail.WithContext(context.Background(), firetrail.Context{Tenant: "acme", Actor: firetrail.Actor{ID: "u-1"}})
	e := firetrail.Event{Action: created.Name(), Entity: firetrail.Entity{ID: "c-1"}, New: firetrail.Raw([]byte(`{"title":"Go 2","n":2,"tags":["a","b","c"]}`))}
	times := make([]time.Duration, 0, b.N)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	b.ResetTimer()
	for i := range b.N {
		if i%some == 0 {
			<-tick.C
		}
		begun := time.Now()
		p.Fire(ctx, e)
		times = append(times, time.Since(begun))
	}
	b.StopTimer()
	slices.Sort(times)
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))].Nanoseconds()) }
	b.ReportMetric(at(0.5), "p50-ns")
	b.ReportMetric(at(0.99), "p99-ns")
	b.ReportMetric(at(0.999), "p99.9-ns")
	b.ReportMetric(at(1), "max-ns")
}

// hungBroker returns the address of one that takes connections, and then says nothing.
func hungBroker(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		var taken []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			taken = append(taken, conn)
		}
		for _, conn := range taken {
			_ = conn.Close()
		}
	})
	b.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}
