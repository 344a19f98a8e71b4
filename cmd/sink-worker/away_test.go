package main

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// A worker whose database is away at its start waits for it, says so, and can be told to stop meanwhile; a command that is
// run once fails at once.
func TestDatabaseAwayAtStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	for name, database := range map[string][]string{
		"clickhouse native": {"--clickhouse-addrs=" + addr},
		"clickhouse http":   {"--clickhouse-addrs=" + addr, "--clickhouse-protocol=http"},
		"libsql http":       {"--libsql-url=http://" + addr},
		"libsql ws":         {"--libsql-url=ws://" + addr},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{
				"run", "--brokers=127.0.0.1:1", "--dlq-dir=" + filepath.Join(t.TempDir(), "dlq"),
				"--admin-address=127.0.0.1:0", "--log-format=json",
			}, database...)
			logs, stop := inBackground(t, args...)
			admin := scraperOf(t, logs)
			require.Eventually(t, func() bool {
				return strings.Count(logs.String(), "the database is away; trying again") >= 2
			}, time.Minute, time.Millisecond, "%s", logs)
			code, body := admin.get("/readyz")
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.Contains(t, body, "the database is away: ")
			require.Contains(t, body, "connection refused")
			code, _ = admin.get("/healthz")
			require.Equal(t, http.StatusOK, code)
			stop()

			_, stderr, code := sinkWorker(t, environment(), append([]string{"query"}, database...)...)
			require.Equal(t, cli.Failed, code)
			require.Contains(t, stderr, "connection refused")
		})
	}
}
