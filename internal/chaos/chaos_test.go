//go:build integration && unix

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/wal"
)

const (
	events  = "audit.events"
	letters = "audit.events.dlq"
	group   = "chaos"
)

// options are what the environment sets; doc.go says what they mean.
type options struct {
	duration time.Duration
	database string
	seed     uint64
	rate     int
	dir      string
	worker   string
}

func readOptions(t *testing.T) options {
	o := options{duration: time.Minute, database: useClickHouse, seed: rand.Uint64N(1_000_000), rate: 500}
	var err error
	set := func(name string, f func(v string)) {
		if v := os.Getenv("FIRETRAIL_CHAOS_" + name); v != "" {
			f(v)
			require.NoError(t, err, "FIRETRAIL_CHAOS_%s", name)
		}
	}
	set("DURATION", func(v string) { o.duration, err = time.ParseDuration(v) })
	set("DATABASE", func(v string) { o.database = v })
	set("SEED", func(v string) { o.seed, err = strconv.ParseUint(v, 10, 64) })
	set("RATE", func(v string) { o.rate, err = strconv.Atoi(v) })
	set("DIR", func(v string) { o.dir, err = filepath.Abs(v) })
	set("WORKER", func(v string) { o.worker, err = filepath.Abs(v) })
	require.Contains(t, []string{useClickHouse, useSQLite}, o.database, "FIRETRAIL_CHAOS_DATABASE")
	return o
}

// TestChaos is the run. See the package's comment.
func TestChaos(t *testing.T) {
	o := readOptions(t)
	dir := o.dir
	if dir == "" {
		var err error
		dir, err = os.MkdirTemp("", "firetrail-chaos-") //nolint:usetesting // it is kept where the test fails
		require.NoError(t, err)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("logs and databases are kept in %s", dir)
				return
			}
			_ = os.RemoveAll(dir)
		})
	}
	r := newRun(t, o, dir)
	t.Log("all is there")
	r.start(t)
	r.play(t)
	t.Log("all is up again")
	r.drain(t)
	t.Log("all is drained")
	r.settle(t)
	r.print(t, os.Stdout)
	require.Empty(t, r.Problems, "seed %d", o.seed)
}

// run is all of it.
type run struct {
	options
	*report
	dir      string
	kafka    *testenv.Kafka
	database database
	stages   map[string][]*stage
	producer []*program // in their order
	worker   []*program
	lives    []life
	poisoner *poisoner
	poison   []poison

	faults errgroup.Group // restarts under way
	beside errgroup.Group // the poisoner and the lag
	stop   context.CancelFunc
}

