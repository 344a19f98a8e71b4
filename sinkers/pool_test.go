package sinkers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is a database in memory for each tenant, which is kept when it is closed.
type fleet struct {
	mu      sync.Mutex
	stores  map[string]*sinkertest.Memory
	open    map[string]bool
	most    int // open at a time
	opens   int
	resolve func(ctx context.Context, tenant string) error // may be nil
}

type opened struct {
	*sinkertest.Memory
	close func() error
}

func (o opened) Close() error { return o.close() }

func newFleet() *fleet {
	return &fleet{stores: map[string]*sinkertest.Memory{}, open: map[string]bool{}}
}

func (f *fleet) Resolve(ctx context.Context, tenant string) (sinkers.Sinker, error) {
	if f.resolve != nil {
		if err := f.resolve(ctx, tenant); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[tenant] {
		return nil, sinkers.Permanent(fmt.Errorf("%s is open already", tenant))
	}
	f.open[tenant] = true
	f.opens++
	f.most = max(f.most, len(f.open))
	return opened{f.store(tenant), func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, tenant)
		return nil
	}}, nil
}

func (f *fleet) store(tenant string) *sinkertest.Memory {
	if f.stores[tenant] == nil {
		f.stores[tenant] = new(sinkertest.Memory)
	}
	return f.stores[tenant]
}

func (f *fleet) Tenants(context.Context) iter.Seq2[string, error] {
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

func (f *fleet) router(t *testing.T, size int) *sinkers.Router {
	t.Helper()
	r, err := sinkers.NewRouter(sinkers.RouterConfig{Resolve: f.Resolve, Tenants: f.Tenants, PoolSize: size, OpenTimeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func someRows(t *testing.T, tenant string, n int) (rows []sinkers.Row) {
	t.Helper()
	action, err := firetrail.ParseName("course.created")
	require.NoError(t, err)
	for i := range n {
		at := time.UnixMicro(1_700_000_000_000_000 + int64(i)*1000).UTC()
		e := firetrail.Event{
			ID: firetrail.IDFrom(at, fmt.Sprint(tenant, i)), Time: at, Tenant: tenant, Action: action,
			Source: "s", Seq: uint64(i + 1), New: firetrail.Raw([]byte(`{"a":1}`)),
		}
		rows = append(rows, sinkers.Row{Event: e, Hash: e.ContentHash()})
	}
	return rows
}

// TestPoolIsBounded: 5,000 tenants over 50 places, from many goroutines. No database is opened while it is open or being
// closed, and all that is written is there.
func TestPoolIsBounded(t *testing.T) {
	const tenants, size = 5_000, 50
	f := newFleet()
	r := f.router(t, size)
	var group sync.WaitGroup
	for w := range 32 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 0))
			for n := range 1_000 {
				tenant := fmt.Sprint("t", (n*32+w)%tenants)
				if random.IntN(4) == 0 {
					tenant = fmt.Sprint("t", random.IntN(20)) // the busy ones
				}
				res, err := r.Write(t.Context(), sinkers.Batch{Rows: someRows(t, tenant, 2)})
				if err != nil || res.Stored+res.Duplicates != 2 {
					t.Errorf("%s: %+v, %v", tenant, res, err)
				}
			}
		})
	}
	group.Wait()
	require.LessOrEqual(t, f.most, size+size/4+1)
	require.NoError(t, r.Close())
	require.Empty(t, f.open)
	require.Zero(t, r.Open())
	require.Greater(t, len(f.stores), tenants/2)
	for name, m := range f.stores {
		require.Equal(t, 2, m.Len(), name)
	}
	_, err := r.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "x", 1)})
	require.ErrorIs(t, err, sinkers.ErrRouterClosed)
}

// TestOpenedOnce: however many ask for a tenant at once, and whichever of them goes away meanwhile.
func TestOpenedOnce(t *testing.T) {
	f := newFleet()
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	f.resolve = func(ctx context.Context, _ string) error {
		entered <- struct{}{}
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := f.router(t, 4)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- r.Of("a").Ping(ctx) }()
	<-entered
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if err := r.Of("a").Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	require.ErrorIs(t, <-first, context.Canceled)
	close(gate)
	group.Wait()
	require.Equal(t, 1, f.opens)
}

