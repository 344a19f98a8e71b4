package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/race"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

func newRouter(t *testing.T, dir string, cfg sqlite.Config, size int) *sinkers.Router {
	t.Helper()
	tenants := sqlite.Tenants{Dir: dir, Config: cfg}
	r, err := sinkers.NewRouter(sinkers.RouterConfig{
		Resolve: tenants.Resolve, Tenants: tenants.Tenants, PoolSize: size, OpenTimeout: 5 * time.Minute,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// nasty are names of tenants that want to be something else.
var nasty = []string{
	"", ".", "..", "../../etc/passwd", "/etc/passwd", `C:\x`, "a/b", "A", "a", "ä", "Ä", "a b", "-rf", "~", "%", "%2e", "t-a.db",
	"a.db", "a.db-wal", "x'; DROP TABLE audit_events; --", "file:x?mode=memory", ":memory:", "con", "nul", "a?mode=ro", "a#b",
	strings.Repeat("x", 128), strings.Repeat("X", 128), strings.Repeat("ж", 64),
}

// TestNastyTenants: each has a file of its own, in the directory, and reads back its own events under its own name.
func TestNastyTenants(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "inner", "tenants")
	require.NoError(t, os.MkdirAll(inner, 0o700))
	r := newRouter(t, inner, sqlite.Config{}, 4)
	for i, tenant := range nasty {
		_, err := r.Write(t.Context(), sinkers.Batch{Rows: tenantRows(t, tenant, i+1)})
		require.NoError(t, err, "%q", tenant)
	}
	for i, tenant := range nasty {
		p, err := r.Query(t.Context(), sinkers.Query{Tenant: tenant})
		require.NoError(t, err)
		require.Len(t, p.Events, min(i+1, sinkers.DefaultLimit), "%q", tenant)
		for _, e := range p.Events {
			require.Equal(t, tenant, e.Tenant)
		}
	}
	var names []string
	for name, err := range r.Tenants(t.Context()) {
		require.NoError(t, err)
		names = append(names, name)
	}
	require.ElementsMatch(t, nasty, names)
	require.NoError(t, r.Close())
	for _, d := range []string{dir, filepath.Dir(inner)} {
		entries, err := os.ReadDir(d)
		require.NoError(t, err)
		require.Len(t, entries, 1, "something got out of the directory")
	}
	lower := map[string]bool{}
	for _, tenant := range nasty {
		file := strings.ToLower(sqlite.TenantFile(tenant))
		require.False(t, lower[file], "%q shares a file with another", tenant)
		lower[file] = true
		require.Less(t, len(file)+len("-journal"), 256)
	}
}

// TestTenantFiles: for any name whatever.
func TestTenantFiles(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		tenant := rapid.String().Draw(rt, "tenant")
		if firetrail.ValidateTenant(tenant) != nil {
			return
		}
		file := sqlite.TenantFile(tenant)
		require.Equal(rt, filepath.Join(dir, file), filepath.Clean(filepath.Join(dir, file)))
		require.Equal(rt, file, filepath.Base(file))
		require.Equal(rt, file, strings.ToLower(file))
		require.NoError(rt, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
		var names []string
		for name, err := range (sqlite.Tenants{Dir: dir}).Tenants(t.Context()) {
			require.NoError(rt, err)
			names = append(names, name)
		}
		require.Equal(rt, []string{tenant}, names)
		require.NoError(rt, os.Remove(filepath.Join(dir, file)))
	})
	_, err := sqlite.Tenants{Dir: dir}.Resolve(t.Context(), "a\nb")
	require.True(t, sinkers.IsPermanent(err))
}

// TestDirLock: the second worker waits for the first.
func TestDirLock(t *testing.T) {
	tenants := sqlite.Tenants{Dir: t.TempDir()}
	first, err := tenants.Lock(t.Context(), false)
	require.NoError(t, err)
	_, err = tenants.Lock(t.Context(), false)
	require.ErrorIs(t, err, sqlite.ErrLocked)
	got := make(chan error)
	go func() {
		second, err := tenants.Lock(context.WithoutCancel(t.Context()), true)
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	require.NoError(t, first.Close())
	require.NoError(t, <-got)
	_, err = sqlite.Tenants{Dir: filepath.Join(tenants.Dir, "missing")}.Lock(t.Context(), false)
	require.ErrorContains(t, err, "does not exist")
}

func tenantRows(t *testing.T, tenant string, n int) (rows []sinkers.Row) {
	t.Helper()
	action, err := firetrail.ParseName("course.created")
	require.NoError(t, err)
	for i := range n {
		at := time.UnixMicro(1_700_000_000_000_000 + int64(i)).UTC()
		e := firetrail.Event{ID: firetrail.IDFrom(at, fmt.Sprint(i)), Time: at, Tenant: tenant, Action: action, Source: "s", Seq: uint64(i + 1)}
		rows = append(rows, sinkers.Row{Event: e, Hash: e.ContentHash()})
	}
	return rows
}

// TestManyTenants: what a pool of 50 holds open is bounded, however many tenants there are. FIRETRAIL_TENANTS=5000 is
// the long form.
func TestManyTenants(t *testing.T) {
	tenants, each := 100, 10
	if os.Getenv("FIRETRAIL_TENANTS") != "" {
		_, err := fmt.Sscan(os.Getenv("FIRETRAIL_TENANTS"), &tenants)
		require.NoError(t, err)
		each = 100
	}
	const size, writers = 50, 8
	r := newRouter(t, t.TempDir(), sqlite.Config{}, size)
	before, resident := descriptors(), residentMB()
	var group sync.WaitGroup
	most := make([]int, writers)
	for w := range writers {
		group.Go(func() {
			for n := w; n < tenants; n += writers {
				res, err := r.Write(t.Context(), sinkers.Batch{Rows: tenantRows(t, fmt.Sprint("tenant-", n), each)})
				if err != nil || res.Stored != each {
					t.Errorf("%+v, %v", res, err)
				}
				most[w] = max(most[w], descriptors())
			}
		})
	}
	group.Wait()
	perDatabase := 3 + 3*(1+sqlite.TenantReaders) // lock; database, log and shared memory for each connection
	require.LessOrEqual(t, slices.Max(most)-before, (size+size/4+1)*perDatabase)
	if !race.Enabled { // which takes some times as much
		require.LessOrEqual(t, residentMB()-resident, (size+size/4+1)*4)
	}
	t.Logf("%d tenants: %d descriptors at the most, %d before; RSS %d MB", tenants, slices.Max(most), before, residentMB())
	n := 0
	for _, err := range r.Tenants(t.Context()) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, tenants, n)
	pruned, err := r.Prune(t.Context(), time.Now(), true)
	require.NoError(t, err)
	require.EqualValues(t, tenants*each, pruned)
}

// descriptors returns how many are open, 0 where that can't be known.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func residentMB() int {
	runtime.GC()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, resident int
	_, _ = fmt.Sscan(string(b), &total, &resident)
	return resident * os.Getpagesize() >> 20
}
