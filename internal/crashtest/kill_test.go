//go:build unix

package crashtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/internal/embedded"
	"github.com/firetrail/firetrail/internal/smalldisk"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/wal"
)

// killRounds is the variable that says how many children to kill in all; default 34.
const killRounds = "FIRETRAIL_KILL_ROUNDS"

// ordeal is what a trail's children go through.
type ordeal struct {
	share  int // of a hundred rounds
	rate   int // events a second; 0 is flat out
	ring   int
	strict bool // nothing may be unprotected
	away   bool // the broker, for much of the time
	stop   bool // SIGSTOP and SIGCONT before the kill
	full   bool // the disk, nearly
	term   bool // SIGTERM before the kill, upon which it closes, and ends by itself if it has the time
}

var ordeals = map[string]ordeal{
	"flat out":         {share: 25, ring: 16 << 20},
	"small ring":       {share: 10, ring: 256 << 10},
	"20k a second":     {share: 25, ring: 16 << 20, rate: 20_000, strict: true},
	"broker away":      {share: 12, ring: 4 << 20, away: true},
	"terminated":       {share: 10, ring: 16 << 20, strict: true, term: true},
	"stopped":          {share: 10, ring: 4 << 20, rate: 20_000, stop: true},
	"disk nearly full": {share: 8, ring: 256 << 10, full: true},
}

// TestKill9 kills processes that fire, at random moments, and opens their directory again and again, at times
// two at once. At the end a last run ships what is left, and every event whose Fire had returned is at the
// broker, but for those that were counted as unprotected or dropped.
func TestKill9(t *testing.T) {
	rounds := 34
	if s := os.Getenv(killRounds); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for name, o := range ordeals {
		t.Run(name, func(t *testing.T) {
			var sum tally
			n := max(2, rounds*o.share/100)
			for done := 0; done < n; {
				trail := newTrail(t, o)
				some := min(n-done, 12) // a broker in the process keeps it all in memory
				for range some {
					trail.round(t)
				}
				trail.end(t, &sum)
				done += some
			}
			t.Logf("%d rounds: %v", n, sum)
			require.Positive(t, sum.fired)
			if o.strict {
				require.Zero(t, sum.unprotected)
				require.True(t, o.term || sum.dropped == 0) // those fired after Close are
			}
		})
	}
}

// trail is a directory and a topic, and those who lived on them.
type trail struct {
	o      ordeal
	dir    string
	broker *embedded.Broker // nil where it is a real one
	addrs  []string
	topic  string
	lives  []testenv.Witness
	disk   *smalldisk.Disk
}

func newTrail(t *testing.T, o ordeal) *trail {
	tr := &trail{o: o, dir: t.TempDir()}
	if testenv.Real && !o.away {
		tr.addrs = testenv.Broker(t)
		tr.topic = testenv.Topic(t, tr.addrs, 4)
	} else {
		var err error
		tr.topic = producer.DefaultTopic
		tr.broker, err = embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: tr.topic, Partitions: 4}}})
		require.NoError(t, err)
		t.Cleanup(func() { _ = tr.broker.Close() })
		tr.addrs = tr.broker.Addrs()
	}
	if o.full {
		tr.disk = smalldisk.Mount(t, tr.dir, 24)
	}
	return tr
}

// life returns the settings of another child.
func (tr *trail) life(t *testing.T) life {
	n := len(tr.lives)
	l := life{
		Number: n, Witness: filepath.Join(t.TempDir(), "witness"), Dir: filepath.Join(tr.dir, "producer"),
		Brokers: tr.addrs, Topic: tr.topic, Rate: tr.o.rate / goroutines, Most: 8000, Ring: tr.o.ring,
	}
	w, err := testenv.OpenWitness(l.Witness, maxEvents)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.Close() })
	tr.lives = append(tr.lives, w)
	return l
}

// round is one or two children and their ends.
func (tr *trail) round(t *testing.T) {
	if tr.o.away && rand.IntN(2) == 0 {
		tr.broker.Cut()
	}
	children := []*child{startChild(t, tr.life(t))}
	if rand.IntN(4) == 0 {
		children = append(children, startChild(t, tr.life(t)))
	}
	for _, c := range children {
		if rand.IntN(4) > 0 { // else it may be killed while it opens the log
			c.awaitUp(t)
		}
		c.wait(rand.N(60 * time.Millisecond))
		if tr.o.away {
			tr.toggle(t)
			c.wait(rand.N(30 * time.Millisecond))
		}
		if tr.o.full {
			if !tr.disk.Empty(t) {
				tr.disk.Fill(t)
			}
			c.wait(rand.N(30 * time.Millisecond))
		}
		if tr.o.stop {
			c.signal(t, syscall.SIGSTOP)
			c.wait(rand.N(50 * time.Millisecond))
			if rand.IntN(3) > 0 { // else it is killed as it stands
				c.signal(t, syscall.SIGCONT)
				c.wait(rand.N(30 * time.Millisecond))
			}
		}
		if tr.o.term {
			c.awaitUp(t)
			c.signal(t, syscall.SIGTERM)
			c.wait(rand.N(80 * time.Millisecond))
		}
		c.kill(t, tr.o.term)
	}
}

