package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
)

// Topics by pattern, from the making of the topics to the replay of what is in them.
func TestTopicsByPattern(t *testing.T) {
	b, dir := broker(t), t.TempDir()
	env := environment("FIRETRAIL_BROKERS="+b.Addrs()[0], "FIRETRAIL_SQLITE="+filepath.Join(dir, "audit.db"),
		"FIRETRAIL_DLQ_DIR="+filepath.Join(dir, "dlq"), "FIRETRAIL_FLUSH_INTERVAL=10ms", "FIRETRAIL_TOPICS=audit.*")
	ok := func(args ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := sinkWorker(t, env, args...)
		require.Equal(t, cli.Done, code, stderr)
		return stdout, stderr
	}
	out, _ := ok("topics", "create", "--replication=1")
	require.Equal(t, "audit.dlq: created\n", out, "nobody knows what else a pattern stands for")
	_, stderr, _ := sinkWorker(t, env, "config", "check", "--connect") // there is no database yet either
	require.Contains(t, stderr, "warning: no topic matches audit.* yet")
	out, _ = ok("topics", "create", "--replication=1", "--partitions=2", "--topics=audit.events,audit.billing", "--letter-topic=audit.dlq")
	require.Contains(t, out, "audit.events: created\naudit.billing: created\naudit.dlq: is there")
	out, _ = ok("topics", "create", "--replication=1", "--topics=other", "--letter-topic=-")
	require.Equal(t, "other: created\n", out, "no topic of letters is wanted")

	produce(t, b, trail(10))
	var more []*kgo.Record
	for _, e := range trail(30)[10:] {
		value, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		more = append(more, &kgo.Record{Topic: "audit.billing", Key: []byte(e.Tenant), Value: value})
	}
	produce(t, b, nil, more...)
	ctx, stop := context.WithCancel(t.Context())
	var stdout, logs buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, nil, env, &stdout, &logs) }()
	require.Eventually(t, func() bool {
		out, _, _ := sinkWorker(t, env, "lag", "-o=json")
		return strings.Count(out, `"committed"`) == 4 && lagIsZero(t, out)
	}, 20*time.Second, 50*time.Millisecond, logs.String())
	stop()
	require.Equal(t, cli.Done, <-ended, logs.String())
	require.Contains(t, logs.String(), `"records":30,"stored":30`)
	_, stderr = ok("config", "check", "--connect")
	require.Contains(t, stderr, "topics: audit.billing, audit.events\n")
	out, _ = ok("replay", "--to-beginning", "--dry-run", "-o=json")
	require.Contains(t, out, "audit.billing")
	require.Contains(t, out, "audit.events")

	_, stderr, code := sinkWorker(t, env, "run", "--letter-topic=audit.letters")
	require.Equal(t, cli.Usage, code)
	require.Contains(t, stderr, `topics: "audit.*" matches the topic of letters, "audit.letters"; let its name end in .dlq`)
	_, stderr, code = sinkWorker(t, env, "replay", "--to-offset=0=1", "--letter-topic=x*")
	require.Equal(t, cli.Usage, code)
	require.Contains(t, stderr, "to-offset: offsets are of one topic; name it alone in --topics")
	require.Contains(t, stderr, `letter-topic: "x*" is a pattern`)
	_, stderr, code = sinkWorker(t, env, "lag", "--topics=nothing.*")
	require.Equal(t, cli.Failed, code)
	require.Contains(t, stderr, "topics: none there is matches nothing.*")
}

// A topic for each tenant, from the making of the topics to the database: the producer fires, one topic is missing and is
// made by the command that the producer's log says, the worker reads them by pattern, and everything is stored.
func TestTopicPerTenant(t *testing.T) {
	b, dir := broker(t), t.TempDir()
	env := environment("FIRETRAIL_BROKERS="+b.Addrs()[0], "FIRETRAIL_SQLITE="+filepath.Join(dir, "audit.db"),
		"FIRETRAIL_DLQ_DIR="+filepath.Join(dir, "dlq"), "FIRETRAIL_FLUSH_INTERVAL=10ms", "FIRETRAIL_TOPICS=audit.t.*")
	ok := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := sinkWorker(t, env, args...)
		require.Equal(t, cli.Done, code, stderr)
		return stdout
	}
	require.Equal(t, "audit.t.dlq: created\n", ok("topics", "create", "--replication=1"))
	file := filepath.Join(dir, "tenants")
	require.NoError(t, os.WriteFile(file, []byte("globex\r\n\nacme\n"), 0o600))
	require.Equal(t, "audit.t._: created\naudit.t.a_2c_20b: created\naudit.t.acme: created\naudit.t.globex: created\n",
		ok("topics", "create", "--replication=1", "--tenant=acme", "--tenant=", "--tenant=a, b", "--tenants-file="+file))

	var logs buffer
	p, err := producer.New(producer.Config{
		Kafka: kafkaclient.Config{Brokers: b.Addrs()}, TopicPrefix: kafkaclient.TenantTopicPrefix, Dir: dir, Namespace: "test",
		Logger: slog.New(slog.NewJSONHandler(&logs, nil)), WeakTopic: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close(context.Background())) })
	tenants := []string{"", "acme", "globex", "a, b", "late", "dlq"}
	for i := range 600 {
		e := trail(1)[0]
		e.ID, e.Tenant, e.Time = firetrail.ID{}, tenants[i%len(tenants)], time.Time{}
		p.Fire(t.Context(), e)
	}
	require.Eventually(t, func() bool {
		return p.Stats().Shipped == 400 && p.Stats().MissingTopics == 2 && strings.Contains(logs.String(), "--tenant=late")
	}, 30*time.Second, 10*time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	var stdout, workerLogs buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, nil, env, &stdout, &workerLogs) }()
	_, command, found := strings.Cut(logs.String(), `"command":"sink-worker `)
	require.True(t, found, logs.String())
	command, _, _ = strings.Cut(command, `"`)
	require.Contains(t, command, "--tenant=dlq --tenant=late")
	out := ok(append(strings.Fields(command), "--replication=1")...)
	require.Equal(t, "audit.t.dl_71: created\naudit.t.late: created\n", out)
	require.NoError(t, p.Flush(t.Context()))
	require.Eventually(t, func() bool {
		out, _, _ := sinkWorker(t, env, "lag", "-o=json")
		return strings.Count(out, `"committed"`) == 6 && lagIsZero(t, out)
	}, 40*time.Second, 50*time.Millisecond, workerLogs.String())
	stop()
	require.Equal(t, cli.Done, <-ended, workerLogs.String())
	require.Contains(t, workerLogs.String(), `"records":600,"stored":600`)
	for _, tenant := range tenants {
		out := ok("query", "--tenant="+tenant, "--limit=500", "-o=json")
		require.Equal(t, 100, strings.Count(out, "\n"), tenant)
	}

	_, stderr, code := sinkWorker(t, env, "topics", "create", "--tenant=a\x00", "--topic-prefix=_x", "--tenant-partitions=0", "--tenants-file="+dir)
	require.Equal(t, cli.Usage, code)
	for _, what := range []string{"tenant: ", "topic-prefix: \"_x\" begins with '_'", "tenant-partitions: 0 is outside", "tenants-file: read "} {
		require.Contains(t, stderr, what)
	}
}
