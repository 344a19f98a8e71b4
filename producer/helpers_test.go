package producer

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var created = firetrail.NewAction[course]("course.created")

type course struct {
	Title string `json:"title"`
	N     int    `json:"n"`
}

func event(tenant string, n int) firetrail.Event {
	return created.Event(firetrail.Input[course]{Tenant: tenant, Entity: firetrail.Entity{ID: "c-1"}, New: &course{"Go", n}})
}

func cluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(4, DefaultTopic)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// small is a config for tests: little files, short waits.
func small(t testing.TB, c *kfake.Cluster) Config {
	return Config{
		Kafka: kafkaclient.Config{Brokers: c.ListenAddrs()}, Dir: t.TempDir(), Namespace: "test",
		Linger: time.Millisecond, LetterInterval: 20 * time.Millisecond,
		WAL: wal.Config{RingSize: 1 << 20, SegmentSize: 1 << 20, MinFree: -1},
	}
}

func start(t testing.TB, cfg Config) *Producer {
	p, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = shut(p, time.Second) })
	return p
}

func shut(p *Producer, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.Close(ctx)
}

// leave closes a producer whose broker is away: it gives up on that soon, and saves what it has.
func leave(t testing.TB, p *Producer) {
	_ = shut(p, 50*time.Millisecond)
	require.NoError(t, shut(p, 20*time.Second), "the result of the first Close")
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func flush(t testing.TB, p *Producer) { require.NoError(t, p.Flush(within(t, 20*time.Second))) }

// consume reads every event of the topic as of now that somebody fired.
func consume(t testing.TB, addrs []string, topic string) []firetrail.Event {
	return slices.DeleteFunc(consumeAll(t, addrs, topic), func(e firetrail.Event) bool { return e.Action == firetrail.SourceClosed })
}

// consumeAll reads every record of the topic as of now, and checks that each is an event whose tenant is its key.
func consumeAll(t testing.TB, addrs []string, topic string) (events []firetrail.Event) {
	eachRecord(t, addrs, topic, func(r *kgo.Record) { events = append(events, decode(t, r)) })
	return events
}

// eachRecord reads every record of the topic as of now.
func eachRecord(t testing.TB, addrs []string, topic string, visit func(*kgo.Record)) {
	testenv.EachRecord(within(t, 20*time.Second), t, addrs, topic, visit)
}

func decode(t testing.TB, r *kgo.Record) firetrail.Event {
	m := firetrail.Message{Key: r.Key, Value: r.Value, Time: r.Timestamp}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, firetrail.Header{Key: h.Key, Value: h.Value})
	}
	e, err := firetrail.DecodeCloudEvent(m)
	require.NoError(t, err)
	require.NotNil(t, r.Key)
	require.Equal(t, e.Tenant, string(r.Key))
	return e
}

func distinct(events []firetrail.Event) map[firetrail.ID]firetrail.Event {
	m := map[firetrail.ID]firetrail.Event{}
	for _, e := range events {
		m[e.ID] = e
	}
	return m
}

// readLetters returns the letters in the producer's directory, with the kind of file each lies in.
func readLetters(t testing.TB, cfg Config) (found map[dlq.Kind][]dlq.Letter) {
	d, err := dlq.OpenDir(dlq.DirConfig{Path: filepath.Join(cfg.Dir, cfg.Namespace, "dlq")})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	found = map[dlq.Kind][]dlq.Letter{}
	for f, err := range d.Files(context.Background()) {
		require.NoError(t, err)
		for l, err := range d.ReadFile(context.Background(), f.Path) {
			require.NoError(t, err)
			found[f.Kind] = append(found[f.Kind], l)
		}
	}
	return found
}

// dropped gathers what OnDrop is told.
type dropped struct {
	mu sync.Mutex
	n  map[DropReason]uint64
}

func (d *dropped) add(x Drop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n == nil {
		d.n = map[DropReason]uint64{}
	}
	d.n[x.Reason] += x.Events
}