// TestOneTenantsTroubleIsItsOwn: down, slow and refusing databases beside good ones.
func TestOneTenantsTroubleIsItsOwn(t *testing.T) {
	f := newFleet()
	down := errors.New("connection refused")
	f.resolve = func(ctx context.Context, tenant string) error {
		switch tenant {
		case "down":
			return down
		case "slow":
			<-ctx.Done()
			return ctx.Err()
		case "refused":
			return sinkers.Permanent(errors.New("no such tenant"))
		}
		return nil
	}
	r := f.router(t, 8)
	ctx, cancel := context.WithCancel(t.Context())
	slow := make(chan error)
	go func() {
		_, err := r.Write(ctx, sinkers.Batch{Rows: someRows(t, "slow", 3)})
		slow <- err
	}()
	rows := slices.Concat(someRows(t, "good", 3), someRows(t, "refused", 2), someRows(t, "fine", 3))
	_, err := r.Write(t.Context(), sinkers.Batch{Rows: rows})
	var refused *sinkers.BatchError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []int{3, 4}, []int{refused.Rows[0].Index, refused.Rows[1].Index})
	require.Len(t, refused.Rows, 2)
	require.ErrorContains(t, refused.Rows[0].Err, `tenant "refused"`)
	_, err = r.Write(t.Context(), sinkers.Batch{Rows: append(rows[:3:3], someRows(t, "down", 1)...)})
	require.ErrorIs(t, err, down)
	require.False(t, sinkers.IsPermanent(err))
	require.Equal(t, 3, f.stores["good"].Len())
	require.Equal(t, 3, f.stores["fine"].Len())
	cancel()
	require.ErrorIs(t, <-slow, context.Canceled)
}

// TestSuspectsKeepTheirIndexes through the split into tenants.
func TestSuspectsKeepTheirIndexes(t *testing.T) {
	f := newFleet()
	r := f.router(t, 2)
	rows := slices.Concat(someRows(t, "a", 2), someRows(t, "b", 3), someRows(t, "a", 1))
	_, err := r.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	for in, out := range map[int]int{1: 3, 3: 3, -1: -1} { // what is none of the part's rows stays as it is
		f.stores["b"].OnWrite(sinkertest.Fail(sinkers.Suspect(in, io.EOF)))
		_, err = r.Write(t.Context(), sinkers.Batch{Rows: rows})
		require.ErrorIs(t, err, io.EOF)
		at, ok := sinkers.Suspected(err)
		require.True(t, ok)
		require.Equal(t, out, at)
	}
}

// TestConflictsKeepTheirIndexes through the split into tenants.
func TestConflictsKeepTheirIndexes(t *testing.T) {
	r := newFleet().router(t, 2)
	a, b := someRows(t, "a", 2), someRows(t, "b", 2)
	res, err := r.Write(t.Context(), sinkers.Batch{Rows: append(a, b...)})
	require.NoError(t, err)
	require.Equal(t, sinkers.Result{Stored: 4}, res)
	forged := []sinkers.Row{b[0], a[0], b[1], a[1]}
	forged[3].Hash[0]++
	forged[0].Hash[0]++
	res, err = r.Write(t.Context(), sinkers.Batch{Rows: forged})
	require.NoError(t, err)
	require.Equal(t, []int{0, 3}, res.Conflicts)
	require.Equal(t, 2, res.Duplicates)
}

