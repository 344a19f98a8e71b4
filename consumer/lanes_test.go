package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// fleet is a database in memory for each tenant.
type fleet struct {
	mu      sync.Mutex
	stores  map[string]*sinkertest.Memory
	trouble map[string]func(ctx context.Context) error // of opening
}

// kept is a database that outlives its closing.
type kept struct{ *sinkertest.Memory }

func (kept) Close() error { return nil }

func newFleet() *fleet {
	return &fleet{stores: map[string]*sinkertest.Memory{}, trouble: map[string]func(context.Context) error{}}
}

func (f *fleet) of(tenant string) *sinkertest.Memory {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stores[tenant] == nil {
		f.stores[tenant] = new(sinkertest.Memory)
	}
	return f.stores[tenant]
}

// set makes opening a tenant's database fail as trouble does; nil ends that.
func (f *fleet) set(tenant string, trouble func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble[tenant] = trouble
}

func (f *fleet) resolve(ctx context.Context, tenant string) (sinkers.Sinker, error) {
	f.mu.Lock()
	trouble := f.trouble[tenant]
	f.mu.Unlock()
	if trouble != nil {
		if err := trouble(ctx); err != nil {
			return nil, err
		}
	}
	return kept{f.of(tenant)}, nil
}

func (f *fleet) tenants(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for t := range f.stores {
			if !yield(t, nil) {
				return
			}
		}
	}
}

func (f *fleet) rows() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.stores {
		n += m.Len()
	}
	return n
}

func (f *fleet) router(t *testing.T, size int) *sinkers.Router {
	t.Helper()
	r, err := sinkers.NewRouter(sinkers.RouterConfig{Resolve: f.resolve, Tenants: f.tenants, PoolSize: size})
	require.NoError(t, err)
	return r
}

var errDown = errors.New("connection refused")

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// mixed produces n events of each tenant to partition 0, shuffled.
func (w *world) mixed(n int, tenants ...string) {
	w.t.Helper()
	var records []*kgo.Record
	for range n {
		for _, tenant := range tenants {
			records = append(records, w.record(w.event(tenant), 0))
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	w.produce(records...)
}

// A tenant whose database is down, hangs or refuses costs nobody else anything, in the same partition too; and when it
// is back nothing of it is missing.
func TestTenantsTroubleIsItsOwn(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		f := newFleet()
		f.set("down", func(context.Context) error { return errDown })
		f.set("slow", hang)
		f.set("never", func(context.Context) error { return sinkers.Permanent(errors.New("no such tenant")) })
		f.of("hung").OnWrite(sinkertest.Hang())
		router := f.router(t, 8)
		r := w.start(func(c *Config) { c.Sink = router })
		for range 5 {
			w.mixed(20, "a", "down", "b", "slow", "never", "hung", "c")
		}
		for _, good := range []string{"a", "b", "c"} {
			w.await(good, func() bool { return f.of(good).Len() == 100 })
		}
		require.Len(t, w.letters(100), 100) // never's
		w.await("notice of the trouble", func() bool { return r.Stats().AwayTenants == 3 })
		require.Equal(t, Running, r.Stats().State)
		w.mixed(10, "a", "b", "down")
		w.await("more", func() bool { return f.of("a").Len() == 110 && f.of("b").Len() == 110 })
		require.Less(t, w.committed(0), int64(730), "what waits is not committed")

		f.set("down", nil)
		f.set("slow", nil)
		f.of("hung").OnWrite(nil)
		w.awaitCommitted(0, 730)
		for tenant, n := range map[string]int{"down": 110, "slow": 100, "hung": 100} {
			require.Equal(t, n, f.of(tenant).Len(), tenant)
		}
		require.Zero(t, r.Stats().AwayTenants)
		r.stop()
		require.NoError(t, router.Close())
	})
}

