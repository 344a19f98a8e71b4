//go:build integration && unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/internal/testenv"
)

// sessionTimeout is the shortest that Kafka allows by default.
const sessionTimeout = 6 * time.Second

// TestRebalances has workers join, leave, be killed, stopped with SIGSTOP for shorter and for longer than their session,
// and take each other's place, while events flow from a real Kafka to a real ClickHouse; then all is read once more. Every
// event is stored once, no commit moves an offset back, and what needn't move stays where it is.
// FIRETRAIL_REBALANCE_EVENTS=1000000 is the long form.
func TestRebalances(t *testing.T) {
	total := 100_000
	if env := os.Getenv("FIRETRAIL_REBALANCE_EVENTS"); env != "" {
		_, err := fmt.Sscan(env, &total)
		require.NoError(t, err)
	}
	f := newFleet(t, total)
	began := time.Now()
	f.hurry.Store(total > 500_000)
	f.flow()
	f.join("a", true)
	f.join("b", true)
	f.join("c", false)
	f.pass()

	f.join("d", false)
	f.pass()
	f.restart("a")
	f.pass()
	f.leave("c")
	f.pass()
	f.kill("d")
	f.join("e", false)
	f.pass()
	f.pause("b", sessionTimeout+time.Second)
	f.pass()
	f.takeOver("a")
	f.pass()
	f.pause("e", sessionTimeout/6)
	f.pass()
	f.hurry.Store(true)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for random := rand.New(rand.NewPCG(seed, 0)); f.committed() < int64(total*9/10); f.pass() {
		f.anything(random)
	}
	f.settle()
	took := time.Since(began).Round(time.Second)

	for name := range f.members {
		f.leave(name)
	}
	require.Empty(t, f.lag().Members, "a member that was stopped is gone, a static one too")
	t.Logf("%d events in %v: %v; partitions assigned %d, revoked %d, lost %d times; at least %d read a second time",
		total, took, f.done, f.assigned, f.revoked, f.lost, f.duplicates)

	f.monitor.Store(false) // here offsets are meant to move back
	_, stderr, code := sinkWorker(t, environment(), append([]string{"replay", "--to-beginning", "--group=" + f.topic}, f.kafka...)...)
	require.Equal(t, cli.Done, code, stderr)
	f.eventually("the offsets move back", func() bool { return f.committed() == 0 })
	f.join("f", true)
	f.settle()
	f.duplicates = 0
	f.leave("f")
	require.Equal(t, total, f.duplicates)
}

// fleet is the workers of a group, and what they work on.
type fleet struct {
	t        *testing.T
	total    int
	topic    string
	kafka    []string // settings
	database []string
	dir      string
	cl       *kgo.Client
	members  map[string]*member
	done     map[string]int // what was done to workers, how often

	assigned, revoked, lost, duplicates int

	mu        sync.Mutex
	offsets   map[int32]int64 // committed
	hurry     atomic.Bool
	monitor   atomic.Bool
	backwards error
}

type member struct {
	*process
	static bool
}

func newFleet(t *testing.T, total int) *fleet {
	server, brokers := testenv.SharedClickHouse(t), testenv.Broker(t)
	f := &fleet{
		t: t, total: total, topic: testenv.Unique(t), dir: t.TempDir(), cl: testenv.Client(t, brokers),
		database: []string{"--clickhouse-addrs=" + server.Addr(), "--clickhouse-database=" + server.Database(t)},
		members:  map[string]*member{}, done: map[string]int{}, offsets: map[int32]int64{},
	}
	f.kafka = []string{"--brokers=" + strings.Join(brokers, ","), "--topics=" + f.topic}
	_, stderr, code := sinkWorker(t, environment(), append([]string{"topics", "create", "--replication=1"}, f.kafka...)...)
	require.Equal(t, cli.Done, code, stderr)
	f.eventually("the broker knows the topics", func() bool {
		topics, err := kadm.NewClient(f.cl).ListTopics(t.Context(), f.topic, f.topic+".dlq")
		return err == nil && topics.Error() == nil
	})
	return f
}

// flow begins to produce the events, never more than a tenth of them ahead of what is committed, and to watch the commits.
func (f *fleet) flow() {
	f.monitor.Store(true)
	ctx, cancel := context.WithCancel(f.t.Context())
	var both sync.WaitGroup
	f.t.Cleanup(func() { cancel(); both.Wait() })
	both.Go(func() { f.produce(ctx) })
	both.Go(func() { f.watch(ctx) })
}

