package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
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
