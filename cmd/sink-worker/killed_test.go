package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// TestKilledWorkers kills a worker with -9 again and again while it stores events in small batches, and then has all of them read
// again in other cuts: each is stored once, as it was. FIRETRAIL_CRASH_EVENTS=400000 is the long form.
func TestKilledWorkers(t *testing.T) {
	const kills, batch = 4, 50
	total := 8_000
	if env := os.Getenv("FIRETRAIL_CRASH_EVENTS"); env != "" {
		_, err := fmt.Sscan(env, &total)
		require.NoError(t, err)
	}
	b, dir := broker(t), t.TempDir()
	args := []string{
		"--brokers=" + b.Addrs()[0], "--sqlite=" + filepath.Join(dir, "audit.db"), "--dlq-dir=" + filepath.Join(dir, "dlq"),
		"--instance-id=the-worker", // else the group waits for the dead one's session to time out
		"--flush-interval=1ms",
	}
	_, stderr, code := sinkWorker(t, environment(), "topics", "create", "--replication=1", "--partitions=3", args[0])
	require.Equal(t, cli.Done, code, stderr)
	events := trail(total)
	for from := 0; from < total; from += 10_000 {
		produce(t, b, events[from:min(from+10_000, total)])
	}
	stored := func() int { return storedRows(t, filepath.Join(dir, "audit.db"), nil) }
	for kill := range kills {
		p := start(t, append(args, fmt.Sprint("--batch-max-size=", batch+kill))...)
		want := total * (kill + 1) / (kills + 1)
		require.Eventually(t, func() bool { return stored() >= want }, 10*time.Minute, 20*time.Millisecond, "%s", &p.logs)
		require.NoError(t, p.Process.Kill())
		require.Error(t, <-p.ended)
	}
	finish := func(size int) {
		p := start(t, append(args, fmt.Sprint("--batch-max-size=", size))...)
		require.Eventually(t, func() bool {
			out, _, _ := sinkWorker(t, environment(), "lag", args[0], "-o=json")
			return lagIsZero(t, out)
		}, 10*time.Minute, 50*time.Millisecond, "%s", &p.logs)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.NoError(t, <-p.ended, "%s", &p.logs)
		require.NotContains(t, p.logs.String(), "dead letter")
	}
	finish(batch)
	require.Equal(t, total, stored())
	_, stderr, code = sinkWorker(t, environment(), "replay", args[0], "--to-beginning")
	require.Equal(t, cli.Done, code, stderr)
	finish(77)

	want := map[firetrail.ID][16]byte{}
	for i := range events {
		want[events[i].ID] = events[i].ContentHash()
	}
	require.Equal(t, total, storedRows(t, filepath.Join(dir, "audit.db"), want))
	require.Empty(t, want, "events that are not stored, or not as they were")
}

// storedRows counts what is stored, 0 while there is no database. From want it takes out what is stored as it is there.
func storedRows(t *testing.T, path string, want map[firetrail.ID][16]byte) (n int) {
	t.Helper()
	if want == nil {
		db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		if db.QueryRowContext(t.Context(), "SELECT count(*) FROM audit_events").Scan(&n) != nil {
			return 0
		}
		return n
	}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	q := sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit}
	for {
		p, err := db.Query(t.Context(), q)
		require.NoError(t, err)
		for i := range p.Events {
			if want[p.Events[i].ID] == p.Events[i].ContentHash() {
				delete(want, p.Events[i].ID)
			}
		}
		n += len(p.Events)
		if q.Cursor = p.Next; q.Cursor == "" {
			return n
		}
	}
}

func lagIsZero(t *testing.T, output string) bool {
	t.Helper()
	var lag struct{ Records *int64 }
	return json.Unmarshal([]byte(output), &lag) == nil && lag.Records != nil && *lag.Records == 0
}
