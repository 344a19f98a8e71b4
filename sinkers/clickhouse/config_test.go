package clickhouse

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

func TestConfigNamesEveryProblem(t *testing.T) {
	err := Config{
		Addrs:    []string{"localhost", "h:0", "h:70000", ":9000", "u@h:9000", "h:9000", "h:9000"},
		Protocol: "grpc", Database: "a\x00", User: "b\n", Compression: "gzip", ReadOnly: true, TTLDays: maxTTLDays + 1, Retention: sinkers.Retention{Days: -1},
		DialTimeout: -1, ReadTimeout: -time.Second, MaxConns: -1,
	}.Validate()
	for _, want := range []string{
		`addrs[0]: "localhost" is not host:port`, `addrs[1]: "h:0" has the port "0"`, `addrs[2]: "h:70000" has the port`,
		`addrs[3]: ":9000" has the host ""`, `addrs[4]: "u@h:9000" has the host`, `addrs[6]: "h:9000" is there twice`,
		`protocol: "grpc" is neither`, `database: "a\x00" has`, `user: "b\n" has`, `compression: "gzip" is none of`,
		"ttl days: a read-only sink", "retention days: -1 is", "ttl days: 3651 is over 3650", "dial timeout: -1", "read timeout: -1000000000", "max conns: -1",
	} {
		require.ErrorContains(t, err, want)
	}
	require.Len(t, strings.Split(err.Error(), "\n"), 16)
	require.EqualError(t, Config{}.Validate(), "addrs: missing; give at least one as host:port, such as localhost:9000")
	require.EqualError(t, Config{Addrs: []string{"h:1"}, MaxConns: 1}.Validate(), "max conns: 1 lets queries wait for writes; give at least 2")
	c := Config{Addrs: []string{"h:1", "[::1]:9000"}, TTLDays: -1}
	require.NoError(t, c.Validate())
	c.TTLDays = 30
	require.ErrorContains(t, c.Validate(), "ttl days: 30 is less than the retention (0 days")
	c.Retention.Days = 31
	require.ErrorContains(t, c.Validate(), "ttl days: 30 is less than the retention (31 days")
	c.TTLDays = 31
	require.NoError(t, c.Validate())
}

func TestOpenValidates(t *testing.T) {
	_, err := Open(t.Context(), Config{Password: "secret"})
	require.EqualError(t, err, "clickhouse: addrs: missing; give at least one as host:port, such as localhost:9000")
}

func TestUnreachable(t *testing.T) {
	_, err := Open(t.Context(), Config{Addrs: []string{"127.0.0.1:1"}, User: "u", Password: "secret"})
	require.ErrorContains(t, err, "clickhouse: 127.0.0.1:1/default: open: ")
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "secret")
}

func TestOneDatabaseForEachTenantIsRefused(t *testing.T) {
	err := Config{Addrs: []string{"h:9000"}, Database: "audit_{tenant}"}.Validate()
	require.ErrorContains(t, err, `database: "audit_{tenant}" would be one for each tenant: thousands of tenants would be thousands of tables`)

	r, err := sinkers.NewRouter(sinkers.RouterConfig{
		Resolve: func(context.Context, string) (sinkers.Sinker, error) {
			s := newSink(Config{}.withDefaults())
			return s, s.connect()
		},
		Tenants: func(context.Context) iter.Seq2[string, error] { return func(func(string, error) bool) {} },
	})
	require.NoError(t, err)
	err = r.Of("acme").Ping(t.Context())
	require.ErrorContains(t, err, "of which there can't be one for each tenant: thousands of tenants")
	require.False(t, sinkers.IsPermanent(err), "a mistake in the settings makes no letters")
	require.NoError(t, r.Close())
}
