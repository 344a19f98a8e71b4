package producer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// ends checks that in every (source, tenant) of events, in any order, the seqs are without a hole and the last of
// them, and only that, is its end; it returns how many there are.
func ends(t testing.TB, events []firetrail.Event) int {
	type pair struct{ source, tenant string }
	seqs, last := map[pair]map[uint64]bool{}, map[pair]firetrail.Event{}
	for _, e := range events {
		p := pair{e.Source, e.Tenant}
		if seqs[p] == nil {
			seqs[p] = map[uint64]bool{}
		}
		seqs[p][e.Seq] = true
		if e.Seq > last[p].Seq {
			last[p] = e
		}
	}
	for p, e := range last {
		require.Len(t, seqs[p], int(e.Seq), "%v", p)
		require.Equal(t, firetrail.SourceClosed, e.Action, "%v", p)
		require.Equal(t, firetrail.Actor{Type: "system", ID: "firetrail"}, e.Actor)
	}
	for _, e := range events {
		require.Equal(t, e.Action == firetrail.SourceClosed, e.ID == last[pair{e.Source, e.Tenant}].ID)
	}
	return len(last)
}

func TestCloseEndsEverySource(t *testing.T) {
	for _, mode := range both {
		t.Run(mode.String(), func(t *testing.T) {
			c := cluster(t)
			cfg := small(t, c)
			cfg.Mode = mode
			acknowledged := 0
			cfg.OnAcknowledged = func(firetrail.ID, bool) { acknowledged++ }
			p := start(t, cfg)
			const n, tenants = 500, 13
			for i := range n {
				p.Fire(context.Background(), event(fmt.Sprint("t", i%tenants), i))
			}
			require.Equal(t, tenants, p.Stats().Tenants)
			require.NoError(t, shut(p, 20*time.Second))
			p.Fire(context.Background(), event("t0", n))
			s := p.Stats()
			require.EqualValues(t, n+1, s.Fired)
			require.EqualValues(t, n, s.Shipped)
			require.Equal(t, n, acknowledged)
			require.EqualValues(t, tenants, s.Closings)
			require.Zero(t, s.LostEnds)
			require.Zero(t, s.Tenants)
			require.Equal(t, map[DropReason]uint64{DropClosed: 1}, s.Dropped)
			all := consumeAll(t, c.ListenAddrs(), DefaultTopic)
			require.Len(t, all, n+tenants)
			require.Equal(t, tenants, ends(t, all))
		})
	}
}

func TestMoreTenantsThanThereIsRoomFor(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.MaxTenants = 10
	p := start(t, cfg)
	const n, tenants = 2000, 37
	for i := range n {
		p.Fire(context.Background(), event(fmt.Sprint("t", i*i%tenants), i))
	}
	require.Equal(t, 10, p.Stats().Tenants)
	require.NoError(t, shut(p, 20*time.Second))
	s := p.Stats()
	require.EqualValues(t, n, s.Shipped)
	require.Greater(t, s.Closings, uint64(100))
	all := consumeAll(t, c.ListenAddrs(), DefaultTopic)
	require.EqualValues(t, s.Closings, ends(t, all))
	require.Len(t, all, n+int(s.Closings))
}

// TestNobodyElseEndsASource fires events that claim to be the end of one, by each way they can take.
func TestNobodyElseEndsASource(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.MaxEvents = 1
	away := cfg
	away.Kafka.Brokers = []string{"127.0.0.1:1"}
	forged := firetrail.Event{Action: firetrail.SourceClosed, Tenant: "a"}
	other, err := firetrail.ParseName("firetrail.anything")
	require.NoError(t, err)
	p := start(t, away)
	require.ErrorContains(t, p.Emit(within(t, time.Second), forged, OnDisk), "reserved")
	require.Zero(t, p.Stats().Fired)
	for _, name := range []firetrail.Name{forged.Action, other} { // one goes to the log, one overflows
		forged.Action = name
		p.Fire(context.Background(), forged)
	}
	leave(t, p)
	p = start(t, cfg)
	require.NoError(t, shut(p, 20*time.Second))
	require.Empty(t, consume(t, c.ListenAddrs(), DefaultTopic), "but for the end of the first run's source")
	dead := readLetters(t, cfg)[dlq.Dead]
	require.Len(t, dead, 2)
	for _, l := range dead {
		require.Equal(t, dlq.ReasonInvalid, l.Reason)
		require.Contains(t, l.Error, "reserved")
		_, err := firetrail.DecodeCloudEvent(firetrail.Message{Key: l.Key, Value: l.Value, Headers: []firetrail.Header{
			{Key: l.Headers[0].Key, Value: l.Headers[0].Value},
		}})
		require.Error(t, err, "redriving it ends no source, either")
	}
}

// TestEndsThatAreLost: what is in memory only is lost when the broker stays away; ends are counted apart from events.
func TestEndsThatAreLost(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.Mode, cfg.Dir, cfg.Namespace = Volatile, "", ""
	cfg.Kafka.Brokers = []string{"127.0.0.1:1"}
	cfg.MaxEvents = 12
	var told dropped
	cfg.OnDrop = told.add
	p := start(t, cfg)
	for i := range 10 {
		p.Fire(context.Background(), event(fmt.Sprint("t", i%5), i))
	}
	_ = shut(p, 50*time.Millisecond)
	require.ErrorContains(t, shut(p, 20*time.Second), "10 events")
	s := p.Stats()
	require.Equal(t, map[DropReason]uint64{DropUnsent: 10}, s.Dropped)
	require.Equal(t, s.Dropped, told.n)
	require.EqualValues(t, 5, s.Closings)
	require.EqualValues(t, 5, s.LostEnds, "for three there was no room, two were in memory")
}

// TestEndsOverflow: where the log is full an end waits in a file, as an event does.
func TestEndsOverflow(t *testing.T) {
	c := cluster(t)
	cfg := small(t, c)
	cfg.MaxEvents = 3
	away := cfg
	away.Kafka.Brokers = []string{"127.0.0.1:1"}
	p := start(t, away)
	for i := range 6 {
		p.Fire(context.Background(), event(fmt.Sprint("t", i%2), i))
	}
	leave(t, p)
	s := p.Stats()
	require.EqualValues(t, 3, s.Letters, "ends don't count")
	require.EqualValues(t, 2, s.Closings)
	require.Zero(t, s.LostEnds)
	require.Len(t, readLetters(t, cfg)[dlq.Waiting], 5)
	p = start(t, cfg)
	require.Eventually(t, func() bool { return p.Stats().Dir.Delivered == 5 && p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond)
	require.NoError(t, shut(p, 20*time.Second))
	all := consumeAll(t, c.ListenAddrs(), DefaultTopic)
	require.Len(t, all, 8)
	require.Equal(t, 2, ends(t, all))
}

func TestPanickingClockLocksNothing(t *testing.T) {
	cfg := small(t, cluster(t))
	var broken bool
	cfg.Clock = func() time.Time {
		if broken {
			panic("no")
		}
		return time.Now()
	}
	p := start(t, cfg)
	broken = true
	p.Fire(context.Background(), event("a", 1))
	broken = false
	require.NoError(t, p.Emit(within(t, 20*time.Second), event("a", 2), OnDisk))
	require.Equal(t, map[DropReason]uint64{DropPanic: 1}, p.Stats().Dropped)
	require.Equal(t, wal.Healthy, p.Stats().State.State)
}
