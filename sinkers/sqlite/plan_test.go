package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// TestPlans holds every query to an index, and those with one place to seek at to reading it in order.
func TestPlans(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "audit.db"))
	at := time.Unix(1_700_000_000, 1_000)
	cursor := sinkers.NewCursor(&firetrail.Event{Time: at, ID: firetrail.IDFrom(at, "x")})
	const tenant, skip = "(tenant_id=?", "MATERIALIZE names"
	for _, c := range []struct {
		name     string
		query    sinkers.Query
		one, all []string // to be found in the plan for one tenant, and for all
	}{
		{"all", sinkers.Query{}, []string{"by_tenant " + tenant}, []string{"SCAN e USING INDEX audit_events_by_id"}},
		{"times", sinkers.Query{From: at, To: at.Add(1)}, []string{"by_tenant " + tenant + " AND id>? AND id<?)"}, []string{"by_id (id>? AND id<?)"}},
		{"cursor", sinkers.Query{Cursor: cursor}, []string{"by_tenant " + tenant + " AND id<?)"}, []string{"by_id ((id,tenant_id)<(?,?))"}},
		{"action", sinkers.Query{Action: "a.b"}, []string{"by_action " + tenant + " AND action=?)"}, []string{skip, "by_action " + tenant + " AND action=?)"}},
		{"action, times", sinkers.Query{Action: "a.b", From: at, Cursor: cursor}, []string{"by_action " + tenant + " AND action=? AND id>? AND id<?)"}, nil},
		{"prefix", sinkers.Query{Action: "a.*"}, []string{skip, "by_action " + tenant + " AND action=?)", "by_action " + tenant + " AND action>? AND action<?)"}, []string{"by_id"}},
		{"actor", sinkers.Query{ActorID: "x"}, []string{"by_actor " + tenant + " AND actor_id=?)"}, []string{skip, "by_actor " + tenant + " AND actor_id=?)"}},
		{"actor and more", sinkers.Query{ActorID: "x", ActorType: "user", Action: "a.*", Outcome: "success"}, []string{"by_actor " + tenant + " AND actor_id=?)"}, nil},
		{"actor type", sinkers.Query{ActorType: "x"}, []string{"by_tenant " + tenant}, []string{"by_id"}},
		{"entity", sinkers.Query{EntityID: "x", ActorID: "y"}, []string{"by_entity " + tenant + " AND entity_id=?)"}, []string{skip, "by_entity " + tenant + " AND entity_id=?)"}},
		{"entity type", sinkers.Query{EntityType: "x"}, []string{"by_tenant " + tenant}, []string{"by_id"}},
		{"denied", sinkers.Query{Outcome: "denied"}, []string{"by_outcome " + tenant + " AND outcome=?)"}, []string{skip, "by_outcome " + tenant + " AND outcome=?)"}},
		{"success", sinkers.Query{Outcome: "success"}, []string{"by_tenant " + tenant}, []string{"by_id"}},
	} {
		for _, all := range []bool{false, true} {
			name, wanted := c.name, c.one
			if c.query.AllTenants = all; all {
				name, wanted = c.name+", all tenants", c.all
			}
			t.Run(name, func(t *testing.T) {
				statement, err := sqlstore.Select(c.query)
				require.NoError(t, err)
				steps := plan(t, s, statement)
				for _, w := range wanted {
					require.Contains(t, steps, w)
				}
				if !strings.Contains(steps, skip) {
					require.NotContains(t, steps, "TEMP B-TREE")
				}
			})
		}
	}
	t.Run("prune", func(t *testing.T) {
		require.Contains(t, plan(t, s, sqlstore.Prune(at)), "by_id (id<?)")
		require.Contains(t, plan(t, s, sqlstore.CountPrune(at.Truncate(time.Second))), "COVERING INDEX audit_events_by_id (id<?)")
	})
	t.Run("erase", func(t *testing.T) {
		all := sinkers.Erasure{Tenant: "a", Before: at}
		require.Contains(t, plan(t, s, sqlstore.Erase(all)), "by_tenant "+tenant+" AND id<?)")
		require.Contains(t, plan(t, s, sqlstore.CountErase(all)), "by_tenant "+tenant+" AND id<?)")
		all.ActorID, all.ActorType = "x", "user"
		require.Contains(t, plan(t, s, sqlstore.Erase(all)), "by_actor "+tenant+" AND actor_id=? AND id<?)")
		require.Contains(t, plan(t, s, sqlstore.Statement{SQL: sqlstore.SelectBuried, Args: []any{"a"}}), "PRIMARY KEY "+tenant)
		require.Contains(t, plan(t, s, sqlstore.Statement{SQL: sqlstore.InsertGuarded(), Args: make([]any, sqlstore.Columns)}),
			"PRIMARY KEY "+tenant+" AND actor_id=? AND actor_type=?)")
	})
	t.Run("ledger", func(t *testing.T) {
		require.Contains(t, plan(t, s, sqlstore.Statement{SQL: sqlstore.LedgerNeighbours, Args: []any{"a", "s", "r", 1}}),
			tenant+" AND source=? AND reason=? AND to_seq>?)")
		require.Contains(t, plan(t, s, sqlstore.SelectLedger(sinkers.Scan{Tenant: "a"})), "PRIMARY KEY "+tenant)
	})
	t.Run("hash", func(t *testing.T) {
		require.Contains(t, plan(t, s, sqlstore.Statement{SQL: sqlstore.SelectHash, Args: []any{"", ""}}), "by_tenant (tenant_id=? AND id=?)")
	})
	t.Run("tenants", func(t *testing.T) {
		plan(t, s, sqlstore.Statement{SQL: sqlstore.SelectTenants})
	})
}

// plan returns how SQLite goes about a statement, and fails the test when it walks through a whole table.
func plan(t *testing.T, s *Sink, statement sqlstore.Statement) string {
	t.Helper()
	rows, err := s.readers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement.SQL, statement.Args...)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
		if strings.HasPrefix(step, "SCAN") && step != "SCAN names" && step != "SCAN v" && step != "SCAN CONSTANT ROW" {
			require.Contains(t, step, "USING INDEX audit_events_by_id")
		}
		steps = append(steps, step)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, steps)
	return strings.Join(steps, "\n")
}
