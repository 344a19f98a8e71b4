package producer

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
)

// flow fires events of many tenants, so that there are some for each partition, until it is stopped.
type flow struct {
	p    *Producer
	stop chan struct{}
	wg   sync.WaitGroup
	n    int
}

const flowTenants = 40

// fireSteadily begins a flow of some 10,000 events a second.
func fireSteadily(p *Producer) *flow { return fireEvery(p, 2*time.Millisecond) }

// fireEvery begins a flow of 20 events at a time.
func fireEvery(p *Producer, every time.Duration) *flow {
	f := &flow{p: p, stop: make(chan struct{})}
	f.wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			for range 20 {
				p.Fire(context.Background(), event(fmt.Sprint("tenant-", f.n%flowTenants), f.n))
				f.n++
			}
			select {
			case <-t.C:
			case <-f.stop:
				return
			}
		}
	})
	return f
}

// end ends the flow, and returns how many events there were.
func (f *flow) end() int {
	close(f.stop)
	f.wg.Wait()
	return f.n
}

// shipsOn waits until some more events are acknowledged.
func shipsOn(t testing.TB, p *Producer) {
	before := p.Stats().Shipped
	require.Eventually(t, func() bool { return p.Stats().Shipped > before+200 }, 60*time.Second, time.Millisecond)
}

// checkArrived waits until n events are at the broker, none of which was lost by the way, and checks that each
// tenant's are in order as a sink sees them, which passes over what comes twice.
func checkArrived(t testing.TB, p *Producer, cfg Config, n int) (events []firetrail.Event) {
	require.NoError(t, p.Flush(within(t, 2*time.Minute)))
	require.Eventually(t, func() bool { return p.Stats().Dir.Waiting.Letters == 0 }, time.Minute, 5*time.Millisecond)
	s := p.Stats()
	require.EqualValues(t, n, s.Fired)
	require.Zero(t, s.DroppedEvents(), "%v", s.Dropped)
	require.Zero(t, s.Dir.Dead.Letters)
	require.Eventually(t, func() bool { // the log is told a moment later
		s := p.Stats()
		return s.Backlog == 0 && s.OldestPending == 0
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, shut(p, 30*time.Second))
	events = consume(t, cfg.Kafka.Brokers, cfg.Topic)
	require.Len(t, distinct(events), n)
	last := map[string]uint64{}
	for _, e := range events {
		if e.Seq > last[e.Tenant] {
			require.Equal(t, last[e.Tenant]+1, e.Seq, "%s is in order", e.Tenant)
			last[e.Tenant] = e.Seq
		}
	}
	return events
}
