package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

const (
	testTopic   = "audit.events"
	testLetters = "audit.events.dlq"
	testGroup   = "audit"
)

// world is a broker, a sink and the workers between them.
type world struct {
	t       *testing.T
	virtual bool // time is
	cluster *kfake.Cluster
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	broker  string
	cl      *kgo.Client // the test's own
	sink    *sinkertest.Memory
	seq     int
	workers []*running

	mu   sync.Mutex
	sent map[int32][]firetrail.ID // by partition, in order
}

// inWorld runs test in a bubble of virtual time, with a broker that has the topics, with so many partitions.
func inWorld(t *testing.T, partitions int32, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := &kfake.VirtualNetwork{}
		w := &world{t: t, virtual: true, dial: network.DialContext}
		w.run(partitions, test, kfake.Ports(9092), kfake.ListenFn(network.Listen))
	})
}

// inRealTime is inWorld for tests in which members join while others commit: the client waits for a mutex then,
// and virtual time stands still while anybody does.
func inRealTime(t *testing.T, partitions int32, test func(t *testing.T, w *world)) {
	t.Helper()
	w := &world{t: t, dial: (&net.Dialer{}).DialContext}
	w.run(partitions, test, kfake.GroupMinSessionTimeout(100*time.Millisecond))
}

func (w *world) run(partitions int32, test func(t *testing.T, w *world), opts ...kfake.Opt) {
	w.sink, w.sent = &sinkertest.Memory{}, map[int32][]firetrail.ID{}
	cluster, err := kfake.NewCluster(append(opts,
		kfake.NumBrokers(1),
		kfake.SeedTopics(partitions, testTopic),
		kfake.SeedTopics(1, testLetters),
	)...)
	require.NoError(w.t, err)
	defer cluster.Close()
	w.cluster, w.broker = cluster, cluster.ListenAddrs()[0]
	w.cl = w.client()
	defer w.cl.Close()
	defer func() {
		for _, r := range w.workers { // of a test that failed
			r.abort()
			<-r.done
		}
	}()
	test(w.t, w)
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(w.broker), kgo.Dialer(w.dial), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)
	cl, err := kgo.NewClient(opts...)
	require.NoError(w.t, err)
	return cl
}

func (w *world) adm() *kadm.Client { return kadm.NewClient(w.cl) }

var (
	testAction = firetrail.NewAction[struct{}]("course.created")
	testIDs    = firetrail.NewIDGenerator()
)

// event returns a new event of a tenant.
func (w *world) event(tenant string) firetrail.Event {
	w.seq++
	now := time.Now()
	e := testAction.Event(firetrail.Input[struct{}]{
		Tenant: tenant, Time: now, Entity: firetrail.Entity{Type: "course", ID: strconv.Itoa(w.seq)},
		Actor: firetrail.Actor{Type: "user", ID: "u1", Name: "Ada"},
	})
	e.ID = testIDs.Next(now.UnixMicro())
	e.Source, e.Seq, e.Recorded = "test", uint64(w.seq), now
	return e
}

func (w *world) record(e firetrail.Event, partition int32) *kgo.Record {
	value, err := e.AppendCloudEvent(nil)
	require.NoError(w.t, err)
	r := &kgo.Record{Topic: testTopic, Partition: partition, Key: []byte(e.Tenant), Value: value}
	for _, h := range firetrail.CloudEventHeaders() {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}

// produce writes records as they are.
func (w *world) produce(records ...*kgo.Record) {
	w.t.Helper()
	require.NoError(w.t, w.cl.ProduceSync(w.t.Context(), records...).FirstErr())
}

// events produces n new events to a partition and returns them.
func (w *world) events(n int, partition int32) []firetrail.Event {
	w.t.Helper()
	events := make([]firetrail.Event, n)
	records := make([]*kgo.Record, n)
	for i := range events {
		events[i] = w.event(fmt.Sprintf("tenant-%d", partition))
		records[i] = w.record(events[i], partition)
	}
	w.mu.Lock()
	for i := range events {
		w.sent[partition] = append(w.sent[partition], events[i].ID)
	}
	w.mu.Unlock()
	w.produce(records...)
	return events
}

func (w *world) sentTo(partition int32) []firetrail.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[partition]
}

// link is a worker's way to the broker; it can be cut.
type link struct {
	through func(ctx context.Context, network, addr string) (net.Conn, error)
	mu      sync.Mutex
	cut     bool
	conns   []net.Conn
}

