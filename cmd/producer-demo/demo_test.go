package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/embedded"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// childEnv makes the test binary be the command, so that it can be killed.
const childEnv = "PRODUCER_DEMO_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		context.AfterFunc(ctx, stop)
		os.Exit(run(ctx, os.Args[1:], noEnv, os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

var noEnv cli.Environment

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

// demoRun runs the command and returns its output and exit code.
func demoRun(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errs buffer
	code = run(ctx, args, noEnv, strings.NewReader(stdin), &out, &errs)
	require.NoError(t, ctx.Err(), "it did not end: %s", errs.String())
	require.NotContains(t, errs.String(), "goroutine ", "a stack trace")
	return out.String(), errs.String(), code
}

// figures runs the command with --json and returns what it printed.
func figures(t *testing.T, stdin string, args ...string) (result, string) {
	t.Helper()
	out, stderr, code := demoRun(t, stdin, append(args, "--json")...)
	require.Equal(t, cli.Done, code, stderr)
	return lastLine(t, out), stderr
}

func lastLine(t *testing.T, out string) (r result) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	dec := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&r), out)
	return r
}

// storedIDs counts how often each id is in the database, but for the ends of runs.
func storedIDs(t *testing.T, dir string) map[firetrail.ID]int {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "audit.db"), ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	ids := map[firetrail.ID]int{}
	for pos, err := range db.Scan(t.Context(), sinkers.Scan{AllTenants: true}) {
		require.NoError(t, err)
		ids[pos.ID]++
	}
	ends := sinkers.Query{AllTenants: true, Action: firetrail.SourceClosed.String(), Limit: sinkers.MaxLimit}
	page, err := db.Query(t.Context(), ends)
	require.NoError(t, err)
	require.Empty(t, page.Next)
	for _, e := range page.Events {
		delete(ids, e.ID)
	}
	return ids
}

func TestAllTheWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a dir")
	out, stderr, code := demoRun(t, "", "--events=200", "--dir", dir)
	require.Equal(t, cli.Done, code, stderr)
	require.Regexp(t, `(?m)^fired +200$`, out)
	require.Regexp(t, `(?m)^stored +200 +each exactly once, asked by id$`, out)
	require.Regexp(t, `(?s)The newest events:\nTIME +TENANT.*\n(2023-07-10 .*\n){5}\nGo on with:\n`, out)
	require.Len(t, storedIDs(t, dir), 200)
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "query --sqlite") {
			require.LessOrEqual(t, text.StringWidth(strings.TrimSpace(line)), 100, line)
		}
	}

	// The database keeps what earlier runs stored; the figures are this run's.
	r, _ := figures(t, "", "--events=100", "--dir", dir, "--tenants=7")
	require.EqualValues(t, 100, r.Fired)
	require.EqualValues(t, 100, r.Shipped)
	require.EqualValues(t, 100, r.Stored)
	require.Zero(t, r.Recovered+r.Missing+r.Repeated+r.DeadLettered+r.Dropped+r.Unprotected)
	require.Positive(t, r.FireNS.P50)
	require.GreaterOrEqual(t, r.FireNS.Max, r.FireNS.P999)
	require.GreaterOrEqual(t, r.EndToEndMS.P99, r.EndToEndMS.P50)
	require.Positive(t, r.EndToEndMS.P50)
	require.Positive(t, r.EventsPerSecond)
	require.Len(t, storedIDs(t, dir), 300)
}

// The line that the demo ends with works as it is printed.
func TestGoOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	out, stderr, code := demoRun(t, "", "--dir", dir)
	require.Equal(t, cli.Done, code, stderr)
	_, line, ok := strings.Cut(out, "Go on with:\n")
	require.True(t, ok, out)
	line = strings.TrimSpace(line)
	require.True(t, strings.HasPrefix(line, "go run ./cmd/sink-worker query "), line)
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = filepath.Join("..", "..")
	answer, err := cmd.Output()
	require.NoError(t, err, line)
	require.Len(t, strings.Split(strings.TrimSpace(string(answer)), "\n"), 21, "a header and 20 events")
	require.Contains(t, string(answer), "iam.")
}

func TestEverythingBundled(t *testing.T) {
	r, _ := figures(t, "", "--dir", t.TempDir(), "--mode=volatile")
	require.EqualValues(t, bundledEvents, r.Stored)
	require.EqualValues(t, bundledEvents, r.Fired)
}

func TestOutage(t *testing.T) {
	r, stderr := figures(t, "", "--dir", t.TempDir(), "--events=2000", "--rate=2000", "--outage=300ms")
	require.EqualValues(t, 2000, r.Stored)
	require.Zero(t, r.Dropped+r.Unprotected+r.Missing+r.Repeated)
	require.Contains(t, stderr, "the broker is off the network for 300ms\n")
	require.Contains(t, stderr, "the broker is back\n")
}

func TestInputFileWithBadLines(t *testing.T) {
	dir := t.TempDir()
	good := `{"eventTime":"2023-07-10T11:42:18Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::1:user/ann"},"requestParameters":{"userName":"eve"}}`
	path := filepath.Join(dir, "in.ndjson")
	require.NoError(t, os.WriteFile(path, []byte("\ufeff"+good+"\r\n\nnot json\n"+good+"\n{\"Records\":[]}\n"+good), 0o600))
	r, stderr := figures(t, "", "--dir", filepath.Join(dir, "demo"), "--input", path, "--events=10")
	require.EqualValues(t, 10, r.Fired)
	require.EqualValues(t, 10, r.Stored)
	require.EqualValues(t, 2, r.DeadLettered, "once each, however often the input is repeated")
	require.Contains(t, stderr, `"line":3,"err":"not a CloudTrail record: `)
	require.Contains(t, stderr, `"line":5,"err":"not one record but a file of Records; jq -c '.Records[]' makes lines of it"`)
	letters, err := filepath.Glob(filepath.Join(dir, "demo", "dlq", "*.dead"))
	require.NoError(t, err)
	var all []byte
	for _, l := range letters {
		b, err := os.ReadFile(l)
		require.NoError(t, err)
		all = append(all, b...)
	}
	require.Contains(t, string(all), "in.ndjson, line 3: ")

	r, _ = figures(t, good+"\n"+good+"\n", "--dir", filepath.Join(dir, "demo"), "--input=-")
	require.EqualValues(t, 2, r.Stored)
}

