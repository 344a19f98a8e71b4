package consumer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

const (
	warm     = 6 * time.Second // until the worker knows how fast the sink is
	measured = 10 * time.Second
	rate     = 20 // events a second of each tenant but the flooding one, which has a hundred times as many
)

// latencies are what it took from an event's being fired to its being stored, by tenant, of those fired since.
type latencies struct {
	mu    sync.Mutex
	since time.Time
	of    map[string][]time.Duration
}

func (l *latencies) observe(_ context.Context, b sinkers.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.Rows {
		if r := &b.Rows[i]; !r.Recorded.Before(l.since) {
			l.of[r.Tenant] = append(l.of[r.Tenant], time.Since(r.Recorded))
		}
	}
	return nil
}

// p99 is that of the tenants whose names begin so.
func (l *latencies) p99(t *testing.T, tenants ...string) time.Duration {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	for _, tenant := range tenants {
		require.Greater(t, len(l.of[tenant]), int(measured.Seconds())*rate*9/10, "of %s", tenant)
		all = append(all, l.of[tenant]...)
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// atSpeed is the hook of a sink that stores so many rows a second, and takes a moment for each write besides.
func atSpeed(rows int, each time.Duration) sinkertest.Hook {
	return func(ctx context.Context, b sinkers.Batch) error {
		return sinkertest.Delay(each+time.Duration(len(b.Rows))*time.Second/time.Duration(rows))(ctx, b)
	}
}

// trickle produces rate events a second of each tenant, each to its partition, for as long as a measurement lasts.
func (w *world) trickle(partitions map[string]int32) {
	for range int((warm + measured).Seconds() * rate) {
		for tenant, partition := range partitions {
			w.cl.Produce(w.t.Context(), w.record(w.event(tenant), partition), func(_ *kgo.Record, err error) {
				if err != nil {
					w.t.Error(err)
				}
			})
		}
		pass(time.Second / rate)
	}
	require.NoError(w.t, w.cl.Flush(w.t.Context()))
}

// flood produces what a tenant with a hundred times the rate of the others has in that time.
func (w *world) flood(tenant string, partition int32) {
	var records []*kgo.Record
	for range int((warm + measured).Seconds() * rate * 100) {
		records = append(records, w.record(w.event(tenant), partition))
	}
	w.produce(records...)
}

// P8: a tenant with a hundred times the others' rate, more than the sink can take, leaves the p99 of the tenants of other
// partitions within twice what it is without, for a sink of any kind: quick, slow, or with much to do for each write.
func TestFloodIsItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		sink sinkertest.Hook
		most float64 // times what it is without; 2 would do
	}{
		"slow":          {atSpeed(1_500, time.Millisecond), 1.5},
		"costly writes": {atSpeed(3_000, 60*time.Millisecond), 1.75},
		"large rows":    {atSpeed(1_500, time.Millisecond), 1.5},
		"little memory": {atSpeed(1_500, time.Millisecond), 1.5},
	} {
		t.Run(name, func(t *testing.T) {
			others := map[string]int32{"a": 1, "b": 2, "c": 3}
			p99 := map[bool]time.Duration{}
			for _, flooded := range []bool{false, true} {
				inWorld(t, 4, func(t *testing.T, w *world) {
					l := &latencies{since: time.Now().Add(warm), of: map[string][]time.Duration{}}
					w.sink.OnWrite(sinkertest.Chain(c.sink, l.observe))
					if flooded {
						w.flood("flooding", 0)
					}
					r := w.start(func(c *Config) {
						c.Batch.MaxSize = 10_000
						switch name {
						case "large rows":
							c.Batch.MaxBytes = 400 << 10 // some 1,000 of them
						case "little memory":
							c.MaxInFlightBytes = 6 << 20 // for two batches as large as 1,000 of them
						default:
							c.Batch.MaxSize = 2_000
						}
					})
					w.trickle(others)
					behind := r.Stats().Partitions[0].Lag
					require.Equal(t, flooded, behind > 0, "%d behind", behind)
					pass(time.Second)
					p99[flooded] = l.p99(t, "a", "b", "c")
					w.sink.OnWrite(nil)
					w.await("the flood to be stored", func() bool { return r.Stats().Partitions[0].Lag <= 0 })
					r.stop()
					w.noLetters()
				})
			}
			t.Logf("p99 of the others is %v, and %v without the flood", p99[true], p99[false])
			require.LessOrEqual(t, p99[true].Seconds(), p99[false].Seconds()*c.most)
		})
	}
}

