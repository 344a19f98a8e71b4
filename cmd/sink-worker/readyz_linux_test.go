package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/smalldisk"
)

// What an operator sees of a worker, a process, whose database's disk is full: it lives, isn't ready and says why, shows
// it in its metrics, makes no letters, and goes on when there is room.
func TestReadyzOfAFullDisk(t *testing.T) {
	disk := smalldisk.Mount(t, t.TempDir(), 16)
	if disk == nil {
		return
	}
	b, db := broker(t), filepath.Join(disk.Dir, "audit.db")
	args := []string{
		"--brokers=" + b.Addrs()[0], "--sqlite=" + db, "--dlq-dir=" + filepath.Join(t.TempDir(), "dlq"),
		"--flush-interval=10ms", "--admin-address=127.0.0.1:0", "--log-format=json",
	}
	_, stderr, code := sinkWorker(t, environment(), "topics", "create", "--replication=1", "--partitions=2", args[0])
	require.Equal(t, cli.Done, code, stderr)
	p := start(t, args...)
	curl := scraperOf(t, &p.logs)
	shows := func(path string, want int, texts ...string) func() bool {
		return func() bool {
			code, body := curl.get(path)
			for _, text := range texts {
				if !strings.Contains(body, text) {
					return false
				}
			}
			return code == want
		}
	}
	await := func(ok func() bool) { require.Eventually(t, ok, time.Minute, 20*time.Millisecond, "%s", &p.logs) }
	await(shows("/readyz", http.StatusOK, `"status":"ready"`, `"circuit":"closed"`))

	disk.Fill(t)
	events := trail(4_000)
	produce(t, b, events)
	await(shows("/readyz", http.StatusServiceUnavailable, "paused: the database is away since ", "database or disk is full", `"circuit":"open"`))
	await(shows("/metrics", http.StatusOK, `firetrail_worker_circuits{state="open"} 1`, "firetrail_worker_circuit_trips_total 1",
		`firetrail_worker_state{state="paused"} 1`, `firetrail_worker_letters_total{reason="refused"} 0`))
	await(shows("/healthz", http.StatusOK, "alive"))

	require.True(t, disk.Empty(t))
	disk.Grow(t, 128)
	await(shows("/readyz", http.StatusOK, `"circuit":"closed"`))
	await(shows("/metrics", http.StatusOK, "firetrail_worker_stored_total 4000", `firetrail_worker_letters_total{reason="refused"} 0`,
		`firetrail_worker_circuits{state="open"} 0`))
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-p.ended, "%s", &p.logs)
}