// toggle cuts the broker off, or brings it back.
func (tr *trail) toggle(t *testing.T) {
	if rand.IntN(2) == 0 {
		tr.broker.Cut()
		return
	}
	require.NoError(t, tr.broker.Restore())
}

// end ships what is left, and settles.
func (tr *trail) end(t *testing.T, sum *tally) {
	if tr.broker != nil {
		require.NoError(t, tr.broker.Restore())
	}
	if tr.o.full {
		tr.disk.Empty(t)
		tr.disk.Grow(t, 256) // for all that is there, and as much again
	}
	letters := tr.drain(t)
	arrived := ledger{}
	// What waited as a letter, because the log was full, comes when it comes.
	records(t, tr.addrs, tr.topic, func(r *kgo.Record) { arrived.add(t, r, !letters) })
	for n, w := range tr.lives {
		arrived.settle(t, n, w.Fates(), sum)
	}
	if tr.broker != nil {
		require.NoError(t, tr.broker.Close())
	}
}

// drain runs a producer until nothing is left of those before it, and reports whether there were letters.
func (tr *trail) drain(t *testing.T) (letters bool) {
	l := life{Dir: filepath.Join(tr.dir, "producer"), Brokers: tr.addrs, Topic: tr.topic, Ring: tr.o.ring}
	pending := tr.pending(t)
	p, err := producer.New(l.config())
	require.NoError(t, err)
	// One slot is its own, and it adopts the others.
	require.Eventually(t, func() bool {
		s := p.Stats()
		letters = letters || s.Dir.Waiting.Letters > 0 || s.Dir.Delivered > 0
		return s.Recovered >= pending && s.Backlog == 0 && s.Dir.Waiting.Files == 0
	}, time.Minute, 5*time.Millisecond, "%d left: %+v", pending, p.Stats())
	require.NoError(t, p.Flush(within(t, time.Minute)))
	s := p.Stats()
	require.Equal(t, pending, s.Recovered)
	require.Zero(t, s.DroppedEvents(), "%v", s.Dropped)
	require.Zero(t, s.Dir.Dead.Letters+s.Dir.Damaged.Files)
	require.NoError(t, p.Close(within(t, time.Minute)))
	require.Zero(t, tr.pending(t), "something is left in a log")
	return letters
}

// pending is how many records the logs hold, when nobody has them open.
func (tr *trail) pending(t *testing.T) (n uint64) {
	slots, err := filepath.Glob(filepath.Join(tr.dir, "producer", "crash", "[0-9]*"))
	require.NoError(t, err)
	for _, slot := range slots {
		r, err := wal.Inspect(wal.Config{Dir: slot}, nil)
		require.NoError(t, err)
		require.Empty(t, r.Missing)
		n += r.Pending
	}
	return n
}

// child is a running one.
type child struct {
	cmd *exec.Cmd
	in  io.Closer // closed by our own end, whereupon it ends too
	up  chan error
}

func startChild(t *testing.T, l life) *child {
	setting, err := json.Marshal(l)
	require.NoError(t, err)
	c := &child{cmd: exec.Command(os.Args[0]), up: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), childSetting+"="+string(setting))
	c.cmd.Stderr = os.Stderr
	c.in, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err == nil && line != "up\n" {
			err = fmt.Errorf("the child said %q", line)
		}
		c.up <- err
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

func (c *child) awaitUp(t *testing.T) {
	select {
	case err := <-c.up:
		require.NoError(t, err)
		c.up <- nil // for whoever asks again
	case <-time.After(time.Minute):
		require.Fail(t, "the child does not come up")
	}
}

func (c *child) wait(d time.Duration) { <-time.After(d) }

func (c *child) signal(t *testing.T, s syscall.Signal) { require.NoError(t, c.cmd.Process.Signal(s)) }

func (c *child) kill(t *testing.T, mayHaveEnded bool) {
	err := c.cmd.Process.Signal(syscall.SIGKILL)
	require.True(t, err == nil || mayHaveEnded, "%v", err)
	_ = c.cmd.Wait() // it says how it ended
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	killed, ended := status.Signaled() && status.Signal() == syscall.SIGKILL, status.Exited() && status.ExitStatus() == 0
	require.True(t, killed || ended && mayHaveEnded, "the child ended by itself: %v", c.cmd.ProcessState)
}