// Many more databases that hang than may be open at a time hold the others up for no longer than one try lasts.
func TestManyHangingTenants(t *testing.T) {
	for _, places := range []int{4, 50} {
		t.Run(fmt.Sprint(places, " places"), func(t *testing.T) {
			inWorld(t, 1, func(t *testing.T, w *world) {
				f := newFleet()
				names := []string{"a", "b", "c"}
				for i := range 60 {
					names = append(names, fmt.Sprint("hangs-", i))
					f.set(names[len(names)-1], hang)
				}
				router := f.router(t, places)
				r := w.start(func(c *Config) { c.Sink = router })
				w.mixed(5, names...)
				good := func() int { return f.of("a").Len() + f.of("b").Len() + f.of("c").Len() }
				w.await("the first", func() bool { return good() == 15 })
				pass(20 * time.Minute) // all are known to hang
				for round := 1; round <= 5; round++ {
					w.mixed(10, "a", "b", "c")
					began := time.Now()
					w.await("the others", func() bool { return good() == 15+30*round })
					require.Less(t, time.Since(began), time.Minute)
				}
				for _, name := range names {
					f.set(name, nil)
				}
				w.awaitCommitted(0, int64(5*len(names)+150))
				require.Equal(t, 5*len(names)+150, f.rows())
				r.stop()
				require.NoError(t, router.Close())
			})
		})
	}
}

// What waits for a tenant's database is put aside, so that the others' offsets go on, and is stored when it is back.
func TestSpill(t *testing.T) {
	inRealTime(t, 1, func(t *testing.T, w *world) {
		dir, err := dlq.OpenDir(dlq.DirConfig{Path: t.TempDir(), ScanInterval: 20 * time.Millisecond})
		require.NoError(t, err)
		f := newFleet()
		f.set("down", func(context.Context) error { return errDown })
		router := f.router(t, 8)
		spilling := func(c *Config) {
			c.Sink, c.LetterDir, c.DirIsDurable = router, dir, true
			c.MaxInFlightBytes = 1 << 20 // far less than what the one tenant has
		}
		r := w.start(spilling)
		for range 10 {
			w.mixed(200, "a", "down")
		}
		w.awaitCommitted(0, 4_000)
		require.Equal(t, 2_000, f.of("a").Len())
		require.EqualValues(t, 2_000, r.Stats().Spilled)
		require.Equal(t, 1, r.Stats().AwayTenants)
		w.noLetters()
		r.stop() // what is put aside outlives the worker
		r = w.start(spilling)
		w.mixed(10, "down", "a")
		w.awaitCommitted(0, 4_020)
		f.set("down", nil)
		w.await("the rest", func() bool { return f.of("down").Len() == 2_010 })
		w.mixed(10, "down")
		w.await("the way back", func() bool { return f.of("down").Len() == 2_020 && r.Stats().AwayTenants == 0 })
		w.noLetters()
		r.stop()
		require.NoError(t, dir.Close())
		require.NoError(t, router.Close())
	})
}

// A full directory loses nothing: what can't be put aside waits in memory, and Kafka behind it.
func TestSpillWithoutRoom(t *testing.T) {
	inRealTime(t, 1, func(t *testing.T, w *world) {
		dir, err := dlq.OpenDir(dlq.DirConfig{Path: t.TempDir(), ScanInterval: 20 * time.Millisecond, MaxBytes: 20_000})
		require.NoError(t, err)
		f := newFleet()
		f.set("down", func(context.Context) error { return errDown })
		router := f.router(t, 8)
		r := w.start(func(c *Config) {
			c.Sink, c.LetterDir, c.DirIsDurable, c.MaxInFlightBytes = router, dir, true, 256<<10
		})
		for range 10 {
			w.mixed(100, "a", "down")
		}
		w.await("the directory to be full", func() bool { return r.Stats().DirErrors > 0 })
		f.set("down", nil)
		w.awaitCommitted(0, 2_000)
		w.await("all", func() bool { return f.rows() == 2_000 })
		w.noLetters()
		r.stop()
		require.NoError(t, dir.Close())
		require.NoError(t, router.Close())
	})
}

