package main

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/embedded"
)

// childEnv makes the test binary be the command, so that it can be signalled.
const childEnv = "SINK_WORKER_TEST_CHILD"

// child is main, with the test's own environment left out.
func child() {
	if os.Getenv(childEnv) == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], environment(), os.Stdout, os.Stderr))
}

type process struct {
	*exec.Cmd
	logs  buffer
	ended chan error
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...), ended: make(chan error, 1)}
	p.Env, p.Stderr = append(os.Environ(), childEnv+"=1"), &p.logs
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	go func() { p.ended <- p.Wait() }()
	return p
}

func (p *process) await(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(p.logs.String(), text) }, 30*time.Second, 5*time.Millisecond,
		"%q in %s", text, &p.logs)
}

// inFlight are the settings with which a worker stores 10 events at a time and keeps the rest of a fetch: only
// draining stores that.
var inFlight = []string{"--flush-interval=10m", "--min-flush-interval=10m", "--batch-max-size=10", "--shutdown-timeout=10m"}

// begin starts a worker on n events, of which the last n % 10 are in flight when it returns.
func begin(t *testing.T, n int) (b *embedded.Broker, p *process, args []string) {
	t.Helper()
	b = broker(t)
	dir := t.TempDir()
	args = append([]string{"--brokers=" + b.Addrs()[0], "--sqlite=" + filepath.Join(dir, "audit.db"), "--dlq-dir=" + filepath.Join(dir, "dlq")}, inFlight...)
	_, stderr, code := sinkWorker(t, environment(), "topics", "create", "--replication=1", "--partitions=1", args[0])
	require.Equal(t, cli.Done, code, stderr)
	produce(t, b, trail(n))
	p = start(t, args...)
	require.Eventually(t, func() bool { return count(t, args[1]) == n-n%10 }, 30*time.Second, 10*time.Millisecond, "%s", &p.logs)
	return b, p, args
}

// count returns how many events a database has, 0 while there is none.
func count(t *testing.T, sqlite string) int {
	out, _, code := sinkWorker(t, environment(), "query", sqlite, "-o=json", "--all")
	if code != cli.Done {
		return 0
	}
	return strings.Count(out, "\n")
}

// SIGTERM stores what is in flight and ends with 0; a second worker that stood by takes over.
func TestSigtermDrains(t *testing.T) {
	_, one, args := begin(t, 35)
	two := start(t, args...)
	two.await(t, "standing by")
	require.NoError(t, one.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-one.ended, "%s", &one.logs)
	one.await(t, `"msg":"worker stopped","records":35,"stored":35`)
	require.Equal(t, 35, count(t, args[1]))
	two.await(t, "worker runs")
	require.NoError(t, two.Process.Signal(syscall.SIGINT))
	require.NoError(t, <-two.ended, "%s", &two.logs)
}

// A signal ends a worker that stands by, at once and cleanly.
func TestSigtermWhileStandingBy(t *testing.T) {
	_, _, args := begin(t, 10)
	two := start(t, args...)
	two.await(t, "standing by")
	require.NoError(t, two.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-two.ended, "%s", &two.logs)
}

// A worker that stood by takes over once the database, which another program keeps locked, can be had.
func TestTakesOverALockedDatabase(t *testing.T) {
	_, one, args := begin(t, 15)
	two := start(t, args...)
	two.await(t, "standing by")
	db, err := sql.Open("sqlite", strings.TrimPrefix(args[1], "--sqlite="))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	other, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	require.NoError(t, one.Process.Kill())
	require.Error(t, <-one.ended)
	two.await(t, "the database is away; trying again")
	_, err = other.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	two.await(t, "worker runs")
}

// A second signal ends the process, whatever it is doing: here it drains, with the broker gone.
func TestSecondSignalEnds(t *testing.T) {
	b, p, _ := begin(t, 15)
	b.Cut()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	p.await(t, "commit failed")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	var exit *exec.ExitError
	require.ErrorAs(t, <-p.ended, &exit)
	require.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
}
