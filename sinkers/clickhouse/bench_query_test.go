//go:build integration && unix

package clickhouse

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// BenchmarkPages reads a tenant's first page of 50 and its thousandth, or one of the ten before and after it, in
// turn, and so of each of 20 tenants, from 1,100,000 events of 600 B; FIRETRAIL_PAGE_ROWS=5000000 is the long form. What
// counts is the ratio.
//
// A page whose events lie in two parts of the table reads each column in both, which takes longer wherever it is. With 5M
// events the thousandth is just that one, and the first is not: so "tenant" goes by the pages around it, "tenant across
// parts" compares a first page that lies in two parts with a far one that does, and "tenant to the page" is the thousandth
// itself, wherever it lies.
func BenchmarkPages(b *testing.B) {
	const tenants, limit, thousandth = 20, sinkers.DefaultLimit, 999 * sinkers.DefaultLimit
	total := 1_100_000
	if env := os.Getenv("FIRETRAIL_PAGE_ROWS"); env != "" {
		_, err := fmt.Sscan(env, &total)
		require.NoError(b, err)
		require.Greater(b, total/tenants, thousandth+11*limit, "FIRETRAIL_PAGE_ROWS: a tenant has too few pages")
	}
	s := openWith(b, configOf(b, testenv.SharedClickHouse(b), Native))
	generate(b, s, total)
	require.NoError(b, s.conn.Exec(b.Context(), "SYSTEM STOP MERGES audit_events"))
	b.Run("tenant", func(b *testing.B) {
		var far []sinkers.Query
		for i := range tenants {
			far = append(far, after(b, s, tenantName(i), thousandth+(i-10)*limit))
		}
		benchmarkPages(b, s, far)
	})
	b.Run("tenant to the page", func(b *testing.B) {
		var far []sinkers.Query
		for i := range tenants {
			far = append(far, after(b, s, tenantName(i), thousandth))
		}
		benchmarkPages(b, s, far)
	})
	// The inserts' ends are parts' ends: that nearest to the thousandth page, and a new one within the first.
	const newer = limit * 2 / 5
	end := total / tenants / 10
	end *= (thousandth + end/2) / end
	var far []sinkers.Query
	for i := range tenants {
		far = append(far, after(b, s, tenantName(i), end-limit/2))
	}
	generateFrom(b, s, total, newer*tenants)
	b.Run("tenant across parts", func(b *testing.B) { benchmarkPages(b, s, far) })
}

