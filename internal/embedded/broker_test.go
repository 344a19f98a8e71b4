package embedded

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

const topic = "audit.events"

func TestMain(m *testing.M) {
	if dir := os.Getenv("EMBEDDED_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, c Config) *Broker {
	t.Helper()
	b, err := Start(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic(topic), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

func produce(t *testing.T, cl *kgo.Client, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		require.NoError(t, cl.ProduceSync(t.Context(), record(i)).FirstErr())
	}
}

func record(i int) *kgo.Record {
	return &kgo.Record{Key: []byte(strconv.Itoa(i % 7)), Value: []byte(strconv.Itoa(i))}
}

// requireValues reads the topic until it has seen 0..n-1, and fails on a value that comes twice.
func requireValues(t *testing.T, b *Broker, n int) {
	t.Helper()
	cl := client(t, b, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for len(seen) < n {
		f := cl.PollFetches(ctx)
		require.NoError(t, f.Err0())
		f.EachRecord(func(r *kgo.Record) {
			require.False(t, seen[string(r.Value)], "%s came twice", r.Value)
			seen[string(r.Value)] = true
		})
	}
	for i := range n {
		require.True(t, seen[strconv.Itoa(i)], "%d is missing", i)
	}
}

func TestInMemory(t *testing.T) {
	b := start(t, Config{Topics: []Topic{{Name: topic, Config: map[string]string{"retention.ms": "-1"}}, {Name: "dlq", Partitions: 3}}})
	cl := client(t, b)
	produce(t, cl, 0, 20)
	requireValues(t, b, 20)

	topics, err := kadm.NewClient(cl).ListTopics(t.Context())
	require.NoError(t, err)
	require.Len(t, topics[topic].Partitions, 12)
	require.Len(t, topics["dlq"].Partitions, 3)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "twice")
	require.ErrorIs(t, b.Restore(), net.ErrClosed)
}

func TestStartAgainOnAnotherPort(t *testing.T) {
	dir := t.TempDir()
	one := start(t, Config{Dir: dir, Topics: []Topic{{Name: topic}}})
	produce(t, client(t, one), 0, 50)
	require.NoError(t, one.Close())

	two := start(t, Config{Dir: dir, Topics: []Topic{{Name: topic, Partitions: 99}, {Name: "new"}}})
	require.NotEqual(t, one.Addrs(), two.Addrs())
	produce(t, client(t, two), 50, 60)
	requireValues(t, two, 60)
	topics, err := kadm.NewClient(client(t, two)).ListTopics(t.Context())
	require.NoError(t, err)
	require.Len(t, topics[topic].Partitions, 12, "a topic that is there is left as it is")
	require.Contains(t, topics, "new", "one that isn't is made")
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	b := start(t, Config{Dir: dir})
	_, err := Start(Config{Dir: dir})
	require.ErrorContains(t, err, dir+" is in use by another process")
	require.NoError(t, b.Close())
	start(t, Config{Dir: dir})
}

func TestStartFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Start(Config{Dir: file})
	require.ErrorContains(t, err, "embedded broker: dir: ")

	b := start(t, Config{})
	_, port, err := net.SplitHostPort(b.Addrs()[0])
	require.NoError(t, err)
	taken, err := strconv.Atoi(port)
	require.NoError(t, err)
	dir := t.TempDir()
	_, err = Start(Config{Dir: dir, Port: taken})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	start(t, Config{Dir: dir}) // and left no lock behind

	_, err = Start(Config{Topics: []Topic{{Name: "a.b"}, {Name: "a_b"}}})
	require.ErrorContains(t, err, `topics: "a_b"`)

	dir = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "meta.json"), []byte("{"), 0o600))
	_, err = Start(Config{Dir: dir})
	require.Error(t, err)
}

