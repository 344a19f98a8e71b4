package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

func TestPruneCommand(t *testing.T) {
	events := trail(20)
	db := "--sqlite=" + database(t, events)
	before := "--before=" + events[8].Time.Format(time.RFC3339)
	out, stderr, code := sinkWorker(t, environment(), "prune", db, before, "--dry-run")
	require.Equal(t, cli.Done, code, stderr)
	require.Equal(t, "8 events from before 2023-07-10T11:42:26Z would be deleted\n", out)
	require.Equal(t, 20, count(t, db))
	out, stderr, code = sinkWorker(t, environment(), "prune", db, before, "-o=json")
	require.Equal(t, cli.Done, code, stderr)
	require.JSONEq(t, `{"events":8,"before":"2023-07-10T11:42:26Z","dry_run":false}`, out)
	require.Equal(t, 12, count(t, db))
	out, stderr, code = sinkWorker(t, environment("FIRETRAIL_RETENTION_DAYS=1"), "prune", db)
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, "12 events from before "+time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly))
	require.Zero(t, count(t, db))
}

func TestEraseCommand(t *testing.T) {
	db := "--sqlite=" + database(t, trail(24))
	out, stderr, code := sinkWorker(t, environment(), "erase", db, "--tenant=acme", "--actor-id=u-a", "--actor-type=user", "--dry-run", "-o=json")
	require.Equal(t, cli.Done, code, stderr)
	var res deleted
	require.NoError(t, json.Unmarshal([]byte(out), &res))
	require.Equal(t, int64(4), res.Events)
	require.True(t, res.DryRun)
	require.Equal(t, 24, count(t, db))
	out, stderr, code = sinkWorker(t, environment(), "erase", db, "--tenant=acme", "--actor-id=u-a", "--reason=request 7")
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, "4 events from before 20")
	require.Equal(t, 20, count(t, db))
	out, stderr, code = sinkWorker(t, environment(), "erase", db, "--tenant=globex", "--before=2023-07-10T11:42:28Z")
	require.Equal(t, cli.Done, code, stderr)
	require.Equal(t, "5 events from before 2023-07-10T11:42:28Z deleted\n", out)
	require.Equal(t, 15, count(t, db))
}

func TestMaintainRefuses(t *testing.T) {
	db := "--sqlite=" + database(t, trail(2))
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"prune", db}, []string{"retention-days: missing"}},
		{[]string{"prune", db, "--retention-days=x"}, []string{"retention-days:"}},
		{[]string{"prune", db, "--before=2199-01-01"}, []string{"before: 2199-01-01T00:00:00Z is in the future"}},
		{[]string{"erase", db, "--actor-type=user", "--before=2199-01-01"}, []string{"tenant: missing", "actor-type:", "before:"}},
		{[]string{"erase", "--tenant=a"}, []string{"sqlite: missing"}},
		{[]string{"erase", db, "--sqlite-dir=.", "--tenant=a"}, []string{"sqlite-dir: set beside sqlite"}},
		{[]string{"query", "--sqlite-dir=."}, []string{"tenant: missing; each has a database of its own"}},
		{[]string{"run", "--brokers=a:1", db, "--prune-schedule=daily", "--retention-days=99999"}, []string{"prune-schedule:", "retention-days:"}},
		{[]string{"run", "--brokers=a:1", db, "--on-outage=spill"}, []string{"on-outage: spill is for a database per tenant"}},
		{[]string{"run", "--brokers=a:1", "--sqlite-dir=.", "--on-outage=spill"}, []string{"on-outage: spill keeps records in files alone"}},
		{[]string{"run", "--brokers=a:1", "--sqlite-dir=.", "--clickhouse-addrs=b:2"}, []string{"clickhouse-addrs: set beside sqlite-dir"}},
	} {
		_, stderr, code := sinkWorker(t, environment(), c.args...)
		require.Equal(t, cli.Usage, code, "%v: %s", c.args, stderr)
		for _, w := range c.want {
			require.Contains(t, stderr, w, "%v", c.args)
		}
	}
	require.Equal(t, 2, count(t, db))
}

// A worker stopped with events in hand, an erasure meanwhile, the worker continued: what it held of the tenant isn't
// stored, and what it reads again isn't either.
func TestErasureOutlivesAStoppedWorker(t *testing.T) {
	b, p, args := begin(t, 35)
	require.NoError(t, p.Process.Signal(syscall.SIGSTOP))
	out, stderr, code := sinkWorker(t, environment(), "erase", args[1], "--tenant=acme")
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, "15 events")
	require.NoError(t, p.Process.Signal(syscall.SIGCONT))
	produce(t, b, trail(35)) // all of it once more
	p.await(t, `"msg":"worker runs"`)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-p.ended, "%s", &p.logs)
	out, stderr, code = sinkWorker(t, environment(), "query", args[1], "-o=json", "--all", "--tenant=acme")
	require.Equal(t, cli.Done, code, stderr)
	require.Empty(t, out)
	two := start(t, args...)
	two.await(t, "worker runs")
	require.Eventually(t, func() bool { return count(t, args[1]) == 17 }, 30*time.Second, 10*time.Millisecond, "%s", &two.logs)
	require.NoError(t, two.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-two.ended, "%s", &two.logs)
	out, _, _ = sinkWorker(t, environment(), "query", args[1], "-o=json", "--all", "--tenant=acme")
	require.Empty(t, out)
	require.Equal(t, 17, count(t, args[1]))
}

