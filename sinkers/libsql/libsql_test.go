//go:build integration && unix

package libsql_test

import (
	"database/sql"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	client "github.com/tursodatabase/libsql-client-go/libsql"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/libsql"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestConformanceHTTP(t *testing.T) {
	conformance(t, func(t *testing.T) libsql.Config {
		server := testenv.SharedLibSQL(t)
		return libsql.Config{URL: server.Namespace(t), Proxy: server.URL("http")}
	})
}

// Over WebSocket the host can't be named apart from the address, so each database is a server's only one.
func TestConformanceWebSocket(t *testing.T) {
	conformance(t, func(t *testing.T) libsql.Config {
		return libsql.Config{URL: testenv.StartLibSQL(t, testenv.LibSQLOptions{}).URL("ws")}
	})
}

func conformance(t *testing.T, empty func(t *testing.T) libsql.Config) {
	var configs sync.Map // by sink
	open := func(t *testing.T, cfg libsql.Config) sinkers.Sinker {
		s, err := libsql.Open(t.Context(), cfg)
		require.NoError(t, err)
		configs.Store(s, cfg)
		return s
	}
	sinkertest.Run(t, func(t *testing.T) sinkers.Sinker { return open(t, empty(t)) },
		sinkertest.Retained(func(t *testing.T, r sinkers.Retention) sinkers.Sinker {
			cfg := empty(t)
			cfg.Retention = r
			return open(t, cfg)
		}),
		sinkertest.Reopened(func(t *testing.T, s sinkers.Sinker) sinkers.Sinker {
			cfg, _ := configs.Load(s)
			return open(t, cfg.(libsql.Config))
		}),
		sinkertest.NewerSchema(func(t *testing.T) error {
			cfg := empty(t)
			require.NoError(t, open(t, cfg).Close())
			bare(t, cfg, "INSERT INTO firetrail_schema VALUES (99, 0)")
			_, err := libsql.Open(t.Context(), cfg)
			return err
		}))
}

// bare runs a statement by the client library alone.
func bare(t *testing.T, cfg libsql.Config, statement string, args ...any) {
	t.Helper()
	var options []client.Option
	if cfg.Proxy != "" {
		options = append(options, client.WithProxy(cfg.Proxy))
	}
	c, err := client.NewConnector(cfg.URL, options...)
	require.NoError(t, err)
	db := sql.OpenDB(c)
	_, err = db.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
	_ = db.Close() // over WebSocket it says how the other end took it
}