func newRun(t *testing.T, o options, dir string) *run {
	r := &run{options: o, dir: dir, report: &report{
		Seed: o.seed, Database: o.database, Seconds: o.duration.Seconds(),
		Faults: map[string]map[string]int{}, Letters: map[string]int{},
	}, stages: map[string][]*stage{}}
	programs := filepath.Join(dir, "programs")
	guardPrograms(t, programs)
	r.kafka = testenv.StartKafka(t, members)
	r.database = startDatabase(t, o.database, dir)
	if r.options.worker == "" {
		r.options.worker = filepath.Join(dir, "sink-worker")
		out, err := exec.Command("go", "build", "-o", r.options.worker, "../../cmd/sink-worker").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	out, err := r.sinkWorker("topics", "create", "--brokers="+r.brokers(), "--topics="+events).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for i := range members {
		n := strconv.Itoa(i)
		r.worker = append(r.worker, &program{name: aWorker + n, dir: programs, command: func() (*exec.Cmd, error) { return r.newWorker(i), nil }})
		r.producer = append(r.producer, &program{name: aProducer + n, dir: programs, command: func() (*exec.Cmd, error) { return r.newProducer(i) }})
		r.stages[aBroker] = append(r.stages[aBroker], &stage{target: broker{r.kafka, i}})
		r.stages[aWorker] = append(r.stages[aWorker], &stage{target: r.worker[i], program: r.worker[i]})
		r.stages[aProducer] = append(r.stages[aProducer], &stage{target: r.producer[i], program: r.producer[i]})
	}
	r.stages[aDatabase] = []*stage{{target: r.database}}
	r.poisoner = newPoisoner(t, r.kafka.Addrs(), events)
	return r
}

func (r *run) brokers() string { return strings.Join(r.kafka.Addrs(), ",") }

// sinkWorker is a call of the command, with nothing set but what is given.
func (r *run) sinkWorker(args ...string) *exec.Cmd {
	cmd := exec.Command(r.options.worker, args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FIRETRAIL_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	flags, env := r.database.settings()
	if args[0] != "topics" {
		cmd.Args = append(cmd.Args, flags...)
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func (r *run) newWorker(i int) *exec.Cmd {
	args := []string{
		"run", "--brokers=" + r.brokers(), "--topics=" + events, "--group=" + group, "--admin-address=-", "--log-format=json",
		"--dlq-dir=" + filepath.Join(r.dir, "letters"+strconv.Itoa(i)), "--flush-interval=500ms", "--batch-max-size=5000",
		"--session-timeout=" + sessionTimeout.String(),
	}
	if i != dynamicWorker {
		args = append(args, "--instance-id=chaos-"+strconv.Itoa(i))
	}
	return r.sinkWorker(args...)
}

// hostOf says where a producer keeps its log: two of them share a directory.
func (r *run) hostOf(i int) string { return filepath.Join(r.dir, "host"+strconv.Itoa(i/2)) }

func (r *run) newProducer(i int) (*exec.Cmd, error) {
	n := len(r.lives)
	l := life{
		Number: n, Witness: filepath.Join(r.dir, "witness"+strconv.Itoa(n)), Dir: r.hostOf(i), Brokers: r.kafka.Addrs(), Topic: events,
		Rate: r.rate, Most: r.rate * int(r.duration.Seconds()+60),
	}
	r.lives = append(r.lives, l)
	setting, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childSetting+"="+string(setting))
	return cmd, nil
}

// start begins everything, and what looks on meanwhile.
func (r *run) start(t *testing.T) {
	for i := range members {
		require.NoError(t, r.worker[i].restart())
		require.NoError(t, r.producer[i].restart())
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	r.beside.Go(func() error { return r.poisoner.run(ctx, float64(members*r.rate)/1000) })
	r.beside.Go(func() error {
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			if lag, err := r.lag(ctx); err == nil {
				r.MaxLag = max(r.MaxLag, lag)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

func (r *run) lag(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	lag, err := consumer.Lag(ctx, kafkaclient.Config{Brokers: r.kafka.Addrs()}, group, events)
	if lag.Lost > 0 {
		r.problem("the group has lost %d records", lag.Lost)
	}
	return lag.Records, err
}

// drain waits until all that was fired is where it belongs, and ends everything.
func (r *run) drain(t *testing.T) {
	begun := time.Now()
	// A long run can leave a long backlog, of which each bad record that only halving finds costs many writes.
	limit := 4*time.Minute + r.duration
	ctx, cancel := context.WithTimeout(t.Context(), limit+time.Minute)
	defer cancel()
	r.stop()
	require.NoError(t, r.beside.Wait())
	r.poison = r.poisoner.end(t, ctx)
	r.awaitLetters(ctx, t)
	for _, p := range r.producer {
		p.signal(t, syscall.SIGTERM)
	}
	for _, p := range r.producer {
		if err := p.await(t, time.Minute); err != nil && !p.terminated() { // it was started a moment ago, and has not looked yet
			r.problem("%s ended with %v when it was told to: %s", p.name, err, p.tail())
		}
	}
	for i := 0; i < members; i += 2 {
		r.drainHost(ctx, t, r.hostOf(i))
	}
	require.Eventually(t, func() bool {
		r.supervise(t)
		lag, err := r.lag(ctx)
		return err == nil && lag == 0
	}, limit, 200*time.Millisecond, "the workers do not catch up: %s", r.worker[0].tail())
	r.DrainSeconds = time.Since(begun).Seconds()
	for _, p := range r.worker {
		p.signal(t, syscall.SIGTERM)
	}
	for _, p := range r.worker {
		if err := p.await(t, time.Minute); err != nil {
			r.problem("%s ended with %v when it was told to: %s", p.name, err, p.tail())
		}
	}
}

// awaitLetters goes on until each bad record has its letter, for half a minute at the most: without good events
// behind it the last of them would wait for minutes until its worker believes that it is to blame.
func (r *run) awaitLetters(ctx context.Context, t *testing.T) {
	bad := 0
	for _, p := range r.poison {
		if p.reason != "" {
			bad++
		}
	}
	opts, err := kafkaclient.Config{Brokers: r.kafka.Addrs()}.Opts()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for found := 0; found < bad && ctx.Err() == nil; {
		r.await(t, time.Now().Add(time.Second))
		found = 0
		for _, err := range (dlq.View{Topic: letters, Kafka: opts}).Letters(ctx) {
			if err == nil {
				found++
			}
		}
	}
}

// drainHost runs a producer until nothing is left of those before it.
func (r *run) drainHost(ctx context.Context, t *testing.T, dir string) {
	l := life{Dir: dir, Brokers: r.kafka.Addrs(), Topic: events}
	pending := r.pending(t, dir)
	p, err := producer.New(l.config(nil))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s := p.Stats()
		return s.Recovered >= pending && s.Backlog == 0 && s.Dir.Waiting.Files == 0
	}, 2*time.Minute, 50*time.Millisecond, "%d left of %d", p.Stats().Backlog, pending)
	require.NoError(t, p.Flush(ctx))
	s := p.Stats()
	require.NoError(t, p.Close(ctx))
	if s.DroppedEvents() > 0 || s.Dir.Dead.Letters > 0 || s.Dir.Damaged.Files > 0 {
		r.problem("%s: dropped %v, dead letters %d, damaged files %d", dir, s.Dropped, s.Dir.Dead.Letters, s.Dir.Damaged.Files)
	}
	if left := r.pending(t, dir); left > 0 {
		r.problem("%s: %d records are left in the logs", dir, left)
	}
}

// pending is how many records the logs of a directory hold, when nobody has them open.
func (r *run) pending(t *testing.T, dir string) (n uint64) {
	slots, err := filepath.Glob(filepath.Join(dir, "chaos", "[0-9]*"))
	require.NoError(t, err)
	for _, slot := range slots {
		log, err := wal.Inspect(wal.Config{Dir: slot}, nil)
		require.NoError(t, err)
		if len(log.Missing) > 0 {
			r.problem("%s: missing %v", slot, log.Missing)
		}
		n += log.Pending
	}
	return n
}

// settle takes the account.
func (r *run) settle(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	a := &account{report: r.report, poison: r.poison}
	for i := range r.lives {
		l := &r.lives[i]
		w, err := testenv.OpenWitness(l.Witness, l.Most)
		require.NoError(t, err)
		a.books = append(a.books, book{fates: w.Fates(), topic: make([]uint8, l.Most), stored: make([]uint8, l.Most)})
		require.NoError(t, w.Close())
	}
	a.readTopic(ctx, t, r.kafka.Addrs(), events)
	a.readDatabase(ctx, t, r.database)
	opts, err := kafkaclient.Config{Brokers: r.kafka.Addrs()}.Opts()
	require.NoError(t, err)
	a.readLetters(ctx, t, letters, opts)
	a.settle()
	r.Lives, r.Rate = len(r.lives), float64(r.Fired)/r.Seconds

	var out, logs bytes.Buffer
	cmd := r.sinkWorker("verify", "--output=json")
	cmd.Stdout, cmd.Stderr = &out, &logs
	if err := cmd.Run(); err != nil {
		r.problem("verify: %v: %s%s", err, &logs, out.Bytes()[:min(out.Len(), 4000)])
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	if r.Verify = lines[len(lines)-1]; !json.Valid(r.Verify) {
		r.problem("verify says %q", r.Verify)
		r.Verify = nil
	}
}
