package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/embedded"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	child()
	goleak.VerifyTestMain(m)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func environment(pairs ...string) cli.Environment { return pairs }

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// sinkWorker runs the command and returns its output and exit code.
func sinkWorker(t *testing.T, env cli.Environment, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // for a worker that should not have run
	defer cancel()
	var out, errs buffer
	code = run(ctx, args, env, &out, &errs)
	require.NoError(t, ctx.Err(), "it ran: %s", errs.String())
	require.NotContains(t, errs.String(), "goroutine ", "a stack trace")
	return out.String(), errs.String(), code
}

func name(s string) firetrail.Name {
	n, err := firetrail.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// trail returns n events of two tenants, a second apart, the same at every call.
func trail(n int) []firetrail.Event {
	begin := time.Date(2023, 7, 10, 11, 42, 18, 0, time.UTC)
	actions := []string{"iam.CreateUser", "iam.GetUser", "s3.PutBucketPolicy"}
	es := make([]firetrail.Event, n)
	for i := range es {
		at := begin.Add(time.Duration(i) * time.Second)
		es[i] = firetrail.Event{
			ID: firetrail.IDFrom(at, "x"), Time: at, Tenant: []string{"acme", "globex"}[i%2], Action: name(actions[i%3]),
			Actor:  firetrail.Actor{Type: "user", ID: "u-" + string(rune('a'+i%3)), Name: []string{"Ann", "Bob", "Cid"}[i%3]},
			Entity: firetrail.Entity{Type: "user", ID: "malicious-user"}, Outcome: firetrail.Outcome(i % 3),
			New: firetrail.Raw([]byte(`{"i":1}`)), Source: "test", Seq: uint64(i/2 + 1), Recorded: at,
		}
	}
	return es
}

// database returns the path of one that holds events, closed.
func database(t *testing.T, events []firetrail.Event) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.db")
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	require.NoError(t, err)
	rows := make([]sinkers.Row, len(events))
	for i, e := range events {
		rows[i] = sinkers.Row{Event: e, Hash: e.ContentHash()}
	}
	_, err = db.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return path
}

func broker(t *testing.T) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(embedded.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func produce(t *testing.T, b *embedded.Broker, events []firetrail.Event, more ...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic("audit.events"))
	require.NoError(t, err)
	defer cl.Close()
	for i := range events {
		value, err := events[i].AppendCloudEvent(nil)
		require.NoError(t, err)
		more = append(more, &kgo.Record{Key: []byte(events[i].Tenant), Value: value})
	}
	require.NoError(t, cl.ProduceSync(t.Context(), more...).FirstErr())
}

// From the topics to the rows: what a newcomer does, with a bad record in between.
func TestCreateRunQuery(t *testing.T) {
	b, dir := broker(t), t.TempDir()
	env := environment("FIRETRAIL_BROKERS="+b.Addrs()[0], "FIRETRAIL_SQLITE="+filepath.Join(dir, "audit.db"),
		"FIRETRAIL_DLQ_DIR="+filepath.Join(dir, "dlq"), "FIRETRAIL_FLUSH_INTERVAL=10ms")

	_, stderr, code := sinkWorker(t, env, "run")
	require.Equal(t, cli.Failed, code, "no topic yet")
	require.Contains(t, stderr, "audit.events")

	out, stderr, code := sinkWorker(t, env, "topics", "create", "--replication=1", "--partitions=3")
	require.Equal(t, cli.Done, code, stderr)
	require.Equal(t, "audit.events: created\naudit.events.dlq: created\n", out)
	out, _, code = sinkWorker(t, env, "topics", "create", "--replication=1", "--partitions=3")
	require.Equal(t, cli.Done, code)
	require.Equal(t, "audit.events: is there, as it should be\naudit.events.dlq: is there, as it should be\n", out)
	out, _, code = sinkWorker(t, env, "topics", "create", "--replication=1", "-o", "json")
	require.Equal(t, cli.Done, code)
	require.Contains(t, out, `{"topic":"audit.events","created":false,"differs":["partitions: 3, wanted 12"]}`)

	produce(t, b, trail(40), &kgo.Record{Key: []byte("acme"), Value: []byte("not an event")})
	ctx, stop := context.WithCancel(t.Context())
	var stdout, logs buffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, nil, env, &stdout, &logs) }()
	require.Eventually(t, func() bool {
		out, _, code := sinkWorker(t, env, "query", "--all", "-o=json", "--limit=7")
		return code == cli.Done && strings.Count(out, "\n") == 40
	}, 20*time.Second, 50*time.Millisecond, logs.String())
	require.Eventually(t, func() bool {
		letters, _ := filepath.Glob(filepath.Join(dir, "dlq", "*.batch*"))
		return len(letters) == 1
	}, 10*time.Second, 20*time.Millisecond)
	stop()
	require.Equal(t, cli.Done, <-ended, logs.String())
	require.Empty(t, stdout.String())
	require.Contains(t, logs.String(), `"msg":"worker stopped","records":41,"stored":40`)

	out, stderr, code = sinkWorker(t, env, "config", "check", "--connect")
	require.Equal(t, cli.Done, code, stderr)
	require.Contains(t, out, "FIRETRAIL_FLUSH_INTERVAL")
	require.Contains(t, stderr, "brokers: reached\nwarning: topic \"audit.events\": replication factor 1;")
	require.Contains(t, stderr, "topics: there\nsqlite: can be read\n")
}

