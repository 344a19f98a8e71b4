//go:build integration && unix

package libsql

import (
	"context"
	"crypto/ed25519"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

var schemes = []string{"http", "ws"}

// TestTokens: whatever is wrong with a token is said, by Open too, and is never poison.
func TestTokens(t *testing.T) {
	server := testenv.StartLibSQL(t, testenv.LibSQLOptions{Auth: true})
	_, stranger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	good := server.Token(t, testenv.LibSQLClaims{})
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			for _, bad := range []string{
				"", "nonsense", testenv.SignLibSQLToken(t, stranger, testenv.LibSQLClaims{}),
				server.Token(t, testenv.LibSQLClaims{Expires: -time.Hour}),
			} {
				_, err := Open(t.Context(), Config{URL: server.URL(scheme), Token: bad})
				require.ErrorIs(t, err, ErrUnauthorized)
				require.False(t, sinkers.IsPermanent(err))
				if bad != "" {
					require.NotContains(t, err.Error(), bad)
				}
			}
			// A token that is taken back while the sink is open, and one that takes its place.
			file := filepath.Join(t.TempDir(), "token")
			put := func(token string) { require.NoError(t, os.WriteFile(file, []byte(token), 0o600)) }
			put(good)
			s := openWith(t, Config{URL: server.URL(scheme), TokenFile: file})
			mustWrite(t, s, someRows(t, 0, 10)[:5])
			put("nonsense")
			server.Kill(t)
			server.StartAgain(t)
			_, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 5, 10)})
			require.ErrorIs(t, err, ErrUnauthorized)
			require.False(t, sinkers.IsPermanent(err))
			require.ErrorIs(t, s.Ping(t.Context()), ErrUnauthorized)
			put(good)
			mustWrite(t, s, someRows(t, 5, 10))
			_, err = s.Prune(t.Context(), time.Now(), false)
			require.NoError(t, err)
			_, err = s.writer.ExecContext(t.Context(), "DELETE FROM audit_pruned")
			require.NoError(t, err)
		})
	}
}

// TestReadOnlyToken: it reads, and what it may not do is an outage, not poison. Over WebSocket the server hangs up on
// whoever writes with one.
func TestReadOnlyToken(t *testing.T) {
	server := testenv.StartLibSQL(t, testenv.LibSQLOptions{Auth: true})
	rows := someRows(t, 0, 5)
	writer := openWith(t, Config{URL: server.URL("http"), Token: server.Token(t, testenv.LibSQLClaims{})})
	mustWrite(t, writer, rows)
	token := server.Token(t, testenv.LibSQLClaims{ReadOnly: true})
	for _, scheme := range schemes {
		s := openWith(t, Config{URL: server.URL(scheme), Token: token, ReadOnly: true})
		require.Equal(t, 5, count(t, s))
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
		require.ErrorIs(t, err, ErrReadOnly)
		_, err = Open(t.Context(), Config{URL: server.URL(scheme), Token: token})
		require.Error(t, err)
		require.False(t, sinkers.IsPermanent(err))
		if scheme == "http" {
			require.ErrorIs(t, err, ErrForbidden)
		}
	}
}

func TestUnknownNamespace(t *testing.T) {
	server := testenv.SharedLibSQL(t)
	_, err := Open(t.Context(), Config{URL: testenv.NamespaceURL("nobody"), Proxy: server.URL("http")})
	require.ErrorIs(t, err, ErrNoDatabase)
	require.False(t, sinkers.IsPermanent(err))
	_, err = Open(t.Context(), Config{URL: server.URL("ws")}) // namespace "127"
	require.Error(t, err)
	require.False(t, sinkers.IsPermanent(err))
}

// TestExpiredStream: the server ends a stream that nothing was asked of for 10 s. A sink doesn't use one that is
// nearly as old, and the answer it would get is known, too.
func TestExpiredStream(t *testing.T) {
	cfg := namespaceConfig(t).withDefaults()
	var streams []driver.Conn
	for range 60 {
		c, err := connector{cfg, dial}.Connect(t.Context())
		require.NoError(t, err)
		require.NoError(t, ask(t, c))
		streams = append(streams, c)
	}
	first := streams[0].(*conn)
	require.NoError(t, first.ResetSession(t.Context()))
	first.used = first.used.Add(-streamIdle)
	require.Equal(t, driver.ErrBadConn, first.ResetSession(t.Context()))
	var err error
	require.Eventually(t, func() bool {
		c := streams[len(streams)-1] // each is asked once more, when it has been left alone for long enough
		streams = streams[:len(streams)-1]
		err = ask(t, c)
		return err != nil
	}, 55*time.Second, time.Second)
	require.Equal(t, driver.ErrBadConn, err)
}

