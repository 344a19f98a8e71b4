//go:build integration && unix

package main

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	client "github.com/tursodatabase/libsql-client-go/libsql"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers/libsql"
)

// libSQLWorker is what the tests here have in common: a server that asks for a token, topics with forty events, a
// forged one and a bad record, and the settings.
func libSQLWorker(t *testing.T, scheme string) (env cli.Environment, server *testenv.LibSQL, topic string) {
	server = testenv.StartLibSQL(t, testenv.LibSQLOptions{Auth: true})
	topic, dir := testenv.Unique(t), t.TempDir()
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte(server.Token(t, testenv.LibSQLClaims{})+"\n"), 0o600))
	brokers := testenv.Broker(t)
	env = environment("FIRETRAIL_BROKERS="+strings.Join(brokers, ","), "FIRETRAIL_TOPICS="+topic,
		"FIRETRAIL_LIBSQL_URL="+server.URL(scheme), "FIRETRAIL_LIBSQL_TOKEN_FILE="+token, "FIRETRAIL_LIBSQL_LEASE_TTL=1s",
		"FIRETRAIL_DLQ_DIR="+filepath.Join(dir, "dlq"), "FIRETRAIL_FLUSH_INTERVAL=50ms")
	_, stderr, code := sinkWorker(t, env, "topics", "create", "--replication=1", "--min-insync-replicas=1", "--partitions=3")
	require.Equal(t, cli.Done, code, stderr)

	events := trail(40)
	lie := events[7]
	lie.Actor.ID = "mallory"
	var records []*kgo.Record
	for _, e := range append(events, lie) {
		value, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(e.Tenant), Value: value})
	}
	records = append(records, &kgo.Record{Topic: topic, Key: []byte("acme"), Value: []byte("not an event")})
	require.NoError(t, testenv.Client(t, brokers).ProduceSync(t.Context(), records...).FirstErr())
	return env, server, topic
}

// running is a worker in this process.
type running struct {
	logs  buffer
	ended chan int
	stop  context.CancelFunc
}

func startWorker(t *testing.T, env cli.Environment, group string) *running {
	ctx, stop := context.WithCancel(t.Context())
	w := &running{ended: make(chan int, 1), stop: stop}
	go func() {
		var stdout buffer
		w.ended <- run(ctx, []string{"--group=" + group, "--log-format=json"}, env, &stdout, &w.logs)
	}()
	t.Cleanup(stop)
	return w
}

func (w *running) awaits(t *testing.T, what string, times int) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Count(w.logs.String(), what) >= times }, time.Minute, 50*time.Millisecond, "%s", &w.logs)
}

// From a real Kafka to a real libSQL, over both protocols: all that was sent is stored, once more in another group
// too, and the forged event isn't.
func TestLibSQLEndToEnd(t *testing.T) {
	for _, scheme := range []string{"http", "ws"} {
		t.Run(scheme, func(t *testing.T) {
			env, _, topic := libSQLWorker(t, scheme)
			for round := range 2 {
				w := startWorker(t, env, topic+strconv.Itoa(round))
				w.awaits(t, "becomes a dead letter", 2)
				require.Contains(t, w.logs.String(), ": the content hash stored is ", "the letter shows both")
				require.Eventually(t, func() bool {
					out, _, code := sinkWorker(t, env, "query", "--all", "-o=json", "--limit=7")
					return code == cli.Done && strings.Count(out, "\n") == 40
				}, time.Minute, 50*time.Millisecond, "%s", &w.logs)
				w.stop()
				require.Equal(t, cli.Done, <-w.ended, "%s", &w.logs)
				require.Contains(t, w.logs.String(), []string{`"stored":40,"duplicates":0`, `"stored":0,"duplicates":40`}[round])
			}
			out, stderr, code := sinkWorker(t, env, "query", "--actor=mallory")
			require.Equal(t, cli.Done, code, stderr)
			require.NotContains(t, out, "mallory")
			require.Contains(t, stderr, "no events match")
			out, stderr, code = sinkWorker(t, env, "erase", "--tenant=acme", "--actor-id=u-a")
			require.Equal(t, cli.Done, code, stderr)
			require.Contains(t, out, " events from before ")
			out, stderr, code = sinkWorker(t, env, "prune", "--retention-days=1")
			require.Equal(t, cli.Done, code, stderr)
			require.Contains(t, out, " deleted\n")
			_, stderr, code = sinkWorker(t, env, "config", "check", "--connect")
			require.Equal(t, cli.Done, code, stderr)
			require.Contains(t, stderr, "libsql: can be read")
		})
	}
}