// An outage: connections are cut, new ones are refused, and what was acknowledged before is there after.
func TestCutAndRestore(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		b := start(t, Config{Dir: dir, Topics: []Topic{{Name: topic}}})
		cl := client(t, b)
		produce(t, cl, 0, 10)
		conn, err := net.Dial("tcp", b.Addrs()[0])
		require.NoError(t, err)

		b.Cut()
		b.Cut()
		_, err = conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.NoError(t, conn.Close())
		_, err = net.Dial("tcp", b.Addrs()[0])
		require.ErrorIs(t, err, syscall.ECONNREFUSED)

		pending := make(chan error, 1)
		cl.Produce(t.Context(), record(10), func(_ *kgo.Record, err error) { pending <- err })
		require.Never(t, func() bool { return len(pending) > 0 }, 200*time.Millisecond, 20*time.Millisecond)

		require.NoError(t, b.Restore())
		require.NoError(t, b.Restore())
		require.NoError(t, <-pending)
		produce(t, cl, 11, 20)
		requireValues(t, b, 20)

		b.Cut()
		require.NoError(t, b.Close(), "closing while cut off")
	}
}

// Restore says so when the port is gone, and may be tried again.
func TestRestoreWithThePortTaken(t *testing.T) {
	b := start(t, Config{Topics: []Topic{{Name: topic}}})
	b.Cut()
	squatter, err := net.Listen("tcp", b.Addrs()[0])
	require.NoError(t, err)
	require.ErrorIs(t, b.Restore(), syscall.EADDRINUSE)
	require.NoError(t, squatter.Close())
	require.NoError(t, b.Restore())
	produce(t, client(t, b), 0, 1)
}

// Cutting, restoring and closing from several goroutines at once ends.
func TestCutConcurrently(t *testing.T) {
	b := start(t, Config{Topics: []Topic{{Name: topic}}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				b.Cut()
				_ = b.Restore()
			}
		})
	}
	wg.Wait()
	require.NoError(t, b.Restore())
	produce(t, client(t, b), 0, 5)
	wg.Go(b.Cut)
	wg.Go(func() { _ = b.Close() })
	wg.Wait()
}

// What was acknowledged, and the offsets committed, survive a kill -9 of the process.
func TestKill9(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EMBEDDED_TEST_CHILD="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	acked, lines := 0, bufio.NewScanner(out)
	for acked < 500 && lines.Scan() {
		acked, err = strconv.Atoi(lines.Text())
		require.NoError(t, err)
	}
	require.NoError(t, cmd.Process.Kill())
	for lines.Scan() { // what it wrote before it died
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			acked = n
		}
	}
	require.Error(t, cmd.Wait())
	require.GreaterOrEqual(t, acked, 500)

	b := start(t, Config{Dir: dir})
	requireAtLeast(t, b, acked)
	offsets, err := kadm.NewClient(client(t, b)).FetchOffsets(t.Context(), "group")
	require.NoError(t, err)
	o, ok := offsets.Lookup(topic, 0)
	require.True(t, ok)
	require.GreaterOrEqual(t, o.At, int64(acked))
}

// child produces in order to one partition and commits each record's offset, telling of it, until killed.
func child(dir string) {
	b, err := Start(Config{Dir: dir, Topics: []Topic{{Name: topic, Partitions: 1}}})
	if err != nil {
		panic(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	if err != nil {
		panic(err)
	}
	adm := kadm.NewClient(cl)
	for i := 1; ; i++ {
		if err := cl.ProduceSync(context.Background(), record(i-1)).FirstErr(); err != nil {
			panic(err)
		}
		var commit kadm.Offsets
		commit.Add(kadm.Offset{Topic: topic, At: int64(i)})
		if err := adm.CommitAllOffsets(context.Background(), "group", commit); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

func requireAtLeast(t *testing.T, b *Broker, n int) {
	t.Helper()
	ends, err := kadm.NewClient(client(t, b)).ListEndOffsets(t.Context(), topic)
	require.NoError(t, err)
	end, ok := ends.Lookup(topic, 0)
	require.True(t, ok)
	require.GreaterOrEqual(t, end.Offset, int64(n))
	requireValues(t, b, int(end.Offset))
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	l := logger{slog.New(slog.NewTextHandler(io.Writer(&out), nil))}
	for _, level := range []kfake.LogLevel{kfake.LogLevelError, kfake.LogLevelWarn, kfake.LogLevelInfo, kfake.LogLevelDebug} {
		l.Logf(level, "level %d", level)
	}
	require.Contains(t, out.String(), "level=ERROR")
	require.Contains(t, out.String(), "level=WARN")
	require.Equal(t, 2, bytes.Count(out.Bytes(), []byte("\n")))
	logger{}.Logf(kfake.LogLevelError, "nobody hears it")
}
