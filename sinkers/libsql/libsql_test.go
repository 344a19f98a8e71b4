//go:build integration && unix

package libsql_test

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
		sinkertest.Refusing(func(t *testing.T, action string) sinkers.Sinker {
			cfg := empty(t)
			s := open(t, cfg)
			bare(t, cfg, "CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN NEW.action = '"+action+
				"' BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: refused'); END")
			return s
		}),
		sinkertest.NewerSchema(func(t *testing.T) error {
			cfg := empty(t)
			require.NoError(t, open(t, cfg).Close())
			bare(t, cfg, "INSERT INTO firetrail_schema VALUES (99, 0)")
			_, err := libsql.Open(t.Context(), cfg)
			return err
		}))
}

// TestPerTenantConformance: a namespace for each tenant is a Sinker like any other.
func TestPerTenantConformance(t *testing.T) {
	server := testenv.SharedLibSQL(t)
	open := func(t *testing.T, retention sinkers.Retention) sinkers.Sinker {
		suffix := strings.ToLower(testenv.Unique(t))
		suffix = "-" + suffix[len(suffix)-8:]
		tenants := libsql.Tenants{
			URL:    "http://{tenant}" + suffix + ".libsql.example",
			Config: libsql.Config{Proxy: server.URL("http"), Retention: retention},
		}
		require.NoError(t, tenants.Validate())
		var mu sync.Mutex
		made := map[string]bool{}
		r, err := sinkers.NewRouter(sinkers.RouterConfig{
			Resolve: func(ctx context.Context, tenant string) (sinkers.Sinker, error) {
				mu.Lock()
				defer mu.Unlock()
				if !made[tenant] {
					if err := server.MakeNamespace(libsql.TenantLabel(tenant) + suffix); err != nil {
						return nil, err
					}
					made[tenant] = true
				}
				return resolveNew(ctx, tenants, tenant)
			},
			Tenants: func(context.Context) iter.Seq2[string, error] {
				mu.Lock()
				defer mu.Unlock()
				names := slices.Sorted(maps.Keys(made))
				return func(yield func(string, error) bool) {
					for _, name := range names {
						if !yield(name, nil) {
							return
						}
					}
				}
			},
			PoolSize: 3, OpenTimeout: 5 * time.Minute,
		})
		require.NoError(t, err)
		return r
	}
	sinkertest.Run(t, func(t *testing.T) sinkers.Sinker { return open(t, sinkers.Retention{}) },
		sinkertest.SplitByTenant(), sinkertest.LargeBatch(2_000), sinkertest.Retained(open))
}

// resolveNew opens the database of a namespace that was just made: under load the server may take a moment to know it.
func resolveNew(ctx context.Context, tenants libsql.Tenants, tenant string) (sinkers.Sinker, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := tenants.Resolve(ctx, tenant)
		if !errors.Is(err, libsql.ErrNoDatabase) {
			return s, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// TestTenantWithoutDatabase: its rows wait until it has one, and nobody else's do.
func TestTenantWithoutDatabase(t *testing.T) {
	server := testenv.SharedLibSQL(t)
	_, err := libsql.Tenants{URL: "http://{tenant}.libsql.example", Config: libsql.Config{Proxy: server.URL("http")}}.Resolve(t.Context(), "nobody")
	require.ErrorIs(t, err, libsql.ErrNoDatabase)
	require.False(t, sinkers.IsPermanent(err))
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
