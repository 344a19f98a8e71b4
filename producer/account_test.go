package producer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// account follows the events that are given to the producers of one namespace, and says in the end whether each is
// where it should be. It knows them by a key of its own, which it puts where nothing cuts it.
type account struct {
	t     testing.TB
	cfg   Config
	told  dropped
	twice bool // an event may be in two places: what failed may have arrived all the same
	// unsure says that so may one that was dropped, and counted, because nobody knew.
	unsure bool
	late   bool // events were fired after Close: their drops are in Stats alone
	// elsewhere is how many were fired by another process.
	elsewhere uint64

	mu        sync.Mutex
	fired     map[string]bool // by key: whether it was taken
	producers []*Producer
}

func accountKey(n int) string { return fmt.Sprintf("account-%09d", n) }

var keyPattern = regexp.MustCompile(`account-\d{9}`)

// open returns the account of a config, whose OnDrop it takes.
func openAccount(t testing.TB, cfg Config) *account {
	a := &account{t: t, cfg: cfg, fired: map[string]bool{}}
	a.cfg.OnDrop = a.told.add
	return a
}

// start starts a producer with the account's config, changed as wanted.
func (a *account) start(change ...func(*Config)) *Producer {
	cfg := a.cfg
	for _, c := range change {
		c(&cfg)
	}
	p := start(a.t, cfg)
	a.producers = append(a.producers, p)
	return p
}

// brokersAway is a config whose broker is nowhere.
func brokersAway(cfg *Config) { cfg.Kafka.Brokers = []string{"127.0.0.1:1"} }

// mark gives the event its key.
func (a *account) mark(e firetrail.Event, taken bool) firetrail.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := accountKey(len(a.fired))
	a.fired[key] = taken
	e.Entity.ID = key
	return e
}

func (a *account) fire(p *Producer, e firetrail.Event) {
	p.Fire(context.Background(), a.mark(e, true))
}

// many fires n events of some tenants.
func (a *account) many(p *Producer, n int) {
	for i := range n {
		a.fire(p, event(fmt.Sprint("t", i%3), i))
	}
}

// emit emits an event, which counts as taken as the error says.
func (a *account) emit(ctx context.Context, p *Producer, e firetrail.Event, ack Ack) error {
	e = a.mark(e, true)
	err := p.Emit(ctx, e, ack)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fired[e.Entity.ID] = taken(err)
	return err
}

// places are the keys of the events found, by where.
type places struct{ broker, log, waiting, dead map[string]int }

// check closes every producer and sees to it that each event taken is in exactly one of broker, log, letters and
// counted drops, that no other is anywhere, and that the drops that were told are those that were counted. addrs
// is where the broker is by now.
func (a *account) check(addrs []string) (found places) {
	a.t.Helper()
	told := map[DropReason]uint64{}
	counted, count := map[DropReason]uint64{}, uint64(0)
	fired := a.elsewhere
	for _, p := range a.producers {
		_ = shut(p, 20*time.Second) // it says what it gave up, which is counted
		<-p.closed
		s := p.Stats()
		fired += s.Fired
		for r, n := range s.Dropped {
			count += n
			if r != DropClosed { // those after Close are in Stats alone
				counted[r] += n
			}
		}
	}
	a.told.mu.Lock()
	for r, n := range a.told.n {
		if r != DropClosed {
			told[r] = n
		}
	}
	a.told.mu.Unlock()
	if !a.late {
		require.Equal(a.t, counted, told, "what was told is what was counted")
	}

	found = a.find(addrs)
	var taken, kept uint64
	for key, is := range a.fired {
		at := found.broker[key] + found.log[key] + found.waiting[key] + found.dead[key]
		where := fmt.Sprintf("%s: broker %d, log %d, waiting %d, dead %d", key, found.broker[key], found.log[key], found.waiting[key], found.dead[key])
		if !is {
			require.Zero(a.t, at, "not taken, but %s", where)
			continue
		}
		taken++
		if at > 0 {
			kept++
		}
		require.True(a.t, at <= 1 || a.twice, where)
	}
	require.Equal(a.t, taken, fired, "Stats.Fired")
	if a.unsure {
		require.LessOrEqual(a.t, taken, kept+count, "%d are somewhere, and these drops were counted: %v", kept, counted)
		return found
	}
	require.Equal(a.t, taken, kept+count, "%d are somewhere, and these drops were counted: %v", kept, counted)
	return found
}

func (a *account) find(addrs []string) places {
	found := places{map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}}
	eachRecord(a.t, addrs, a.topic(), func(r *kgo.Record) { note(found.broker, r.Value) })
	if a.cfg.Dir == "" {
		return found
	}
	root := filepath.Join(a.cfg.Dir, a.cfg.Namespace)
	slots, err := os.ReadDir(root)
	if err != nil {
		return found // nobody could make it
	}
	for _, slot := range slots {
		if slot.Name() == "dlq" || !slot.IsDir() {
			continue
		}
		c := a.cfg.WAL
		c.Dir, c.FS = filepath.Join(root, slot.Name()), nil
		_, err := wal.Inspect(c, func(r wal.Record) { note(found.log, r.Payload) })
		require.NoError(a.t, err)
	}
	if i, err := os.Stat(filepath.Join(root, "dlq")); err != nil || !i.IsDir() {
		return found
	}
	for kind, letters := range readLetters(a.t, a.cfg) {
		for _, l := range letters {
			if kind == dlq.Waiting {
				note(found.waiting, l.Value)
			} else {
				note(found.dead, l.Value)
			}
		}
	}
	return found
}

func (a *account) topic() string {
	if a.cfg.Topic == "" {
		return DefaultTopic
	}
	return a.cfg.Topic
}

func note(in map[string]int, b []byte) {
	if key := keyPattern.Find(b); key != nil {
		in[string(key)]++
	}
}

// taken reports whether an error of Emit says that the event was taken.
func taken(err error) bool {
	return err == nil || errors.Is(err, ErrPending) || errors.Is(err, ErrRefused) || errors.Is(err, errLost)
}