func ask(t *testing.T, c driver.Conn) error {
	_, err := c.(*conn).ExecContext(t.Context(), "SELECT 1", nil)
	return err
}

// TestServerAway: while the server is dead, hung or starting, writes fail as outages, and soon; afterwards the same
// sink goes on.
func TestServerAway(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			server := testenv.StartLibSQL(t, testenv.LibSQLOptions{})
			s := openWith(t, Config{URL: server.URL(scheme), Timeout: 2 * time.Second})
			rows := someRows(t, 0, 400)
			mustWrite(t, s, rows[:100])
			fails := func() {
				t.Helper()
				_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[100:200]})
				require.Error(t, err)
				require.False(t, sinkers.IsPermanent(err), "%v", err)
				require.Error(t, s.Ping(t.Context()))
			}
			server.Kill(t)
			fails()
			server.StartAgain(t)
			mustWrite(t, s, rows[100:200])
			require.NoError(t, s.Ping(t.Context()))

			server.Pause(t)
			fails()
			ctx, cancel := context.WithCancel(t.Context())
			cancelled := make(chan error, 1)
			go func() {
				_, err := s.Write(ctx, sinkers.Batch{Rows: rows[200:300]})
				cancelled <- err
			}()
			cancel()
			require.ErrorIs(t, <-cancelled, context.Canceled)
			server.Resume(t)
			// What was on its way may have been stored meanwhile.
			stored := func() bool {
				res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
				return err == nil && res.Duplicates+res.Stored == len(rows)
			}
			require.Eventually(t, stored, time.Minute, 50*time.Millisecond)
			require.Equal(t, len(rows), count(t, s))
		})
	}
}

// TestLargeRows: what the server wouldn't take is named, and what goes in by several statements goes in whole or not
// at all.
func TestLargeRows(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			server := testenv.StartLibSQL(t, testenv.LibSQLOptions{})
			s := openWith(t, Config{URL: server.URL(scheme)})
			rows := someRows(t, 0, 12)
			value := func(n int) firetrail.Value { return firetrail.Raw([]byte(`"` + strings.Repeat("x", n) + `"`)) }
			for i := range rows {
				rows[i].New = value(1 << 20)
			}
			rows[7].New = value(maxPart)
			_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
			var bad *sinkers.BatchError
			require.ErrorAs(t, err, &bad)
			require.Len(t, bad.Rows, 1)
			require.Equal(t, 7, bad.Rows[0].Index)
			require.ErrorContains(t, err, "bytes as JSON; the most is")
			rows[7].New = value(maxPart - 1000)

			_, err = s.writer.ExecContext(t.Context(), `CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN new.seq = 12
				BEGIN SELECT RAISE(ABORT, 'the disk is in the mood for it'); END`)
			require.NoError(t, err)
			_, err = s.Write(t.Context(), sinkers.Batch{Rows: rows}) // the last statement fails
			require.ErrorContains(t, err, "in the mood")
			require.False(t, sinkers.IsPermanent(err), "nobody understands it")
			require.Zero(t, count(t, s))
			_, err = s.writer.ExecContext(t.Context(), "DROP TRIGGER refuse")
			require.NoError(t, err)
			mustWrite(t, s, rows)
			require.NoError(t, s.Probe(t.Context(), 64<<20))
			events := 0
			for q := (sinkers.Query{Tenant: "acme", Limit: sinkers.MaxLimit}); ; { // more than the server sends at once
				page, err := s.Query(t.Context(), q)
				require.NoError(t, err)
				if events += len(page.Events); page.Next == "" {
					break
				}
				q.Cursor = page.Next
			}
			require.Equal(t, 12, events)
		})
	}
}

// TestConstraint: what the database refuses for good is permanent, and nothing of the batch is stored.
func TestConstraint(t *testing.T) {
	s := openWith(t, namespaceConfig(t))
	for _, statement := range []string{
		"CREATE TABLE audit_strict (n INTEGER NOT NULL)",
		"CREATE TRIGGER refuse AFTER INSERT ON audit_events WHEN new.seq = 40 BEGIN INSERT INTO audit_strict VALUES (NULL); END",
	} {
		_, err := s.writer.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	_, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 0, 100)})
	require.ErrorContains(t, err, "NOT NULL constraint failed: audit_strict.n")
	require.True(t, sinkers.IsPermanent(err))
	require.Zero(t, count(t, s))
	mustWrite(t, s, someRows(t, 100, 200))
}