func (f *fleet) produce(ctx context.Context) {
	const tenants, chunk = 48, 1000 // 4000 a second, and as fast as it goes where there are many
	ids := firetrail.NewIDGenerator()
	for n := 0; n < f.total; n += chunk {
		pause := 20 * time.Millisecond
		for slow := n/chunk%4 == 0 && !f.hurry.Load(); slow || int64(n)-f.committed() > int64(f.total/10); slow = false {
			if slow {
				pause = time.Second
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
		records := make([]*kgo.Record, chunk)
		for i := range records {
			now := time.Now()
			e := trail(1)[0]
			e.Tenant, e.ID, e.Time, e.Recorded = fmt.Sprint("tenant-", (n+i)%tenants), ids.Next(now.UnixMicro()), now, now
			e.Seq = uint64((n+i)/tenants + 1)
			value, err := e.AppendCloudEvent(nil)
			if err != nil {
				panic(err)
			}
			records[i] = &kgo.Record{Topic: f.topic, Key: []byte(e.Tenant), Value: value}
		}
		if err := f.cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return // the end will miss them
		}
	}
}

// watch follows what the group commits.
func (f *fleet) watch(ctx context.Context) {
	adm := kadm.NewClient(f.cl)
	for ctx.Err() == nil {
		if all, err := adm.FetchOffsets(ctx, f.topic); err == nil {
			f.mu.Lock()
			all.Each(func(o kadm.OffsetResponse) {
				if f.monitor.Load() && o.At < f.offsets[o.Partition] && f.backwards == nil {
					f.backwards = fmt.Errorf("partition %d: offset %d was committed, and then %d", o.Partition, f.offsets[o.Partition], o.At)
				}
				f.offsets[o.Partition] = o.At
			})
			f.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// committed is how many events are.
func (f *fleet) committed() (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.offsets {
		n += o
	}
	return n
}

// pass waits for a part of the events to be committed.
func (f *fleet) pass() {
	f.t.Helper()
	to := min(f.committed()+int64(min(f.total/25, 8000)), int64(f.total))
	f.eventually("events are committed", func() bool { return f.committed() >= to })
}

func (f *fleet) eventually(what string, ok func() bool) {
	f.t.Helper()
	if !assertEventually(ok) {
		for name, m := range f.members {
			logs := m.logs.String()
			f.t.Logf("worker %s: %s", name, logs[max(0, len(logs)-3000):])
		}
		require.Fail(f.t, "never: "+what)
	}
}

func assertEventually(ok func() bool) bool {
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// join starts a worker and waits until it has partitions.
func (f *fleet) join(name string, static bool) {
	f.t.Helper()
	f.done["join"]++
	m := f.start(name, static)
	f.members[name] = m
	f.eventually(name+" has partitions", func() bool { return strings.Contains(m.logs.String(), "partitions assigned") })
}

func (f *fleet) start(name string, static bool) *member {
	args := append(append([]string{
		"--group=" + f.topic, "--session-timeout=" + sessionTimeout.String(), "--log-format=json", "--admin-address=127.0.0.1:0",
		"--dlq-dir=" + filepath.Join(f.dir, name+strconv.Itoa(f.done["join"]+f.done["restart"]+f.done["takeOver"])),
		"--flush-interval=100ms", "--batch-max-size=2000", "--min-flush-interval=1ns", // batches that size whoever else waits
	}, f.kafka...), f.database...)
	if static {
		args = append(args, "--instance-id="+name)
	}
	return &member{start(f.t, args...), static}
}

// leave stops a worker as an orchestrator does.
func (f *fleet) leave(name string) {
	f.t.Helper()
	f.done["leave"]++
	m := f.members[name]
	require.NoError(f.t, m.Process.Signal(syscall.SIGTERM))
	f.end(name)
	require.Contains(f.t, m.logs.String(), "worker stopped")
}

func (f *fleet) end(name string) {
	m := f.members[name]
	require.NoError(f.t, <-m.ended, "%s", &m.logs)
	f.count(m)
	delete(f.members, name)
}

// kill ends a worker with SIGKILL.
func (f *fleet) kill(name string) {
	f.t.Helper()
	f.done["kill"]++
	m := f.members[name]
	f.duplicates += m.duplicates(f.t)
	require.NoError(f.t, m.Process.Kill())
	require.Error(f.t, <-m.ended)
	f.count(m)
	delete(f.members, name)
}

// restart kills a static member and starts it again within its session: no partition moves.
func (f *fleet) restart(name string) {
	f.t.Helper()
	moves := func() (lines []string) {
		for other, m := range f.members {
			for line := range strings.Lines(m.logs.String()) {
				if other != name && strings.Contains(line, `"msg":"partitions `) {
					lines = append(lines, other+": "+line)
				}
			}
		}
		return lines
	}
	last, since := -1, time.Now()
	f.eventually("nothing moves", func() bool { // a rebalance has two rounds, and a member hears of one by its heartbeat
		if n := len(moves()); n != last || !f.stable() {
			last, since = n, time.Now()
		}
		return time.Since(since) > sessionTimeout/2
	})
	before, killed := moves(), time.Now()
	f.kill(name)
	f.done["kill"]--
	f.done["restart"]++
	m := f.start(name, true)
	f.members[name] = m
	f.eventually(name+" has its partitions again", func() bool { return strings.Contains(m.logs.String(), "partitions assigned") })
	if took := time.Since(killed); took > sessionTimeout*2/3 {
		f.t.Logf("%s was back after %v: that is too late to hold the group to it", name, took)
		return
	}
	f.pass()
	require.Len(f.t, moves(), len(before), "partitions moved for a static member that was back in time: %s", moves())
}

// stable says whether the group is, as the brokers see it.
func (f *fleet) stable() bool {
	l := f.lag()
	return l.State == "Stable" && len(l.Members) == len(f.members)
}

// pause stops a worker with SIGSTOP, and lets it go on.
func (f *fleet) pause(name string, d time.Duration) {
	f.t.Helper()
	f.done["pause"]++
	m := f.members[name]
	require.NoError(f.t, m.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	if d > sessionTimeout {
		f.eventually("the others have its partitions", func() bool { return len(f.lag().Members) == len(f.members)-1 })
		f.pass()
	}
	<-time.After(time.Until(began.Add(d))) // it is how long a pause lasts that is tested
	require.NoError(f.t, m.Process.Signal(syscall.SIGCONT))
	f.eventually(name+" takes part again", func() bool { return f.stable() })
}

// takeOver starts a second worker of a static member's id: the first ends, and says why.
func (f *fleet) takeOver(name string) {
	f.t.Helper()
	f.done["takeOver"]++
	old := f.members[name]
	f.duplicates += old.duplicates(f.t)
	m := f.start(name, true)
	require.Error(f.t, <-old.ended)
	require.Contains(f.t, old.logs.String(), `instance_id: "`+name+`" is used by another worker of group`)
	f.count(old)
	f.members[name] = m
	f.eventually(name+" has its partitions", func() bool { return strings.Contains(m.logs.String(), "partitions assigned") })
}

// anything does one of these, at random.
func (f *fleet) anything(random *rand.Rand) {
	var static, dynamic []string
	for name, m := range f.members {
		if m.static {
			static = append(static, name)
		} else {
			dynamic = append(dynamic, name)
		}
	}
	one := func(names []string) string { return names[random.IntN(len(names))] }
	name := "w" + strconv.Itoa(f.done["join"])
	switch n := random.IntN(7); {
	case n == 0 && len(dynamic) > 1:
		f.kill(one(dynamic))
	case n == 1 && len(dynamic) > 1:
		f.leave(one(dynamic))
	case n == 2:
		f.restart(one(static))
	case n == 3:
		f.pause(one(append(static, dynamic...)), sessionTimeout+time.Second)
	case n == 4:
		f.pause(one(append(static, dynamic...)), sessionTimeout/4)
	case n == 5:
		f.takeOver(one(static))
	case len(f.members) < 6:
		f.join(name, false)
	default:
		f.kill(one(dynamic))
	}
}

// settle waits until all is committed, and holds what is stored to what was sent.
func (f *fleet) settle() {
	f.t.Helper()
	f.eventually("all is committed", func() bool { return f.committed() == int64(f.total) })
	require.Zero(f.t, f.lag().Records)
	out, stderr, code := sinkWorker(f.t, environment(), append([]string{"verify", "-o=json"}, f.database...)...)
	require.Equal(f.t, cli.Done, code, stderr)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var sum struct{ Events, Missing, Irregular int }
	require.NoError(f.t, json.Unmarshal([]byte(lines[len(lines)-1]), &sum))
	require.Equal(f.t, f.total, sum.Events)
	require.Zero(f.t, sum.Missing)
	require.Zero(f.t, sum.Irregular)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.NoError(f.t, f.backwards)
	for name, m := range f.members {
		require.NotContains(f.t, m.logs.String(), "dead letter", name)
	}
}

// groupLag is what of sink-worker lag is looked at.
type groupLag struct {
	State   string
	Members []string
	Records int
}

func (f *fleet) lag() (l groupLag) {
	f.t.Helper()
	out, stderr, code := sinkWorker(f.t, environment(), append([]string{"lag", "-o=json", "--group=" + f.topic}, f.kafka...)...)
	require.Equal(f.t, cli.Done, code, stderr)
	require.NoError(f.t, json.Unmarshal([]byte(out), &l))
	return l
}

// count takes down what a worker that has ended had to say.
func (f *fleet) count(m *member) {
	logs := m.logs.String()
	f.assigned += strings.Count(logs, "partitions assigned")
	f.revoked += strings.Count(logs, "partitions revoked")
	f.lost += strings.Count(logs, "partitions lost")
	if said := regexp.MustCompile(`"worker stopped".*"duplicates":(\d+)`).FindStringSubmatch(logs); said != nil {
		n, err := strconv.Atoi(said[1])
		require.NoError(f.t, err)
		f.duplicates += n
	}
}

// duplicates asks a worker how many events it read that were stored already.
func (m *member) duplicates(t *testing.T) int {
	t.Helper()
	address := regexp.MustCompile(`"metrics and health are served".*"address":"([^"]+)"`).FindStringSubmatch(m.logs.String())
	require.NotNil(t, address)
	res, err := http.Get("http://" + address[1] + "/metrics")
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	n := regexp.MustCompile(`(?m)^firetrail_worker_duplicates_total (\S+)$`).FindSubmatch(body)
	require.NotNil(t, n, "%s", body)
	v, err := strconv.ParseFloat(string(n[1]), 64)
	require.NoError(t, err)
	return int(v)
}