// benchmarkPages reads the first page of a tenant and the other of it, a tenant after the other.
func benchmarkPages(b *testing.B, s *Sink, others []sinkers.Query) {
	var times, farTimes []float64
	for n := 0; b.Loop(); n++ {
		other := others[n%len(others)]
		for _, q := range []struct {
			query sinkers.Query
			times *[]float64
		}{{sinkers.Query{Tenant: other.Tenant}, &times}, {other, &farTimes}} {
			began := time.Now()
			p, err := s.Query(b.Context(), q.query)
			*q.times = append(*q.times, time.Since(began).Seconds())
			if err != nil || len(p.Events) != sinkers.DefaultLimit {
				b.Fatal(len(p.Events), err)
			}
		}
	}
	one, other := median(times), median(farTimes)
	b.ReportMetric(one*1e6, "first-µs")
	b.ReportMetric(other*1e6, "thousandth-µs")
	b.ReportMetric(other/one, "thousandth/first")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkQuery reads first pages of 50 from 500,000 events of 20 tenants, 600 B each, or as many as
// FIRETRAIL_BENCH_ROWS says, by the filters that are hardest.
func BenchmarkQuery(b *testing.B) {
	total := 500_000
	if n, err := strconv.Atoi(os.Getenv("FIRETRAIL_BENCH_ROWS")); err == nil {
		total = n
	}
	s := openWith(b, configOf(b, testenv.SharedClickHouse(b), Native))
	generate(b, s, total)
	then := eventAt(b, s, someTenant, min(50_000, total/20*9/10)).Time
	for _, c := range []struct {
		name  string
		query sinkers.Query
	}{
		{"tenant", sinkers.Query{}},
		{"common action", sinkers.Query{Action: "course.a1"}},
		{"rare actor", sinkers.Query{ActorID: "user17"}},
		{"one entity", sinkers.Query{EntityID: "e77"}},
		{"nothing found", sinkers.Query{Action: "never.*", EntityType: "x"}},
		{"all tenants", sinkers.Query{AllTenants: true}},
		{"all tenants, rare actor", sinkers.Query{AllTenants: true, ActorID: "user17"}},
		{"all tenants, an hour", sinkers.Query{AllTenants: true, From: then, To: then.Add(time.Hour)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if !c.query.AllTenants {
				c.query.Tenant = someTenant
			}
			found := 0
			for b.Loop() {
				p, err := s.Query(b.Context(), c.query)
				require.NoError(b, err)
				found = len(p.Events)
			}
			b.ReportMetric(float64(found), "events")
		})
	}
	b.Run("conflicts, of all", func(b *testing.B) {
		for b.Loop() {
			c, err := s.FindConflicts(b.Context(), time.Time{}, 10)
			require.NoError(b, err)
			require.Empty(b, c)
		}
	})
	b.Run("conflicts, of the last minute", func(b *testing.B) {
		_, err := s.Write(b.Context(), sinkers.Batch{Rows: someRows(b, "a", 0, 1000)})
		require.NoError(b, err)
		for b.Loop() {
			_, err := s.FindConflicts(b.Context(), time.Now().Add(-time.Minute), 10)
			require.NoError(b, err)
		}
	})
}

// someTenant is one of those that generate makes events of.
const someTenant = "tenant-03"

func tenantName(i int) string { return fmt.Sprintf("tenant-%02d", i) }

// eventAt returns what a cursor takes of a tenant's event that has so many newer ones.
func eventAt(b *testing.B, s *Sink, tenant string, newer int) *firetrail.Event {
	b.Helper()
	var id firetrail.ID
	require.NoError(b, s.conn.QueryRow(b.Context(), fmt.Sprintf(
		"SELECT id FROM audit_events WHERE tenant_id = '%s' ORDER BY id DESC LIMIT 1 OFFSET %d", tenant, newer)).Scan((*[16]byte)(&id)))
	return &firetrail.Event{Tenant: tenant, ID: id, Time: time.UnixMilli(milliOf(id))}
}

// after returns the query of a tenant's page after its newest events.
func after(b *testing.B, s *Sink, tenant string, newest int) sinkers.Query {
	b.Helper()
	return sinkers.Query{Tenant: tenant, Cursor: sinkers.NewCursor(eventAt(b, s, tenant, newest-1))}
}

func milliOf(id firetrail.ID) (ms int64) {
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms
}

// generate has the server make the rows, one a second, in ten inserts.
func generate(b *testing.B, s *Sink, total int) {
	b.Helper()
	part := total / 10
	for i := range 10 {
		generateFrom(b, s, i*part, part)
	}
}

func generateFrom(b *testing.B, s *Sink, from, count int) {
	b.Helper()
	require.NoError(b, s.conn.Exec(b.Context(), fmt.Sprintf(`INSERT INTO audit_events
			(tenant_id, id, time_us, action, actor_type, actor_id, entity_type, entity_id, new_values, outcome, source, seq, recorded_us, hash, inserted_at)
			WITH number + %d AS n, 1700000000000 + n * 1000 AS ms, sipHash128(n) AS h
			SELECT 'tenant-' || leftPad(toString(n %% 20), 2, '0'),
				toFixedString(concat(substring(reverse(reinterpretAsString(toUInt64(ms))), 1, 6), substring(h, 1, 10)), 16), ms * 1000,
				'course.a' || toString(rand(1) %% 30), 'user', 'user' || toString(rand(2) %% 5000), 'course', 'e' || toString(rand(3) %% 1000000),
				'{"k":"' || hex(randomString(100)) || repeat('abcdef', 70) || '"}', 'success', 'host/1', n + 1, ms * 1000, h,
				now64(6) - INTERVAL 1 DAY
			FROM numbers(%d) SETTINGS async_insert = 0, max_partitions_per_insert_block = 0`, from, count)))
}