// A second worker stands by; when the lease is taken from the first, that one ends and says why.
func TestLibSQLStandby(t *testing.T) {
	env, server, topic := libSQLWorker(t, "http")
	first := startWorker(t, env, topic)
	first.awaits(t, "becomes a dead letter", 2)
	second := startWorker(t, env, topic)
	second.awaits(t, "standing by", 1)

	c, err := client.NewConnector(server.URL("http"), client.WithAuthToken(server.Token(t, testenv.LibSQLClaims{})))
	require.NoError(t, err)
	db := sql.OpenDB(c)
	// It is nobody's until it expires, which is 20 s after the first has asked for it: were it free, the first might have it again.
	_, err = db.ExecContext(t.Context(), "UPDATE firetrail_lease SET owner = 'nobody'")
	require.NoError(t, err)
	require.Equal(t, cli.Failed, <-first.ended, "%s", &first.logs)
	require.Contains(t, first.logs.String(), "another process has taken over writing to it")
	_, err = db.ExecContext(t.Context(), "UPDATE firetrail_lease SET expires_at = 0")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	second.awaits(t, "worker runs", 1)
	second.stop()
	require.Equal(t, cli.Done, <-second.ended, "%s", &second.logs)
}

// A database for each tenant: one whose database isn't there yet waits for it, and the other goes on.
func TestLibSQLPerTenant(t *testing.T) {
	env, _, topic := libSQLWorker(t, "http")
	server := testenv.StartLibSQL(t, testenv.LibSQLOptions{Namespaces: true})
	require.NoError(t, server.MakeNamespace(libsql.TenantLabel("acme")))
	names := filepath.Join(t.TempDir(), "tenants")
	require.NoError(t, os.WriteFile(names, []byte("acme\nglobex\n"), 0o600))
	env = append(slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(s, "FIRETRAIL_LIBSQL") }),
		"FIRETRAIL_LIBSQL_URL=http://{tenant}.libsql.example", "FIRETRAIL_LIBSQL_PROXY="+server.URL("http"),
		"FIRETRAIL_LIBSQL_TENANTS_FILE="+names, "FIRETRAIL_DLQ_DIR_IS_DURABLE=true")
	ids := func(tenant string) int {
		out, _, code := sinkWorker(t, env, "query", "--tenant="+tenant, "--all", "-o=json")
		if code != cli.Done {
			return 0
		}
		return strings.Count(out, "\n")
	}
	w := startWorker(t, env, topic)
	require.Eventually(t, func() bool { return ids("acme") == 20 }, time.Minute, 50*time.Millisecond, "%s", &w.logs)
	require.Zero(t, ids("globex"))
	require.NoError(t, server.MakeNamespace(libsql.TenantLabel("globex")))
	require.Eventually(t, func() bool { return ids("globex") == 20 }, 2*time.Minute, 50*time.Millisecond, "%s", &w.logs)

	out, stderr, code := sinkWorker(t, env, "query", "--all-tenants", "--all", "-o=json", "--limit=7")
	require.Equal(t, cli.Done, code, stderr)
	require.Equal(t, 40, strings.Count(out, "\n"))
	out, stderr, code = sinkWorker(t, env, "erase", "--tenant=acme", "--actor-id=u-a")
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, " events from before ")
	require.Less(t, ids("acme"), 20)
	out, stderr, code = sinkWorker(t, env, "prune", "--retention-days=1")
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, " deleted\n")
	require.Zero(t, ids("acme")+ids("globex"))
	w.stop()
	require.Equal(t, cli.Done, <-w.ended, "%s", &w.logs)
}
