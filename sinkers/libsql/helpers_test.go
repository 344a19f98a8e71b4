//go:build integration && unix

package libsql

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// namespaceConfig returns the configuration of an empty database on the shared server.
func namespaceConfig(tb testing.TB) Config {
	tb.Helper()
	server := testenv.SharedLibSQL(tb)
	return Config{URL: server.Namespace(tb), Proxy: server.URL("http")}
}

func openWith(tb testing.TB, cfg Config) *Sink {
	tb.Helper()
	s, err := Open(tb.Context(), cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

// someRows returns the events from to to of tenant "acme".
func someRows(tb testing.TB, from, to int) (rows []sinkers.Row) {
	tb.Helper()
	action, err := firetrail.ParseName("course.created")
	require.NoError(tb, err)
	for n := from; n < to; n++ {
		at := time.UnixMicro(1_700_000_000_000_000 + int64(n)).UTC()
		e := firetrail.Event{
			ID: firetrail.IDFrom(at, fmt.Sprint(n)), Time: at, Tenant: "acme", Action: action,
			Actor: firetrail.Actor{ID: fmt.Sprint("u", n)}, Source: "test", Seq: uint64(n + 1),
			New: firetrail.Raw(fmt.Appendf(nil, `{"n":%d,"title":"Fire \"safety\" für alle <1>"}`, n)),
		}
		rows = append(rows, sinkers.Row{Event: e, Hash: e.ContentHash()})
	}
	return rows
}

func mustWrite(tb testing.TB, s *Sink, rows []sinkers.Row) {
	tb.Helper()
	res, err := s.Write(tb.Context(), sinkers.Batch{Rows: rows})
	require.NoError(tb, err)
	require.Equal(tb, sinkers.Result{Stored: len(rows)}, res)
}

func count(tb testing.TB, s *Sink) (n int) {
	tb.Helper()
	require.NoError(tb, s.readers.QueryRowContext(tb.Context(), "SELECT count(*) FROM audit_events").Scan(&n))
	return n
}