// What query prints can be fired again, as new events.
func TestFiretrailFormat(t *testing.T) {
	dir := t.TempDir()
	_, stderr, code := demoRun(t, "", "--dir", dir, "--events=50")
	require.Equal(t, cli.Done, code, stderr)
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "audit.db"), ReadOnly: true})
	require.NoError(t, err)
	page, err := db.Query(t.Context(), sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	var lines []byte
	for i := range page.Events {
		lines, err = page.Events[i].AppendCloudEvent(lines)
		require.NoError(t, err)
		lines = append(lines, '\n')
	}
	r, _ := figures(t, string(lines), "--dir", dir, "--input=-", "--format=firetrail")
	require.EqualValues(t, 50, r.Stored)
	require.Zero(t, r.DeadLettered, "the ends of the first run's sources are left out")
	require.Len(t, storedIDs(t, dir), 100, "fresh ids")
}

// The demo is killed in mid-run: every id whose Fire had returned is in the database once, after a drain.
func TestKillAndDrain(t *testing.T) {
	dir := t.TempDir()
	witness := filepath.Join(dir, "witness")
	var errs buffer
	cmd := exec.Command(os.Args[0], "--dir", dir, "--events=100000", "--rate=20000", "--witness", witness, "--json")
	cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"=1"), &errs
	require.NoError(t, cmd.Start())
	fired := func() int64 {
		info, err := os.Stat(witness)
		if err != nil {
			return 0
		}
		return info.Size() / 16
	}
	require.Eventually(t, func() bool { return fired() > 5000 }, 30*time.Second, time.Millisecond, "%s", &errs)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	r, _ := figures(t, "", "--dir", dir, "--drain-only")
	require.Zero(t, r.Fired+r.Missing+r.Repeated+r.Dropped)
	require.Equal(t, r.Recovered, r.Stored)
	ids, err := os.ReadFile(witness)
	require.NoError(t, err)
	stored := storedIDs(t, dir)
	for i := 0; i+16 <= len(ids); i += 16 {
		id := firetrail.ID(ids[i:])
		require.Equal(t, 1, stored[id], "event %d of %d, %s", i/16, len(ids)/16, id)
	}
	require.LessOrEqual(t, len(stored)-len(ids)/16, 1, "the one that was being fired may be there too")

	r, _ = figures(t, "", "--dir", dir, "--drain-only")
	require.Zero(t, r.Recovered, "nothing is left")
}

// Ctrl-C ends the run cleanly; what was fired is stored.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs buffer
	ended := make(chan int, 1)
	witness := filepath.Join(dir, "witness")
	go func() {
		ended <- run(ctx, []string{"--dir", dir, "--rate=500", "--events=100000", "--json", "--witness", witness}, noEnv, nil, &out, &errs)
	}()
	require.Eventually(t, func() bool { info, err := os.Stat(witness); return err == nil && info.Size() > 1600 }, 20*time.Second, time.Millisecond)
	cancel()
	require.Equal(t, cli.Done, <-ended, errs.String())
	r := lastLine(t, out.String())
	require.Positive(t, r.Fired)
	require.Less(t, r.Fired, int64(100000))
	require.Equal(t, r.Fired, r.Stored)
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	unlock, err := (&demonstration{settings: &grammar{Dir: dir}}).lock()
	require.NoError(t, err)
	_, stderr, code := demoRun(t, "", "--dir", dir)
	require.Equal(t, cli.Failed, code)
	require.Equal(t, fmt.Sprintf("producer-demo: dir: another producer-demo is using %s; wait for it, or take another --dir\n", dir), stderr)
	require.NoError(t, unlock())
}

// With brokers that others use, a new directory begins at the topic's end.
func TestBrokersOfOthers(t *testing.T) {
	b, err := embedded.Start(embedded.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	brokers := "--brokers=" + b.Addrs()[0]
	one, two := t.TempDir(), t.TempDir()
	r, _ := figures(t, "", brokers, "--dir", one, "--events=30")
	require.EqualValues(t, 30, r.Stored)
	r, _ = figures(t, "", brokers, "--dir", two, "--events=20")
	require.EqualValues(t, 20, r.Stored)
	require.Len(t, storedIDs(t, two), 20)
	r, _ = figures(t, "", brokers, "--dir", one, "--events=10")
	require.EqualValues(t, 10, r.Stored)
	require.Len(t, storedIDs(t, one), 60, "a directory that was there goes on where it stopped")
}

// Names that only Firetrail gives can't be fired from an input either; the ends of earlier runs are nobody's mistake.
func TestReservedLines(t *testing.T) {
	line := func(action string) []byte {
		return []byte(`{"specversion":"1.0","id":"1","source":"run-x","type":"` + action + `","time":"2026-01-01T00:00:00Z"}`)
	}
	_, err := decodeFiretrail(line("course.created"))
	require.NoError(t, err)
	_, err = decodeFiretrail(line("firetrail.closed"))
	require.ErrorIs(t, err, errGiven)
	_, err = decodeFiretrail(line("firetrail.opened"))
	require.ErrorContains(t, err, "reserved")
	require.NotErrorIs(t, err, errGiven)
}
