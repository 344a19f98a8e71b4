package sqlite

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// BenchmarkQuery reads first pages of 50 from 100,000 real events of 20 tenants, by the filters that
// are hardest on an index.
func BenchmarkQuery(b *testing.B) {
	s := openAt(b, tempPath(b))
	source := testenv.NewRealRows(b)
	var last sinkers.Row
	for range 10 {
		rows := source.Take(10_000)
		last = rows[len(rows)-1]
		_, err := s.Write(b.Context(), sinkers.Batch{Rows: rows})
		require.NoError(b, err)
	}
	for _, c := range []struct {
		name  string
		query sinkers.Query
	}{
		{"tenant", sinkers.Query{}},
		{"all tenants", sinkers.Query{AllTenants: true}},
		{"action", sinkers.Query{Action: "iam.CreateUser"}},
		{"prefix", sinkers.Query{Action: "iam.*"}},
		{"rare prefix", sinkers.Query{Action: "account.*"}},
		{"actor", sinkers.Query{ActorID: last.Actor.ID}},
		{"actor, all tenants", sinkers.Query{ActorID: last.Actor.ID, AllTenants: true}},
		{"denied", sinkers.Query{Outcome: "failure"}},
		{"nothing found", sinkers.Query{Action: "never.*", EntityType: "x"}},
		{"worst: an actor type that is nowhere", sinkers.Query{ActorType: "x"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if !c.query.AllTenants {
				c.query.Tenant = "tenant-00"
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
}