func TestQueryTable(t *testing.T) {
	db := database(t, trail(12))
	out, stderr, code := sinkWorker(t, environment(), "query", "--sqlite", db, "--limit=5")
	require.Equal(t, cli.Done, code, stderr)
	golden(t, "query.txt", out)
	require.Contains(t, stderr, "there are more: go on with --cursor ")
	cursor := strings.TrimSpace(stderr[strings.LastIndex(stderr, " "):])

	rest, stderr, code := sinkWorker(t, environment(), "query", "--sqlite", db, "--limit=50", "--cursor", cursor)
	require.Equal(t, cli.Done, code, stderr)
	require.Empty(t, stderr)
	all, _, code := sinkWorker(t, environment(), "query", "--sqlite", db, "--limit=5", "--all")
	require.Equal(t, cli.Done, code)
	_, body, _ := strings.Cut(rest, "\n")
	require.Equal(t, all, out+body, "the pages together are the whole")
}

func TestQueryFilters(t *testing.T) {
	db, events := database(t, trail(12)), trail(12)
	for name, c := range map[string]struct {
		args []string
		want func(e firetrail.Event) bool
	}{
		"everything":     {nil, func(firetrail.Event) bool { return true }},
		"tenant":         {[]string{"--tenant=acme"}, func(e firetrail.Event) bool { return e.Tenant == "acme" }},
		"default tenant": {[]string{"--tenant="}, func(e firetrail.Event) bool { return e.Tenant == "" }},
		"action":         {[]string{"--action=iam.GetUser"}, func(e firetrail.Event) bool { return e.Action.String() == "iam.GetUser" }},
		"action prefix":  {[]string{"--action=iam.*"}, func(e firetrail.Event) bool { return e.Action.Noun() == "iam" }},
		"actor":          {[]string{"--actor=u-b"}, func(e firetrail.Event) bool { return e.Actor.ID == "u-b" }},
		"actor type":     {[]string{"--actor-type=robot"}, func(firetrail.Event) bool { return false }},
		"entity":         {[]string{"--entity=malicious-user", "--entity-type=user"}, func(firetrail.Event) bool { return true }},
		"outcome":        {[]string{"--outcome=denied"}, func(e firetrail.Event) bool { return e.Outcome == firetrail.Denied }},
		"time": {[]string{"--from=2023-07-10T11:42:20Z", "--to=2023-07-10T13:42:23+02:00"}, func(e firetrail.Event) bool {
			return e.Time.Second() >= 20 && e.Time.Second() < 23
		}},
		"all of them": {[]string{"--tenant=acme", "--action=iam.*", "--outcome=success", "--from=2023-07-10"}, func(e firetrail.Event) bool {
			return e.Tenant == "acme" && e.Action.Noun() == "iam" && e.Outcome == firetrail.Success
		}},
	} {
		t.Run(name, func(t *testing.T) {
			out, stderr, code := sinkWorker(t, environment(), append([]string{"query", "--sqlite", db, "-o=json"}, c.args...)...)
			require.Equal(t, cli.Done, code, stderr)
			var got []string
			for line := range strings.Lines(out) {
				var e struct{ ID string }
				require.NoError(t, json.Unmarshal([]byte(line), &e))
				got = append(got, e.ID)
			}
			var want []string
			for i := len(events) - 1; i >= 0; i-- {
				if c.want(events[i]) {
					want = append(want, events[i].ID.String())
				}
			}
			require.Equal(t, want, got)
			require.Equal(t, len(want) == 0, stderr == "no events match\n")
		})
	}
}

// What the table shows can be read again as what it was.
func TestQueryJSONIsWhole(t *testing.T) {
	events := trail(1)
	out, _, code := sinkWorker(t, environment(), "query", "--sqlite", database(t, events), "--output=json")
	require.Equal(t, cli.Done, code)
	e, err := firetrail.DecodeCloudEvent(firetrail.Message{Key: []byte("acme"), Value: []byte(out)})
	require.NoError(t, err)
	require.Equal(t, events[0].ContentHash(), e.ContentHash())
	require.Equal(t, events[0].Source, e.Source)
	require.Equal(t, events[0].Seq, e.Seq)
}