// TestPlans: nothing that is asked for each row or page walks through a whole table, and each filter has its index, as this server's
// own SQLite goes about it.
func TestPlans(t *testing.T) {
	s := openWith(t, namespaceConfig(t))
	p := sinkers.Position{}
	statements := map[string]sqlstore.Statement{
		"different": {SQL: sqlstore.SelectDifferent, Args: []any{"[]"}},
		"insert":    {SQL: s.insert, Args: []any{"[]", int64(0), ""}},
		"ledger":    {SQL: sqlstore.InsertLedgerJSON, Args: []any{"[]"}},
		"absorb":    {SQL: sqlstore.AbsorbLedgerJSON, Args: []any{"[]"}},
		"tenants":   {SQL: sqlstore.SelectTenantsAfter, Args: []any{"a"}},
		"positions": (&sqlstore.Window{Tenant: "a", After: &p}).Select(),
		"sources":   sqlstore.SelectSourcesAfter("a", &sqlstore.SourceCount{}),
		"entries":   sqlstore.SelectLedgerAfter(sinkers.Scan{}, &sinkers.LedgerEntry{}),
	}
	at := time.Unix(1_700_000_000, 1_000)
	const tenant = "(tenant_id=?"
	wanted := map[string]string{}
	for name, c := range map[string]struct {
		query    sinkers.Query
		one, all string
	}{
		"all":         {sinkers.Query{}, "by_tenant " + tenant, "by_id"},
		"times":       {sinkers.Query{From: at, To: at.Add(1)}, "by_tenant " + tenant + " AND id>? AND id<?)", "by_id (id>? AND id<?)"},
		"cursor":      {sinkers.Query{Cursor: sinkers.NewCursor(&firetrail.Event{Time: at, ID: firetrail.IDFrom(at, "x")})}, "by_tenant " + tenant + " AND id<?)", "by_id ("},
		"action":      {sinkers.Query{Action: "a.b"}, "by_action " + tenant + " AND action=?)", "by_action " + tenant + " AND action=?)"},
		"prefix":      {sinkers.Query{Action: "a.*"}, "by_action " + tenant + " AND action=?)", "by_id"},
		"actor":       {sinkers.Query{ActorID: "x"}, "by_actor " + tenant + " AND actor_id=?)", "by_actor " + tenant + " AND actor_id=?)"},
		"actor type":  {sinkers.Query{ActorType: "x"}, "by_tenant " + tenant, "by_id"},
		"entity":      {sinkers.Query{EntityID: "x"}, "by_entity " + tenant + " AND entity_id=?)", "by_entity " + tenant + " AND entity_id=?)"},
		"entity type": {sinkers.Query{EntityType: "x"}, "by_tenant " + tenant, "by_id"},
		"denied":      {sinkers.Query{Outcome: "denied"}, "by_outcome " + tenant + " AND outcome=?)", "by_outcome " + tenant + " AND outcome=?)"},
		"success":     {sinkers.Query{Outcome: "success"}, "by_tenant " + tenant, "by_id"},
	} {
		for _, all := range []bool{false, true} {
			of, want := "query, "+name, c.one
			if c.query.AllTenants = all; all {
				of, want = of+", all tenants", c.all
			}
			var err error
			statements[of], err = sqlstore.Select(c.query)
			require.NoError(t, err)
			wanted[of] = "INDEX audit_events_" + want
		}
	}
	for name, statement := range statements {
		rows, err := s.readers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+statement.SQL, statement.Args...)
		require.NoError(t, err, name)
		var steps []string
		for rows.Next() {
			var id, parent, unused int
			var step string
			require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
			if strings.HasPrefix(step, "SCAN") {
				require.Regexp(t, "SCAN (j VIRTUAL|v|names|CONSTANT|e USING INDEX audit_events_by_id|audit_tombstones$|firetrail_lease$)", step, name)
			}
			steps = append(steps, step)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		require.Contains(t, strings.Join(steps, "\n"), wanted[name], name)
	}
}

func TestOpenNeedsAWorkersDatabase(t *testing.T) {
	for _, cfg := range []Config{{ReadOnly: true}, {Beside: true}} {
		on := namespaceConfig(t)
		cfg.URL, cfg.Proxy = on.URL, on.Proxy
		_, err := Open(t.Context(), cfg)
		require.ErrorContains(t, err, "let a worker make its tables")
	}
	_, err := Open(t.Context(), Config{})
	require.ErrorContains(t, err, "url: missing")
	require.False(t, errors.Is(err, ErrLeased))
}
