//go:build integration && unix

package main

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/testenv"
)

// From a real Kafka to a real ClickHouse, over both protocols: the topics are made, events, a bad record and a
// forged one go in, the worker is stopped, all is read again from the start, and what is there is what was sent.
func TestClickHouseEndToEnd(t *testing.T) {
	server := testenv.SharedClickHouse(t)
	for protocol, addr := range map[string]string{"native": server.Addr(), "http": server.HTTPAddr()} {
		t.Run(protocol, func(t *testing.T) {
			topic, dir := testenv.Unique(t), t.TempDir()
			brokers := testenv.Broker(t)
			env := environment("FIRETRAIL_BROKERS="+strings.Join(brokers, ","), "FIRETRAIL_TOPICS="+topic,
				"FIRETRAIL_CLICKHOUSE_ADDRS="+addr, "FIRETRAIL_CLICKHOUSE_PROTOCOL="+protocol,
				"FIRETRAIL_CLICKHOUSE_DATABASE="+server.Database(t), "FIRETRAIL_CLICKHOUSE_USER="+testenv.ClickHouseUser,
				"FIRETRAIL_CLICKHOUSE_PASSWORD="+testenv.ClickHousePassword,
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

			for round := range 2 { // the second in another group: all of it once more
				ctx, stop := context.WithCancel(t.Context())
				var stdout, logs buffer
				ended := make(chan int, 1)
				go func() {
					ended <- run(ctx, []string{"--group=" + topic + strconv.Itoa(round), "--log-format=json"}, env, &stdout, &logs)
				}()
				require.Eventually(t, func() bool { return strings.Count(logs.String(), "becomes a dead letter") == 2 },
					time.Minute, 50*time.Millisecond, "%s", &logs)
				require.Contains(t, logs.String(), ": the content hash stored is ", "the letter shows both")
				require.Eventually(t, func() bool {
					out, _, code := sinkWorker(t, env, "query", "--all", "-o=json", "--limit=7")
					return code == cli.Done && strings.Count(out, "\n") == 40
				}, time.Minute, 50*time.Millisecond, "%s", &logs)
				stop()
				require.Equal(t, cli.Done, <-ended, "%s", &logs)
				require.Contains(t, logs.String(), []string{`"stored":40,"duplicates":0`, `"stored":0,"duplicates":40`}[round])
			}
			out, stderr, code := sinkWorker(t, env, "query", "--actor=mallory")
			require.Equal(t, cli.Done, code, stderr)
			require.NotContains(t, out, "mallory")
			require.Contains(t, stderr, "no events match")
			_, stderr, code = sinkWorker(t, env, "config", "check", "--connect")
			require.Equal(t, cli.Done, code, stderr)
			require.Contains(t, stderr, "clickhouse: can be read")
		})
	}
}

// A server that is killed and comes back after the worker was started is waited for; a wrong password and another program's
// table are not.
func TestClickHouseAwayAtStart(t *testing.T) {
	server, dir, topic := testenv.StartClickHouse(t), t.TempDir(), testenv.Unique(t)
	brokers := testenv.Broker(t)
	for protocol, addr := range map[string]string{"native": server.Addr(), "http": server.HTTPAddr()} {
		t.Run(protocol, func(t *testing.T) {
			set := []string{
				"FIRETRAIL_BROKERS=" + strings.Join(brokers, ","), "FIRETRAIL_TOPICS=" + topic, "FIRETRAIL_CLICKHOUSE_ADDRS=" + addr,
				"FIRETRAIL_CLICKHOUSE_PROTOCOL=" + protocol, "FIRETRAIL_CLICKHOUSE_DATABASE=" + server.Database(t),
				"FIRETRAIL_CLICKHOUSE_USER=" + testenv.ClickHouseUser, "FIRETRAIL_DLQ_DIR=" + filepath.Join(dir, "dlq"),
			}
			env := environment(append(set, "FIRETRAIL_CLICKHOUSE_PASSWORD="+testenv.ClickHousePassword)...)
			_, stderr, code := sinkWorker(t, env, "topics", "create", "--replication=1", "--min-insync-replicas=1", "--partitions=1")
			require.Equal(t, cli.Done, code, stderr)
			server.Kill(t)
			w := startWorker(t, env, topic)
			w.awaits(t, "the database is away; trying again", 1)
			server.StartAgain(t)
			w.awaits(t, "worker runs", 1)
			w.stop()
			require.Equal(t, cli.Done, <-w.ended, "%s", &w.logs)

			_, stderr, code = sinkWorker(t, environment(append(set, "FIRETRAIL_CLICKHOUSE_PASSWORD=wrong")...), "run")
			require.Equal(t, cli.Failed, code)
			require.Contains(t, stderr, "Authentication failed")
		})
	}
}