// P8 with a database for each tenant: one that is flooded and slow at that, down, or hangs, leaves the p99 of tenants
// of other partitions where it is.
func TestTroubledTenantIsItsOwn(t *testing.T) {
	others := map[string]int32{"a": 1, "b": 2, "c": 3}
	p99 := map[bool]time.Duration{}
	for _, troubled := range []bool{false, true} {
		inWorld(t, 4, func(t *testing.T, w *world) {
			l, f := &latencies{since: time.Now().Add(warm), of: map[string][]time.Duration{}}, newFleet()
			for tenant := range others {
				f.of(tenant).OnWrite(sinkertest.Chain(atSpeed(10_000, time.Millisecond), l.observe))
			}
			if troubled {
				f.of("flooding").OnWrite(atSpeed(1_500, time.Millisecond))
				f.set("down", func(context.Context) error { return errDown })
				f.set("hanging", hang)
				w.mixed(50, "down", "hanging")
				w.flood("flooding", 0)
			}
			router := f.router(t, 8)
			r := w.start(func(c *Config) { c.Sink, c.MaxInFlightBytes = router, 16<<20 })
			w.trickle(others)
			pass(2 * time.Second)
			p99[troubled] = l.p99(t, "a", "b", "c")
			require.Equal(t, troubled, r.Stats().AwayTenants > 0)
			f.set("down", nil)
			f.set("hanging", nil)
			f.of("flooding").OnWrite(nil)
			w.await("all to be stored", func() bool { return r.Stats().Partitions[0].Lag <= 0 })
			r.stop()
			require.NoError(t, router.Close())
			w.noLetters()
		})
	}
	t.Logf("p99 of the others is %v, and %v without the trouble", p99[true], p99[false])
	require.LessOrEqual(t, p99[true], 2*p99[false])
}

// Several tenants whose databases are away, in a quarter of the partitions, leave the others memory to go on with.
func TestTroubledTenantsLeaveMemory(t *testing.T) {
	const limit = 2 << 20
	inWorld(t, 12, func(t *testing.T, w *world) {
		f := newFleet()
		away := []string{"down-0", "down-1", "down-2"}
		for i, tenant := range away {
			f.set(tenant, func(context.Context) error { return errDown })
			var records []*kgo.Record
			for range 3_000 {
				records = append(records, w.record(w.event(tenant), int32(i)))
			}
			w.produce(records...)
		}
		router := f.router(t, 8)
		r := w.start(func(c *Config) { c.Sink, c.MaxInFlightBytes = router, limit })
		w.await("the outage", func() bool { return r.Stats().AwayTenants == len(away) })
		pass(time.Minute)
		require.Less(t, r.Stats().InFlightBytes, int64(limit))
		for i := range 5 {
			for p := range int32(3) {
				for range 100 {
					w.produce(w.record(w.event(fmt.Sprint("up-", p)), 3+p))
				}
			}
			w.await("the others", func() bool { return f.rows() == 300*(i+1) })
		}
		for _, tenant := range away {
			f.set(tenant, nil)
		}
		w.await("all", func() bool { return f.rows() == 1_500+9_000 })
		r.stop()
		require.NoError(t, router.Close())
		w.noLetters()
	})
}

// In a partition that is flooded a tenant waits for what lies ahead of it there, and for no more.
func TestCoPartitionedWaitsForWhatIsAhead(t *testing.T) {
	q := newQueue(Batch{MaxSize: 1000, MaxBytes: 1 << 20, FlushInterval: time.Second})
	flooded, others := newPartition(source{testTopic, 0}), []*partition{newPartition(source{testTopic, 1}), newPartition(source{testTopic, 2})}
	now := time.Now()
	for _, p := range others {
		put(&q, p, 20_000, 100, now)
	}
	put(&q, flooded, 5_000, 100, now)
	written, ahead := map[*partition]uint64{}, 0
	for written[flooded] < 5_000 {
		b := q.cut(now)
		require.Equal(t, 1000, b.len())
		for _, it := range b.items {
			require.Equal(t, written[it.part], it.n, "the order in a partition stands")
			written[it.part]++
			if written[flooded] <= 5_000 {
				ahead++
			}
		}
	}
	require.LessOrEqual(t, ahead, 3*5_000+1000, "no partition is served more than its share, however much it has")
}

// Whoever has little waiting is in the next batch, however much the others have, and however large their rows are.
func TestSparsePartitionIsInTheNextBatch(t *testing.T) {
	for _, size := range []int64{100, 64 << 10} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			q := newQueue(Batch{MaxSize: 10_000, MaxBytes: 8 << 20, FlushInterval: time.Second})
			now := time.Now()
			for i := range int32(11) {
				p := newPartition(source{testTopic, i})
				for range 30_000 {
					q.add(item{part: p}, size, now)
				}
			}
			q.cut(now)
			sparse := newPartition(source{testTopic, 11})
			q.add(item{part: sparse}, 600, now)
			b := q.cut(now)
			require.True(t, slices.ContainsFunc(b.items, func(it item) bool { return it.part == sparse }))
			require.LessOrEqual(t, b.bytes, int64(8<<20))
		})
	}
}
