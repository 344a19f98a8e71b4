//go:build integration && unix

package clickhouse

import (
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// TestPlans holds every query of a tenant to the primary key, and to reading it backwards, so that it ends with the
// page; and the filters that have an index to that.
func TestPlans(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	rows := append(someRows(t, "a", 0, 50_000), someRows(t, "b", 0, 5_000)...)
	for i := range rows {
		if i%5_000 == 77 {
			rows[i].Actor.ID, rows[i].Entity.ID = "rare", "rare"
			rows[i].Hash = rows[i].ContentHash()
		}
	}
	for _, part := range [][]sinkers.Row{rows[:20_000], rows[20_000:]} {
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: part})
		require.NoError(t, err)
	}
	at := rows[25_000].Time
	cursor := sinkers.NewCursor(&rows[25_000].Event)
	const (
		primary  = "PrimaryKey\nKeys:\ntenant_id\n"
		byID     = "PrimaryKey\nKeys:\ntenant_id\nid\n"
		bounds   = "Min-Max\nKeys:\ntime_us\n"
		backward = "Read type: InReverseOrder"
	)
	for _, c := range []struct {
		name   string
		query  sinkers.Query
		wanted []string
	}{
		{"all", sinkers.Query{}, []string{primary, backward}},
		{"times", sinkers.Query{From: at, To: at.Add(time.Hour)}, []string{byID, bounds, backward}},
		{"cursor", sinkers.Query{Cursor: cursor}, []string{byID, backward, "Output: tenant_id, id, _part_offset"}},
		{"action", sinkers.Query{Action: "course.created"}, []string{primary, backward}},
		{"prefix", sinkers.Query{Action: "course.*"}, []string{primary, backward}},
		{"actor", sinkers.Query{ActorID: "rare"}, []string{primary, backward, "Name: actor\n"}},
		{"actor type", sinkers.Query{ActorType: "user"}, []string{primary, backward}},
		{"entity", sinkers.Query{EntityID: "rare"}, []string{primary, backward, "Name: entity\n"}},
		{"entity type", sinkers.Query{EntityType: "x"}, []string{primary, backward}},
		{"outcome", sinkers.Query{Outcome: "denied"}, []string{primary, backward}},
		{"all together", sinkers.Query{
			Action: "course.*", ActorID: "rare", ActorType: "user", EntityID: "rare", Outcome: "success", From: at, To: at.Add(time.Hour), Cursor: cursor,
		}, []string{byID, bounds, backward, "Name: actor\n"}},
		{"all tenants, times", sinkers.Query{AllTenants: true, From: at, To: at.Add(time.Hour)}, []string{bounds, "Name: at\n"}},
		{"all tenants, actor", sinkers.Query{AllTenants: true, ActorID: "rare"}, []string{"Name: actor\n"}},
		{"all tenants, entity", sinkers.Query{AllTenants: true, EntityID: "rare"}, []string{"Name: entity\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.query.AllTenants {
				c.query.Tenant = "a"
			}
			pos, err := c.query.Cursor.Position()
			require.NoError(t, err)
			plan := explain(t, s, newSelection(c.query).statement(pos, 51))
			for _, w := range c.wanted {
				require.Contains(t, plan, w)
			}
			if !c.query.AllTenants {
				require.NotContains(t, plan, "PrimaryKey\nCondition: true")
			}
		})
	}
	t.Run("winners", func(t *testing.T) {
		plan := explain(t, s, "SELECT tenant_id, id FROM audit_events WHERE "+boundsOfRow(&rows[0]).condition())
		require.Contains(t, plan, bounds)
		require.Contains(t, plan, "Name: at\n")
	})
	t.Run("erase", func(t *testing.T) {
		plan := explain(t, s, "SELECT 1 FROM audit_events WHERE "+covered(sinkers.Erasure{Tenant: "a", ActorID: "rare", Before: at}))
		require.Contains(t, plan, byID)
		require.Contains(t, plan, "Name: actor\n")
	})
}

// explain returns how ClickHouse goes about a statement, each line without the tree around it.
func explain(t *testing.T, s *Sink, statement string) string {
	t.Helper()
	rows, err := s.conn.Query(t.Context(), "EXPLAIN indexes = 1, actions = 1 "+statement)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var lines []string
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		lines = append(lines, strings.Trim(line, " │├└─"))
	}
	require.NoError(t, rows.Err())
	return strings.Join(lines, "\n")
}

// A page in the midst of a tenant's events reads as few rows as the first: a few granules of each part.
func TestPageReadsNoMoreThanItNeeds(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), HTTP))
	rows := append(someRows(t, "a", 0, 100_000), someRows(t, "b", 0, 1_000)...)
	_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.NoError(t, s.conn.Exec(t.Context(), "OPTIMIZE TABLE audit_events FINAL"))
	for _, from := range []*firetrail.Event{nil, &rows[99_000].Event, &rows[50_000].Event, &rows[51].Event} {
		q := sinkers.Query{Tenant: "a"}
		if from != nil {
			q.Cursor = sinkers.NewCursor(from)
		}
		pos, err := q.Cursor.Position()
		require.NoError(t, err)
		require.LessOrEqual(t, profileOf(t, s, newSelection(q).statement(pos, 51)).rows, uint64(16*1024))
	}
}

// profile is what the server did for a statement.
type profile struct{ rows, parts, files uint64 }

func profileOf(t *testing.T, s *Sink, statement string) (p profile) {
	t.Helper()
	id := testenv.Unique(t)
	rows, err := s.conn.Query(clickhouse.Context(t.Context(), clickhouse.WithQueryID(id)), statement)
	require.NoError(t, err)
	for rows.Next() {
	}
	require.NoError(t, rows.Err())
	require.NoError(t, s.conn.Exec(t.Context(), "SYSTEM FLUSH LOGS"))
	require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT read_rows, ProfileEvents['SelectedParts'], ProfileEvents['FileOpen'] "+
		"FROM system.query_log WHERE query_id = ? AND type = 'QueryFinish'", id).Scan(&p.rows, &p.parts, &p.files))
	require.NotZero(t, p.rows)
	return p
}

// A page after a cursor opens no more files than the first: no column but those of the key is read to find its rows,
// no index beside that of the key, and nothing of the months that are newer.
func TestPageOpensNoMoreFilesThanTheFirst(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	may, june := someRows(t, "a", 0, 20_000), someRows(t, "a", 300_000, 320_000)
	for _, rows := range [][]sinkers.Row{may, june} {
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
		require.NoError(t, err)
	}
	require.NoError(t, s.conn.Exec(t.Context(), "OPTIMIZE TABLE audit_events FINAL"))
	after := func(r *sinkers.Row) (p profile) {
		var pos sinkers.CursorPosition
		if r != nil {
			pos = sinkers.CursorPosition{Time: r.Time, ID: r.ID, Tenant: "a"}
		}
		for range 2 { // the first time marks are read, too
			p = profileOf(t, s, newSelection(sinkers.Query{Tenant: "a"}).statement(pos, 51))
		}
		return p
	}
	first, far, farther := after(nil), after(&june[10_000]), after(&may[10_000])
	require.EqualValues(t, 2, first.parts)
	require.EqualValues(t, 2, far.parts)
	require.EqualValues(t, 1, farther.parts, "the newer month is left out")
	require.LessOrEqual(t, far.files, first.files)
	require.Less(t, farther.files, first.files)
}