// TestMergedQuery: a query of all tenants finds what one database of all of them would, however it is paged.
func TestMergedQuery(t *testing.T) {
	r, one := newFleet().router(t, 3), new(sinkertest.Memory)
	for i, tenant := range []string{"", "a", "b", "c", "d"} {
		rows := someRows(t, tenant, 40)
		for k := range rows {
			if k%3 == 0 { // the same id in several tenants
				rows[k].ID = firetrail.IDFrom(rows[k].Time, "same")
			}
			if k%7 == i {
				rows[k].Actor.ID = "ada"
			}
			rows[k].Hash = rows[k].ContentHash()
		}
		for _, s := range []sinkers.Sinker{r, one} {
			_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[:len(rows)-5*i]})
			require.NoError(t, err)
		}
	}
	all := func(s sinkers.Sinker, q sinkers.Query) (found []string) {
		for {
			p, err := s.Query(t.Context(), q)
			require.NoError(t, err)
			require.LessOrEqual(t, len(p.Events), q.PageLimit())
			for _, e := range p.Events {
				found = append(found, e.Tenant+e.ID.String())
			}
			if q.Cursor = p.Next; q.Cursor == "" {
				return found
			}
			require.NotEmpty(t, p.Events)
		}
	}
	for _, limit := range []int{1, 2, 3, 7, 50, 500} {
		for _, q := range []sinkers.Query{{}, {ActorID: "ada"}, {To: time.UnixMicro(1_700_000_000_010_000)}, {ActorID: "nobody"}} {
			q.AllTenants, q.Limit = true, limit
			require.Equal(t, all(one, q), all(r, q), "%+v", q)
		}
	}
}

// TestMergedQueryTellsWhoIsMissing: the others' events come with the error.
func TestMergedQueryTellsWhoIsMissing(t *testing.T) {
	f := newFleet()
	r := f.router(t, 4)
	for _, tenant := range []string{"a", "b", "c"} {
		_, err := r.Write(t.Context(), sinkers.Batch{Rows: someRows(t, tenant, 3)})
		require.NoError(t, err)
	}
	f.stores["b"].Away(errors.New("away"))
	p, err := r.Query(t.Context(), sinkers.Query{AllTenants: true})
	var missing *sinkers.TenantsError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{"b"}, missing.Names)
	require.Len(t, p.Events, 6)

	n, err := r.Prune(t.Context(), time.Now(), false)
	require.ErrorAs(t, err, &missing)
	require.EqualValues(t, 6, n)
	require.Equal(t, 3, f.stores["b"].Len())
}

// TestMergedPageIsBounded in bytes too, and loses nothing for it.
func TestMergedPageIsBounded(t *testing.T) {
	r := newFleet().router(t, 4)
	big := firetrail.Raw([]byte(`"` + strings.Repeat("x", firetrail.MaxPayload-2) + `"`))
	const each = 60
	for _, tenant := range []string{"a", "b", "c"} {
		rows := someRows(t, tenant, each)
		for i := range rows {
			rows[i].New = big
		}
		_, err := r.Write(t.Context(), sinkers.Batch{Rows: rows})
		require.NoError(t, err)
	}
	q := sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit}
	seen, pages := 0, 0
	for {
		p, err := r.Query(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.Events)*firetrail.MaxPayload, sinkers.MaxPageBytes)
		seen += len(p.Events)
		pages++
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	require.Equal(t, 3*each, seen)
	require.Equal(t, 2, pages)
}

// TestCloseWaits for what is in use, and opens nothing more.
func TestCloseWaits(t *testing.T) {
	f := newFleet()
	r := f.router(t, 2)
	require.NoError(t, r.Of("a").Ping(t.Context()))
	var release atomic.Bool
	entered, gate := make(chan struct{}), make(chan struct{})
	f.stores["a"].OnWrite(func(context.Context, sinkers.Batch) error {
		close(entered)
		<-gate
		return nil
	})
	written := make(chan error)
	go func() {
		_, err := r.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 1)})
		written <- err
	}()
	<-entered
	closed := make(chan bool)
	go func() {
		_ = r.Close()
		closed <- release.Load()
	}()
	require.Eventually(t, func() bool {
		return errors.Is(r.Of("b").Ping(t.Context()), sinkers.ErrRouterClosed)
	}, time.Minute, time.Millisecond)
	release.Store(true)
	close(gate)
	require.NoError(t, <-written)
	require.True(t, <-closed, "Close returned while a database was in use")
	require.Empty(t, f.open)
}

func TestRouterConfigNamesEveryProblem(t *testing.T) {
	_, err := sinkers.NewRouter(sinkers.RouterConfig{PoolSize: -1, OpenTimeout: -1})
	for _, want := range []string{"resolve:", "tenants:", "pool size:", "open timeout:"} {
		require.ErrorContains(t, err, want)
	}
}