// Poison of one tenant costs itself alone, and its proof is looked for in its own database.
func TestPoisonOfATenant(t *testing.T) {
	for _, probes := range []bool{true, false} {
		t.Run(fmt.Sprint("probes ", probes), func(t *testing.T) {
			inWorld(t, 1, func(t *testing.T, w *world) {
				f := newFleet()
				resolve := f.resolve
				if !probes {
					resolve = func(ctx context.Context, tenant string) (sinkers.Sinker, error) {
						s, err := f.resolve(ctx, tenant)
						return bare{s}, err
					}
				}
				router, err := sinkers.NewRouter(sinkers.RouterConfig{Resolve: resolve, Tenants: f.tenants})
				require.NoError(t, err)
				a, b := w.event("a"), w.event("b")
				f.of("a").OnWrite(poison(errStrange, map[firetrail.ID]bool{a.ID: true}))
				r := w.start(func(c *Config) { c.Sink = router })
				w.produce(w.record(a, 0), w.record(b, 0))
				for range 20 { // other events of its tenant, in the meantime
					w.mixed(3, "a", "b")
					pass(10 * time.Second)
				}
				w.awaitCommitted(0, 122)
				letters := w.letters(1)
				require.Equal(t, "a", string(letters[0].Key))
				require.Equal(t, 60, f.of("a").Len())
				require.Equal(t, 61, f.of("b").Len())
				require.Zero(t, r.Stats().Suspects)
				r.stop()
				require.NoError(t, router.Close())
			})
		})
	}
}

// Thousands of tenants in one partition, in small memory: every event is stored once, in its own tenant's database.
func TestThousandsOfTenants(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		const tenants, each = 5_000, 4
		f := newFleet()
		router := f.router(t, 50)
		r := w.start(func(c *Config) { c.Sink, c.MaxInFlightBytes = router, 4<<20 })
		names := make([]string, tenants)
		for i := range names {
			names[i] = fmt.Sprint("tenant-", i)
		}
		w.mixed(each, names...)
		w.awaitCommitted(0, tenants*each)
		for _, name := range names {
			require.Equal(t, each, f.of(name).Len())
			for _, row := range f.of(name).Rows() {
				require.Equal(t, name, row.Tenant)
			}
		}
		r.flow.mu.Lock()
		left := len(r.flow.lanes.all)
		r.flow.mu.Unlock()
		require.Zero(t, left, "lanes that are through are forgotten")
		r.stop()
		require.NoError(t, router.Close())
	})
}

// Stopped while a tenant's database is away, a worker stores what can be, and leaves the rest to the next one.
func TestStopWhileATenantIsAway(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		f := newFleet()
		f.set("down", func(context.Context) error { return errDown })
		router := f.router(t, 4)
		r := w.start(func(c *Config) { c.Sink = router })
		w.mixed(50, "a", "down")
		w.await("the outage", func() bool { return r.Stats().AwayTenants == 1 })
		w.mixed(50, "a")
		w.await("fetching", func() bool { return r.Stats().Records == 150 })
		began := time.Now()
		r.stop()
		require.Less(t, time.Since(began), DefaultShutdownTimeout)
		require.Equal(t, 100, f.of("a").Len())
		f.set("down", nil)
		r = w.start(func(c *Config) { c.Sink = router })
		w.awaitCommitted(0, 150)
		require.Equal(t, 50, f.of("down").Len())
		require.Equal(t, 100, f.of("a").Len())
		r.stop()
		require.NoError(t, router.Close())
	})
}

// A tenant whose partition another worker has now is away for that one alone.
func TestAwayTenantMoves(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		f := newFleet()
		var routers []*sinkers.Router
		start := func() *running {
			routers = append(routers, f.router(t, 4))
			return w.start(func(c *Config) { c.Sink = routers[len(routers)-1] })
		}
		for i, tenant := range []string{"a", "b"} {
			f.set(tenant, func(context.Context) error { return errDown })
			w.produce(w.record(w.event(tenant), int32(i)))
		}
		one := start()
		w.await("the outage", func() bool { return one.Stats().AwayTenants == 2 })
		other := start()
		w.await("the other's share", func() bool { return len(other.Stats().Partitions) == 1 && other.Stats().AwayTenants == 1 })
		w.await("the rest", func() bool { return one.Stats().AwayTenants == 1 })
		one.stop()
		other.stop()
		for _, r := range routers {
			require.NoError(t, r.Close())
		}
	})
}

func TestSpillNeedsADurableDirectory(t *testing.T) {
	f := newFleet()
	router := f.router(t, 1)
	defer func() { require.NoError(t, router.Close()) }()
	for want, change := range map[string]func(*Config){
		"on_outage: spill is for a database per tenant": func(c *Config) { c.OnOutage, c.Sink = Spill, new(sinkertest.Memory) },
		"on_outage: spill keeps records in files alone": func(c *Config) { c.OnOutage = Spill },
		`on_outage: "drop" is neither`:                  func(c *Config) { c.OnOutage = "drop" },
	} {
		cfg := Config{Sink: router}
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), want)
	}
}
