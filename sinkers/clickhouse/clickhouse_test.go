//go:build integration && unix

package clickhouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestConformance(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		t.Run(protocol, func(t *testing.T) {
			server := testenv.SharedClickHouse(t)
			sinkertest.Run(t, func(t *testing.T) sinkers.Sinker { return openWith(t, configOf(t, server, protocol)) },
				sinkertest.AnswersMayBeLost(),
				sinkertest.Retained(func(t *testing.T, r sinkers.Retention) sinkers.Sinker {
					c := configOf(t, server, protocol)
					c.Retention = r
					return openWith(t, c)
				}),
				sinkertest.Reopened(func(t *testing.T, s sinkers.Sinker) sinkers.Sinker {
					return openWith(t, s.(*Sink).cfg)
				}),
				sinkertest.Refusing(func(t *testing.T, action string) sinkers.Sinker {
					c := configOf(t, server, protocol)
					s := openWith(t, c)
					server.Exec(t, "ALTER TABLE "+c.Database+".audit_events ADD CONSTRAINT refuse CHECK action != '"+action+"'")
					return s
				}),
				sinkertest.NewerSchema(func(t *testing.T) error {
					c := configOf(t, server, protocol)
					openWith(t, c)
					server.Exec(t, "INSERT INTO "+c.Database+".firetrail_schema (version) VALUES (99)")
					_, err := Open(t.Context(), c)
					return err
				}))
		})
	}
}

// configOf returns the configuration for a database of its own on the server.
func configOf(t testing.TB, server *testenv.ClickHouse, protocol string) Config {
	t.Helper()
	c := Config{
		Addrs: []string{server.Addr()}, Protocol: protocol, Database: server.Database(t),
		User: testenv.ClickHouseUser, Password: testenv.ClickHousePassword,
	}
	if protocol == HTTP {
		c.Addrs = []string{server.HTTPAddr()}
	}
	return c
}

func openWith(t testing.TB, c Config) *Sink {
	t.Helper()
	s, err := Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}
