package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/testenv"
)

// inBackground runs a worker until stop is called.
func inBackground(t *testing.T, args ...string) (logs *buffer, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logs = &buffer{}
	code := make(chan int, 1)
	go func() { code <- run(ctx, args, environment(), &buffer{}, logs) }()
	return logs, func() {
		t.Helper()
		cancel()
		require.Equal(t, cli.Done, <-code, "%s", logs)
	}
}

// What an operator does: looks at the lag, is kept from rewinding a live group, stops it, rewinds, and starts it
// again; and reads beside it into another database.
func TestLagAndReplayCommands(t *testing.T) {
	addrs := testenv.Broker(t)
	events, letters := testenv.Topic(t, addrs, 3), testenv.Topic(t, addrs, 1)
	group, dir := testenv.Unique(t), t.TempDir()
	kafka := []string{"--brokers=" + strings.Join(addrs, ","), "--topics=" + events, "--group=" + group}
	worker := append([]string{
		"run", "--sqlite=" + filepath.Join(dir, "audit.db"), "--dlq-dir=" + filepath.Join(dir, "dlq"), "--letter-topic=" + letters,
		"--flush-interval=10ms", "--log-format=json",
	}, kafka...)
	command := func(out any, args ...string) {
		t.Helper()
		stdout, stderr, code := sinkWorker(t, environment(), append(append(args, "-o=json"), kafka...)...)
		require.Equal(t, cli.Done, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), out), stdout)
	}
	var lag struct {
		State         string
		Members       []string
		Records, Lost int64
		Seconds       *float64
		Partitions    []struct{ Committed int64 }
	}
	var records []*kgo.Record
	for _, e := range trail(40) {
		value, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		records = append(records, &kgo.Record{Topic: events, Key: []byte(e.Tenant), Value: value})
	}
	require.NoError(t, testenv.Client(t, addrs).ProduceSync(t.Context(), records...).FirstErr())

	command(&lag, "lag")
	require.EqualValues(t, 40, lag.Records)
	require.Equal(t, "Dead", lag.State)
	require.NotNil(t, lag.Seconds)
	require.Less(t, *lag.Seconds, time.Hour.Seconds())

	logs, stop := inBackground(t, worker...)
	require.Eventually(t, func() bool { command(&lag, "lag"); return lag.Records == 0 }, time.Minute, 10*time.Millisecond, "%s", logs)
	require.Len(t, lag.Members, 1)
	require.Nil(t, lag.Seconds)
	_, stderr, code := sinkWorker(t, environment(), append([]string{"replay", "--to-beginning"}, kafka...)...)
	require.Equal(t, cli.Failed, code)
	require.Contains(t, stderr, "is live")
	require.Contains(t, stderr, "firetrail-sink-worker (at ")
	stop()

	type move struct{ From, To, End int64 }
	var dry, moves []move
	command(&dry, "replay", "--to-beginning", "--dry-run")
	command(&lag, "lag")
	require.Zero(t, lag.Records)
	command(&moves, "replay", "--to-beginning")
	require.Equal(t, dry, moves)
	var back int64
	for _, m := range moves {
		require.Zero(t, m.To)
		back += max(m.From, 0)
	}
	require.EqualValues(t, 40, back)
	logs, stop = inBackground(t, worker...)
	require.Eventually(t, func() bool { command(&lag, "lag"); return lag.Records == 0 }, time.Minute, 10*time.Millisecond, "%s", logs)
	var report struct {
		Done                  bool
		Read, Skipped, Stored int64
		Already               int64 `json:"already_there"`
	}
	other := "--sqlite=" + filepath.Join(dir, "other.db")
	command(&report, "replay", "--direct", "--tenant=acme", other, "--letter-topic="+letters)
	require.EqualValues(t, 40, report.Read)
	require.EqualValues(t, 20, report.Skipped)
	require.EqualValues(t, 20, report.Stored)
	command(&report, "replay", "--direct", other, "--letter-topic="+letters)
	require.EqualValues(t, 20, report.Stored)
	require.EqualValues(t, 20, report.Already)
	require.True(t, report.Done)
	stop()
	require.Contains(t, logs.String(), `"records":40,"stored":0,"duplicates":40`)
	require.Equal(t, 40, count(t, worker[1]))

	out, stderr, code := sinkWorker(t, environment(), append([]string{"lag"}, kafka...)...)
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, "group "+group+": empty, 0 members")
}

// A static member that was killed stays in its group until its session ends; it need not be waited for.
func TestReplayAfterAKill(t *testing.T) {
	addrs := testenv.Broker(t)
	events, letters := testenv.Topic(t, addrs, 1), testenv.Topic(t, addrs, 1)
	dir := t.TempDir()
	kafka := []string{"--brokers=" + strings.Join(addrs, ","), "--topics=" + events, "--group=" + testenv.Unique(t)}
	worker := start(t, append([]string{
		"run", "--instance-id=pod-7", "--sqlite=" + filepath.Join(dir, "audit.db"), "--dlq-dir=" + filepath.Join(dir, "dlq"),
		"--letter-topic=" + letters, "--admin-address=-",
	}, kafka...)...)
	worker.await(t, "partitions assigned")
	require.NoError(t, worker.Process.Kill())
	require.Error(t, <-worker.ended)

	replay := append([]string{"replay", "--to-beginning"}, kafka...)
	_, stderr, code := sinkWorker(t, environment(), append(replay, "--wait=0s")...)
	require.Equal(t, cli.Failed, code)
	require.Contains(t, stderr, "instance id pod-7")
	out, stderr, code := sinkWorker(t, environment(), append(replay, "--remove-member=pod-7", "-o=json")...)
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, `"to":0`)

	for _, e := range trail(3) {
		value, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		require.NoError(t, testenv.Client(t, addrs).ProduceSync(t.Context(), &kgo.Record{Topic: events, Value: value}).FirstErr())
	}
	_, stderr, code = sinkWorker(t, environment(), append([]string{"replay", "--dry-run", "--to-offset=0=2"}, kafka...)...)
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, stderr, "warning: "+events+"[0]: 2 offsets from 0 on were not read yet, and are skipped; --to-offset 0=0 reads them")
}
