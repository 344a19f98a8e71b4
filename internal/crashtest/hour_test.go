//go:build unix

package crashtest

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/embedded"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/producer"
)

// anHour is 300 events a second; the short form is shorter.
const anHour = 3600 * 300

// TestHourWithoutBroker fires an hour's events while the broker is away, as fast as the disk takes them: memory stays
// flat, and when the broker is back the backlog drains, each event once and in the order of its tenant.
func TestHourWithoutBroker(t *testing.T) {
	n := 25_000
	if os.Getenv(killRounds) != "" {
		n = anHour
	}
	broker, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: producer.DefaultTopic, Partitions: 4}}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = broker.Close() })
	l := life{Dir: t.TempDir(), Brokers: broker.Addrs(), Topic: producer.DefaultTopic, Ring: 16 << 20}
	p, err := producer.New(l.config())
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close(within(t, time.Minute)) })
	require.NoError(t, p.Ready(within(t, time.Minute)))
	broker.Cut()

	var early uint64
	for i := range n {
		e := firetrail.Event{Tenant: tenantOf(i), Action: tick.Name(), New: firetrail.Raw(testenv.Payload(0, i))}
		if i%2500 != 2499 {
			p.Fire(context.Background(), e)
			continue
		}
		require.NoError(t, p.Emit(within(t, time.Minute), e, producer.OnDisk)) // no faster than the ring is emptied
		switch heap := heapInUse(); {
		case i < n/2:
			early = max(early, heap) // with all that the client may buffer
		default:
			require.Less(t, heap, early+8<<20, "after %d events", i+1)
		}
	}
	require.Less(t, early, uint64(64<<20))
	s := p.Stats()
	require.EqualValues(t, n, s.Backlog)
	require.Zero(t, s.Unprotected+s.DroppedEvents()+s.Letters)

	require.NoError(t, broker.Restore())
	require.NoError(t, p.Flush(within(t, 10*time.Minute)))
	require.NoError(t, p.Close(within(t, time.Minute)))
	arrived := ledger{}
	records(t, broker.Addrs(), producer.DefaultTopic, func(r *kgo.Record) { arrived.add(t, r, true) })
	require.Len(t, arrived[0].ids, n)
	require.Zero(t, arrived[0].again)
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
