package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
)

// Workers that are killed with -9 while they write letters, between one form and the other too, leave each letter once in
// the directory and under one id in the topic, and lose none.
func TestLettersOfKilledWorkers(t *testing.T) {
	const n, kills = 1200, 3
	addrs := testenv.Broker(t)
	events, letters := testenv.Topic(t, addrs, 1), testenv.Topic(t, addrs, 1)
	dir := t.TempDir()
	kafka := []string{"--brokers=" + strings.Join(addrs, ","), "--topics=" + events, "--group=" + testenv.Unique(t)}
	args := append([]string{
		"run", "--instance-id=the-worker", "--sqlite=" + filepath.Join(dir, "audit.db"), "--dlq-dir=" + filepath.Join(dir, "dlq"),
		"--letter-topic=" + letters, "--admin-address=-", "--flush-interval=1ms", "--batch-max-size=40",
	}, kafka...)
	var records []*kgo.Record
	for i, e := range trail(n) {
		value, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		if i%2 == 0 {
			value = []byte("no event " + strconv.Itoa(i))
		}
		records = append(records, &kgo.Record{Topic: events, Key: []byte(e.Tenant), Value: value})
	}
	require.NoError(t, testenv.Client(t, addrs).ProduceSync(t.Context(), records...).FirstErr())
	for kill := range kills {
		p := start(t, args...)
		require.Eventually(t, func() bool { return strings.Count(p.logs.String(), "becomes a dead letter") > 90*kill }, time.Minute, time.Millisecond, "%s", &p.logs)
		require.NoError(t, p.Process.Kill())
		require.Error(t, <-p.ended)
	}
	p := start(t, args...)
	require.Eventually(t, func() bool {
		out, _, _ := sinkWorker(t, environment(), append([]string{"lag", "-o=json"}, kafka...)...)
		return lagIsZero(t, out)
	}, time.Minute, 50*time.Millisecond, "%s", &p.logs)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-p.ended, "%s", &p.logs)
	require.Equal(t, n/2, count(t, args[2]))

	d, err := dlq.OpenDir(dlq.DirConfig{Path: filepath.Join(dir, "dlq"), ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	inDir, inTopic := map[string]int{}, map[string]int{}
	for l, err := range d.Find(t.Context(), func(string) bool { return true }) {
		require.NoError(t, err)
		inDir[l.ID]++
		require.Equal(t, "no event "+strconv.FormatInt(l.Offset, 10), string(l.Value))
		require.Equal(t, dlq.WholeCopy, l.Copied)
	}
	for l, err := range dlq.ReadTopic(t.Context(), letters, kgo.SeedBrokers(addrs...)) {
		require.NoError(t, err)
		inTopic[l.ID]++
	}
	require.Len(t, inDir, n/2)
	require.Len(t, inTopic, n/2)
	for id, times := range inDir {
		require.Equal(t, 1, times, id)
		require.Positive(t, inTopic[id])
		require.LessOrEqual(t, inTopic[id], kills+1)
	}
	_, stderr, code := sinkWorker(t, environment(), "dlq", "list", "--dir="+filepath.Join(dir, "dlq"), kafka[0], "--topic="+letters)
	require.Equal(t, cli.Done, code)
	require.Contains(t, stderr, "of "+strconv.Itoa(n/2)+" letters")
}
