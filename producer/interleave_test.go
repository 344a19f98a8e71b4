package producer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/embedded"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

// killRounds is the variable of `make crash`; here it is how many seeds to try. Default 3.
const killRounds = "FIRETRAIL_KILL_ROUNDS"

// TestEverythingAtOnce does what a producer's user, its broker and its disk can do, in random order and while events
// are fired, through the public API. In the end every event that was taken is at the broker, a dead letter, or a
// counted drop, and nothing is left anywhere else. A failed seed is run again with -run and its name.
func TestEverythingAtOnce(t *testing.T) {
	seeds, first := 3, rand.Uint64N(1<<32)
	if s := os.Getenv(killRounds); s != "" {
		var err error
		seeds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	if s := os.Getenv("FIRETRAIL_SEED"); s != "" {
		var err error
		seeds = 1
		first, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("FIRETRAIL_SEED=", first+seed), func(t *testing.T) { newMedley(t, first+seed).run() })
	}
}

// medley is one seed's.
type medley struct {
	t      *testing.T
	rand   *rand.Rand // of the one goroutine that decides
	broker *embedded.Broker
	disk   *disk
	a      *account
	poison bool // events that the broker refuses are among those fired
	living []*Producer
	steps  []string // for whoever looks at a failure
}

func newMedley(t *testing.T, seed uint64) *medley {
	m := &medley{t: t, rand: rand.New(rand.NewPCG(seed, 1)), disk: newDisk(working)}
	var err error
	m.broker, err = embedded.Start(embedded.Config{Topics: []embedded.Topic{
		{Name: DefaultTopic, Partitions: 4, Config: map[string]string{"max.message.bytes": "16000"}},
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.broker.Close() })
	cfg := Config{
		Kafka: kafkaclient.Config{Brokers: m.broker.Addrs()}, Dir: t.TempDir(), Namespace: "test", WeakTopic: true,
		Linger: time.Millisecond, LetterInterval: 10 * time.Millisecond, MaxBytes: int64(4+m.rand.IntN(8)) << 20,
		LetterMaxBytes: 1 << (18 + m.rand.IntN(6)), WAL: wal.Config{SegmentSize: 1 << 20, MinFree: -1, MaxOverflow: 1 << 20},
	}
	cfg.WAL.FS, cfg.WAL.MaxRecord = m.disk, 32<<10
	cfg.WAL.RingSize = 128 << 10 << m.rand.IntN(4)
	cfg.WAL.SyncEvery, cfg.WAL.RetryMin, cfg.WAL.RetryMax = 5*time.Millisecond, time.Millisecond, 20*time.Millisecond
	cfg.WAL.HangAfter = 50 * time.Millisecond
	if m.poison = m.rand.IntN(2) == 0; m.poison {
		cfg.LetterMaxBytes = -1 // shipping waits while there is no room for a dead letter
	}
	m.a = openAccount(t, cfg)
	m.a.twice, m.a.unsure = true, true // what the broker took without saying so is sent again, or given up
	t.Cleanup(func() { m.disk.set(working) })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("steps: %v", m.steps)
		}
	})
	return m
}

func (m *medley) run() {
	m.open()
	for range 15 + m.rand.IntN(20) {
		var wg sync.WaitGroup
		for _, p := range m.living {
			n := m.rand.IntN(300)
			wg.Go(func() { m.fire(p, n) })
		}
		m.step()
		wg.Wait()
	}
	m.end()
}

// fire fires n events of some sizes, now and then one that the broker refuses.
func (m *medley) fire(p *Producer, n int) {
	for i := range n {
		e := event(fmt.Sprint("t", rand.IntN(5)), i)
		switch rand.IntN(100) {
		case 0:
			if m.poison {
				e.Metadata = firetrail.JSON(incompressible(20_000))
			}
		case 1, 2, 3:
			e.Metadata = firetrail.JSON(incompressible(4000))
		}
		m.a.fire(p, e)
	}
}

// step does one thing.
func (m *medley) step() {
	p := m.living[m.rand.IntN(len(m.living))]
	wait := time.Duration(1+m.rand.IntN(20)) * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	name := "wait"
	switch m.rand.IntN(12) {
	case 0, 1:
		name = "cut"
		m.broker.Cut()
	case 2, 3:
		name = "restore"
		require.NoError(m.t, m.broker.Restore())
	case 4, 5:
		mood := mood(m.rand.IntN(int(full) + 1))
		name = fmt.Sprint("disk ", mood)
		m.disk.set(mood)
	case 6:
		name = "disk works"
		m.disk.set(working)
	case 7:
		ack := []Ack{OnDisk, OnBroker}[m.rand.IntN(2)]
		err := m.a.emit(ctx, p, event("emitted", 1), ack)
		name = fmt.Sprint("emit ", ack, ": ", err)
	case 8:
		name = fmt.Sprint("flush: ", p.Flush(ctx))
	case 9:
		name = "close, open"
		m.close(ctx, p)
		if len(m.living) == 0 || m.rand.IntN(2) == 0 {
			m.open()
		}
	case 10:
		if len(m.living) < 2 {
			name = "open another"
			m.open()
		}
	}
	<-ctx.Done()
	m.steps = append(m.steps, name)
}

// open starts a producer on the directory, whatever the disk does.
func (m *medley) open() {
	p := m.a.start()
	p.saveFor = 200 * time.Millisecond
	m.living = append(m.living, p)
}

// close closes a producer, within ctx, while others may still fire at it.
func (m *medley) close(ctx context.Context, p *Producer) {
	if err := p.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		m.steps = append(m.steps, err.Error())
	}
	for i, l := range m.living {
		if l == p {
			m.living = append(m.living[:i:i], m.living[i+1:]...)
			return
		}
	}
}

// end mends everything, ships what is left, and settles.
func (m *medley) end() {
	m.disk.set(working)
	require.NoError(m.t, m.broker.Restore())
	for _, p := range m.a.producers {
		_ = shut(p, time.Minute) // what it gave up is counted
		<-p.closed
	}
	found := m.a.find(m.broker.Addrs())
	last := m.a.start()
	defer func() {
		if m.t.Failed() {
			m.t.Logf("the last run: %+v", last.Stats())
		}
	}()
	require.Eventually(m.t, func() bool {
		s := last.Stats()
		return s.Recovered >= uint64(len(found.log)) && s.Backlog == 0 && s.Dir.Waiting.Files == 0
	}, 15*time.Second, 5*time.Millisecond, "%d left in logs, %d waiting", len(found.log), len(found.waiting))
	require.NoError(m.t, shut(last, time.Minute))
	require.Zero(m.t, last.Stats().Unprotected)
	found = m.a.check(m.broker.Addrs())
	require.Empty(m.t, found.log)
	require.Empty(m.t, found.waiting)
	require.NotEmpty(m.t, found.broker)
	for _, p := range m.a.producers {
		require.Zero(m.t, p.Stats().Dropped[DropLost], "a disk that only refuses loses nothing")
	}
}