// The owner of the database is killed: the one that stands by takes over, and nothing is missing.
func TestStandbyTakesOver(t *testing.T) {
	b, dir := broker(t), t.TempDir()
	args := append([]string{
		"--brokers=" + b.Addrs()[0], "--sqlite=" + filepath.Join(dir, "audit.db"), "--dlq-dir=" + filepath.Join(dir, "dlq"),
		"--instance-id=the-worker", // else the group waits for the dead one's session to time out
	}, inFlight...)
	_, stderr, code := sinkWorker(t, environment(), "topics", "create", "--replication=1", "--partitions=1", args[0])
	require.Equal(t, cli.Done, code, stderr)
	produce(t, b, trail(35)) // before the worker is there: in one fetch
	one := start(t, args...)
	require.Eventually(t, func() bool { return count(t, args[1]) == 30 }, time.Minute, 10*time.Millisecond, "%s", &one.logs)
	two := start(t, args...)
	two.await(t, "standing by")
	require.NoError(t, one.Process.Kill())
	require.Error(t, <-one.ended)
	two.await(t, "partitions assigned") // and what the first had in hand is all there is: it waits for nothing
	require.Eventually(t, func() bool { return count(t, args[1]) == 35 }, time.Minute, 10*time.Millisecond, "%s", &two.logs)
	require.NoError(t, two.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-two.ended, "%s", &two.logs)
}

// A database for each tenant, from Kafka to the queries, with a second worker that takes over when the first is killed.
func TestDatabasePerTenant(t *testing.T) {
	b := broker(t)
	tenants := t.TempDir()
	args := []string{
		"--brokers=" + b.Addrs()[0], "--sqlite-dir=" + tenants, "--dlq-dir=" + filepath.Join(t.TempDir(), "dlq"), "--dlq-dir-is-durable",
		"--flush-interval=10ms", "--instance-id=the-worker",
	}
	_, stderr, code := sinkWorker(t, environment(), "topics", "create", "--replication=1", "--partitions=1", args[0])
	require.Equal(t, cli.Done, code, stderr)
	produce(t, b, trail(30))
	one := start(t, args...)
	all := func() int {
		out, _, _ := sinkWorker(t, environment(), "query", args[1], "--all-tenants", "-o=json", "--all", "--limit=7")
		return strings.Count(out, "\n")
	}
	require.Eventually(t, func() bool { return all() == 30 }, time.Minute, 10*time.Millisecond, "%s", &one.logs)
	two := start(t, args...)
	two.await(t, "standing by")
	require.NoError(t, one.Process.Kill())
	require.Error(t, <-one.ended)
	two.await(t, "worker runs")
	more := trail(40)[30:]
	produce(t, b, more)
	require.Eventually(t, func() bool { return all() == 40 }, time.Minute, 10*time.Millisecond, "%s", &two.logs)

	for tenant, n := range map[string]int{"acme": 20, "globex": 20} {
		require.FileExists(t, filepath.Join(tenants, sqlite.TenantFile(tenant)))
		out, stderr, code := sinkWorker(t, environment(), "query", args[1], "--tenant="+tenant, "-o=json", "--all")
		require.Equal(t, cli.Done, code, stderr)
		require.Equal(t, n, strings.Count(out, "\n"))
	}
	out, stderr, code := sinkWorker(t, environment(), "erase", args[1], "--tenant=acme", "--actor-id=u-a")
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, " events from before ")
	require.Less(t, all(), 40)
	out, stderr, code = sinkWorker(t, environment(), "prune", args[1], "--retention-days=1")
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, " deleted\n")
	require.Zero(t, all())
	require.NoError(t, two.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-two.ended, "%s", &two.logs)
}

// Of a tenant whose database can't be read the others' events tell: they are printed, and the command fails.
func TestQueryTellsWhoIsMissing(t *testing.T) {
	dir := t.TempDir()
	tenants := sqlite.Tenants{Dir: dir}
	r, err := sinkers.NewRouter(sinkers.RouterConfig{Resolve: tenants.Resolve, Tenants: tenants.Tenants})
	require.NoError(t, err)
	var rows []sinkers.Row
	for _, e := range trail(6) {
		rows = append(rows, sinkers.Row{Event: e, Hash: e.ContentHash()})
	}
	_, err = r.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	broken := filepath.Join(dir, sqlite.TenantFile("broken"))
	require.NoError(t, os.WriteFile(broken, []byte("this is no database, and long enough not to be taken for an empty one"), 0o600))
	out, stderr, code := sinkWorker(t, environment(), "query", "--sqlite-dir="+dir, "--all-tenants", "-o=json")
	require.Equal(t, cli.Failed, code)
	require.Equal(t, 6, strings.Count(out, "\n"))
	require.Contains(t, stderr, "events are missing")
	require.Contains(t, stderr, `tenant "broken"`)
}