func (l *link) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("the network is cut")
	}
	c, err := l.through(ctx, network, addr)
	if err == nil {
		l.conns = append(l.conns, c)
	}
	return c, err
}

func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.conns = nil
	}
}

// running is a worker that runs.
type running struct {
	*Worker
	t      *testing.T
	link   *link
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// config is a worker's, before changes.
func (w *world) config() Config {
	cfg := Config{
		Kafka:  kafkaclient.Config{Brokers: []string{w.broker}, Dial: w.dial},
		Group:  testGroup,
		Sink:   w.sink,
		Logger: slog.New(slog.NewTextHandler(testWriter{w.t}, nil)),
	}
	cfg.groupOpts = []kgo.Opt{kgo.FetchMaxWait(time.Second)} // virtual hours cost as much as their fetches
	if !w.virtual {
		cfg.Batch.FlushInterval = 20 * time.Millisecond
		cfg.Retry = Retry{Delay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond}
		cfg.groupOpts = []kgo.Opt{
			kgo.HeartbeatInterval(20 * time.Millisecond), kgo.SessionTimeout(3 * time.Second),
			kgo.RebalanceTimeout(10 * time.Second), kgo.FetchMaxWait(100 * time.Millisecond),
		}
	}
	return cfg
}

// start runs a worker.
func (w *world) start(change func(*Config)) *running {
	w.t.Helper()
	cfg := w.config()
	l := &link{through: w.dial}
	cfg.Kafka.Dial = l.dial
	if change != nil {
		change(&cfg)
	}
	worker, err := New(cfg)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Worker: worker, t: w.t, link: l, cancel: cancel, done: make(chan struct{})}
	w.workers = append(w.workers, r)
	go func() {
		defer close(r.done)
		r.err = worker.Run(ctx)
	}()
	return r
}

// stop ends the worker as SIGTERM does, and waits for it.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	<-r.done
	require.NoError(r.t, r.err)
}

// abort begins to end the worker as SIGKILL does, as far as anybody else can tell: its connections break, and
// nothing is written or committed any more.
func (r *running) abort() {
	r.link.set(true)
	r.noDrain.Store(true)
	r.cancel()
}

// await waits until ok.
func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	if !w.virtual {
		require.Eventually(w.t, ok, time.Minute, 5*time.Millisecond, what)
		return
	}
	for range 100_000 {
		if ok() {
			return
		}
		pass(10 * time.Millisecond)
	}
	require.Fail(w.t, "never came: "+what)
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

func (w *world) awaitStored(n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d rows", n), func() bool { return w.sink.Len() >= n })
	require.Equal(w.t, n, w.sink.Len())
}

// committed returns the group's committed offset of a partition, -1 when there is none.
func (w *world) committed(partition int32) int64 {
	w.t.Helper()
	o, err := w.adm().FetchOffsets(w.t.Context(), testGroup)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return -1
	}
	require.NoError(w.t, err)
	if at, ok := o.Lookup(testTopic, partition); ok {
		return at.At
	}
	return -1
}

func (w *world) awaitCommitted(partition int32, offset int64) {
	w.t.Helper()
	w.await(fmt.Sprintf("commit of %d", offset), func() bool { return w.committed(partition) == offset })
}

// members returns the members of the group.
func (w *world) members() []kadm.DescribedGroupMember {
	w.t.Helper()
	d, err := w.adm().DescribeGroups(w.t.Context(), testGroup)
	require.NoError(w.t, err)
	return d[testGroup].Members
}

// letters reads the n letters of the topic, of each the first copy.
func (w *world) letters(n int) []*kgo.Record {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cl := w.client(kgo.ConsumeTopics(testLetters), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	var all []*kgo.Record
	seen := map[string]bool{}
	for len(all) < n && ctx.Err() == nil {
		for _, r := range cl.PollFetches(ctx).Records() {
			if id := header(r, "firetrail.letter.id"); !seen[id] {
				seen[id] = true
				all = append(all, r)
			}
		}
	}
	require.Len(w.t, all, n)
	return all
}

// noLetters checks that the topic of letters is empty.
func (w *world) noLetters() {
	w.t.Helper()
	ends, err := w.adm().ListEndOffsets(w.t.Context(), testLetters)
	require.NoError(w.t, err)
	end, _ := ends.Lookup(testLetters, 0)
	require.Zero(w.t, end.Offset, "letters were made")
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// testWriter gives a worker's log to the test's, as long as that runs.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(bytes.TrimRight(b, "\n")))
	}
	return len(b), nil
}
