//go:build integration && unix

package clickhouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestSinker(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		t.Run(protocol, func(t *testing.T) {
			sinkertest.Run(t, func(t *testing.T) sinkers.Sinker {
				return openWith(t, configOf(t, testenv.SharedClickHouse(t), protocol))
			}, sinkertest.AnswersMayBeLost())
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
