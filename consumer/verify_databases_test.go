//go:build integration && unix

package consumer

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
	"github.com/firetrail/firetrail/sinkers/libsql"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// verified is what verify asks of a database, and what the test does to it before.
type verified interface {
	sinkers.Sinker
	sinkers.Scanner
	sinkers.TenantLister
	sinkers.Ledger
	sinkers.Pruner
	sinkers.Eraser
}

// clickHouse returns the server that the tests share, and the settings of a database of its own there.
func clickHouse(t testing.TB, protocol string) (*testenv.ClickHouse, clickhouse.Config) {
	server := testenv.SharedClickHouse(t)
	cfg := clickhouse.Config{
		Addrs: []string{server.Addr()}, Protocol: protocol, Database: server.Database(t),
		User: testenv.ClickHouseUser, Password: testenv.ClickHousePassword,
	}
	if protocol == clickhouse.HTTP {
		cfg.Addrs = []string{server.HTTPAddr()}
	}
	return server, cfg
}

// TestVerifyDatabases: the same trail, with something missing for every reason, has the same report from every database.
func TestVerifyDatabases(t *testing.T) {
	t.Cleanup(func() { require.NoError(t, testenv.Disconnect()) })
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "audit.db")})
		require.NoError(t, err)
		verifyHoles(t, s)
	})
	for _, protocol := range []string{clickhouse.Native, clickhouse.HTTP} {
		t.Run("clickhouse "+protocol, func(t *testing.T) {
			server, cfg := clickHouse(t, protocol)
			s, err := clickhouse.Open(t.Context(), cfg)
			require.NoError(t, err)
			verifyHoles(t, s)
			// The statements of the one verify: the tenants, and for each its ledger, its tombstones and its events.
			admin, err := ch.Open(&ch.Options{Addr: []string{server.Addr()}, Auth: ch.Auth{Database: cfg.Database, Username: cfg.User, Password: cfg.Password}})
			require.NoError(t, err)
			defer func() { require.NoError(t, admin.Close()) }()
			require.NoError(t, admin.Exec(t.Context(), "SYSTEM FLUSH LOGS"))
			var scans, rows uint64
			require.NoError(t, admin.QueryRow(t.Context(), `SELECT count(), toUInt64(sum(read_rows)) FROM system.query_log
				WHERE type = 'QueryFinish' AND current_database = ? AND query LIKE '%ORDER BY source, seq, id%' AND query NOT LIKE '%query_log%'`,
				cfg.Database).Scan(&scans, &rows))
			require.EqualValues(t, 2, scans, "one for each tenant")
			require.Less(t, rows, uint64(10_000), "the events were read once, and what a granule has beside them")
		})
	}
	t.Run("libsql", func(t *testing.T) {
		server := testenv.SharedLibSQL(t)
		s, err := libsql.Open(t.Context(), libsql.Config{URL: server.Namespace(t), Proxy: server.URL("http")})
		require.NoError(t, err)
		verifyHoles(t, s)
	})
	t.Run("libsql per tenant", func(t *testing.T) {
		server := testenv.SharedLibSQL(t)
		urls := map[string]string{"a": server.Namespace(t), "b": server.Namespace(t)}
		router, err := sinkers.NewRouter(sinkers.RouterConfig{
			Resolve: func(ctx context.Context, tenant string) (sinkers.Sinker, error) {
				return libsql.Open(ctx, libsql.Config{URL: urls[tenant], Proxy: server.URL("http"), NoLease: true})
			},
			Tenants: func(context.Context) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					for _, name := range []string{"a", "b"} {
						if !yield(name, nil) {
							return
						}
					}
				}
			},
		})
		require.NoError(t, err)
		verifyHoles(t, router)
	})
}

func verifyHoles(t *testing.T, sink verified) {
	t.Cleanup(func() { require.NoError(t, sink.Close()) })
	var rows []sinkers.Row
	for seq := range uint64(1001) { // 0 has no sequence
		missing := seq >= 200 && seq <= 209 || seq == 300 || seq >= 400 && seq <= 404
		if !missing {
			rows = append(rows, sequenced("a", "run", seq))
		}
	}
	rows = append(rows, closing("a", "run", 1001))
	for seq := range uint64(80) {
		rows = append(rows, sequenced("a", "open", seq+1))
	}
	for seq := range uint64(100) {
		r := sequenced("b", "run", seq+1)
		if seq >= 69 && seq < 75 {
			r.Actor.ID = "ada"
			r.Hash = r.ContentHash()
		}
		rows = append(rows, r)
	}
	rows = append(rows, closing("b", "run", 101))
	res, err := sink.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.Equal(t, len(rows), res.Stored)
	forged := sequenced("a", "run", 500)
	forged.Actor.ID, forged.Seq = "mallory", 400
	forged.Hash = forged.ContentHash()
	res, err = sink.Write(t.Context(), sinkers.Batch{Rows: []sinkers.Row{forged}})
	require.NoError(t, err)
	require.Equal(t, []int{0}, res.Conflicts)
	require.NoError(t, sink.AppendLedger(t.Context(), []sinkers.LedgerEntry{
		ledgered(t, "a", 400, 404, sinkers.LedgerConflict), ledgered(t, "a", 200, 206, sinkers.LedgerDeadLetter),
	}))
	n, err := sink.Erase(t.Context(), sinkers.Erasure{Tenant: "b", ActorID: "ada", Before: verifyBegin.Add(time.Hour)})
	require.NoError(t, err)
	require.EqualValues(t, 6, n)
	_, err = sink.Prune(t.Context(), verifyBegin.Add(50*time.Second+time.Millisecond), false)
	require.NoError(t, err)

	sources := map[string]SourceReport{}
	report, err := Verify{
		Sink: sink, Scan: sinkers.Scan{AllTenants: true}, Explain: []sinkers.LedgerEntry{ledgered(t, "a", 207, 209, sinkers.LedgerDeadLetter)},
		OnSource: func(s SourceReport) error {
			sources[s.Tenant+" "+s.Source] = s
			return nil
		},
	}.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, VerifyReport{
		Tenants: 2, Sources: 3, Open: 1, Events: 935 + 30 + 45, Missing: 66 + 50 + 56, Unexplained: 1,
		Explained: map[sinkers.LedgerReason]uint64{
			sinkers.LedgerExpired: 150, sinkers.LedgerErased: 6, sinkers.LedgerDeadLetter: 10, sinkers.LedgerConflict: 5,
		},
	}, report)
	require.False(t, report.Whole())
	require.False(t, sources["a open"].Closed)
	require.True(t, sources["b run"].Closed)
	at := func(seq int) time.Time { return verifyBegin.Add(time.Duration(seq) * time.Second) }
	var told []string
	for _, g := range sources["a run"].Gaps {
		told = append(told, fmt.Sprintf("%d-%d %s", g.From, g.To, g.Reason))
		if g.Reason == "" {
			require.True(t, g.After.Equal(at(299)) && g.Before.Equal(at(301)), g)
		}
	}
	require.Equal(t, []string{"1-50 expired", "200-206 dead_letter", "207-209 dead_letter", "300-300 ", "400-404 conflict"}, told)
}

func ledgered(t *testing.T, tenant string, from, to uint64, reason sinkers.LedgerReason) sinkers.LedgerEntry {
	t.Helper()
	e, ok := sinkers.LedgerOf(sinkers.Position{Tenant: tenant, Source: "run", Seq: from}, reason, time.Now())
	require.True(t, ok)
	e.To = to
	return e
}
