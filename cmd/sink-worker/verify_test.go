package main

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/dlq"
)

func TestVerifyCommand(t *testing.T) {
	events := trail(20) // ten of each tenant, of one source
	events[18].Action = firetrail.SourceClosed
	whole := database(t, events)
	out, stderr, code := sinkWorker(t, environment(), "verify", "--sqlite", whole)
	require.Equal(t, cli.Done, code, stderr)
	golden(t, "verify-whole.txt", out)
	require.Empty(t, stderr)
	_, stderr, code = sinkWorker(t, environment(), "verify", "--sqlite", whole, "--tenant=misspelt")
	require.Equal(t, cli.Done, code, stderr)
	require.Equal(t, "there are no events, of which nothing can be said\n", stderr)

	missing := append(append([]firetrail.Event{}, events[:6]...), events[8:]...) // the fourth of each
	db := database(t, missing)
	out, stderr, code = sinkWorker(t, environment(), "verify", "--all", "--sqlite", db)
	require.Equal(t, cli.Failed, code)
	require.Contains(t, stderr, "the trail is not whole: 2 events are missing without an explanation, 0 are irregular")
	golden(t, "verify.txt", out)
	out, _, code = sinkWorker(t, environment(), "verify", "--sqlite", db, "-o=json", "--tenant=globex")
	require.Equal(t, cli.Failed, code)
	var source struct {
		Gaps []struct{ From, To string }
	}
	var sum struct {
		Whole       bool
		Unexplained int
		Explained   map[string]int
	}
	lines := strings.Split(out, "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &source))
	require.Equal(t, "4", source.Gaps[0].From)
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &sum))
	require.Equal(t, 1, sum.Unexplained)

	// What waits as a letter isn't missing.
	dir := filepath.Join(t.TempDir(), "dlq")
	d, err := dlq.OpenDir(dlq.DirConfig{Path: dir})
	require.NoError(t, err)
	for i, e := range events[6:8] {
		value, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		require.NoError(t, d.Put(t.Context(), dlq.Waiting, []dlq.Letter{{ID: strconv.Itoa(i), Tenant: e.Tenant, Key: []byte(e.Tenant), Value: value}}))
	}
	require.NoError(t, d.Close())
	out, stderr, code = sinkWorker(t, environment(), "verify", "--sqlite", db, "--letters", "--dlq-dir", dir, "-o=json")
	require.Equal(t, cli.Done, code, stderr)
	lines = strings.Split(strings.TrimSpace(out), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &sum))
	require.True(t, sum.Whole)
	require.Equal(t, 2, sum.Explained["dead_letter"])
}
