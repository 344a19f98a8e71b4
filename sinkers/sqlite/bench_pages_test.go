package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// BenchmarkPages reads a tenant's first page of 50 and its thousandth in turn, from 220,000 small events of 4 tenants;
// FIRETRAIL_PAGE_ROWS=5000000 is the long form. What counts is the ratio.
func BenchmarkPages(b *testing.B) {
	total := 220_000
	if env := os.Getenv("FIRETRAIL_PAGE_ROWS"); env != "" {
		_, err := fmt.Sscan(env, &total)
		require.NoError(b, err)
	}
	s := openAt(b, tempPath(b))
	fill(b, s, total, 4)
	for _, c := range []struct {
		name  string
		query sinkers.Query
	}{
		{"tenant", sinkers.Query{Tenant: "tenant-1"}},
		{"action", sinkers.Query{Tenant: "tenant-1", Action: "course.created"}},
		{"all tenants", sinkers.Query{AllTenants: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			far := c.query
			for range 999 {
				p, err := s.Query(b.Context(), far)
				require.NoError(b, err)
				require.NotEmpty(b, p.Next)
				far.Cursor = p.Next
			}
			var first, thousandth []time.Duration
			for b.Loop() {
				for _, q := range []struct {
					query sinkers.Query
					times *[]time.Duration
				}{{c.query, &first}, {far, &thousandth}} {
					began := time.Now()
					p, err := s.Query(b.Context(), q.query)
					*q.times = append(*q.times, time.Since(began))
					if err != nil || len(p.Events) != sinkers.DefaultLimit {
						b.Fatal(len(p.Events), err)
					}
				}
			}
			one, other := median(first), median(thousandth)
			b.ReportMetric(one*1e6, "first-µs")
			b.ReportMetric(other*1e6, "thousandth-µs")
			b.ReportMetric(other/one, "thousandth/first")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// fill stores n small events of so many tenants.
func fill(tb testing.TB, s *Sink, n, tenants int) {
	tb.Helper()
	action, err := firetrail.ParseName("course.created")
	require.NoError(tb, err)
	random, at := rand.New(rand.NewPCG(1, 2)), int64(1_700_000_000_000_000)
	ids := firetrail.NewIDGenerator()
	rows := make([]sinkers.Row, 0, 10_000)
	for i := range n {
		at += 20
		e := firetrail.Event{
			ID: ids.Next(at), Time: time.UnixMicro(at).UTC(), Tenant: fmt.Sprint("tenant-", random.IntN(tenants)), Action: action,
			Actor: firetrail.Actor{Type: "user", ID: fmt.Sprint("u", random.IntN(1000))}, Source: "bench", Seq: uint64(i + 1),
			New: firetrail.Raw([]byte(`{"title":"an event of the usual kind","n":12345}`)),
		}
		if rows = append(rows, sinkers.Row{Event: e, Hash: [16]byte(e.ID)}); len(rows) == cap(rows) || i == n-1 {
			_, err := s.Write(tb.Context(), sinkers.Batch{Rows: rows})
			require.NoError(tb, err)
			rows = rows[:0]
		}
	}
}
