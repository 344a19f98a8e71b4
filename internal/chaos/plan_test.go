package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is there to be killed: three of each but the database.
const (
	aBroker   = "broker"
	aWorker   = "worker"
	aProducer = "producer"
	aDatabase = "database"
)

// What is done to it.
const (
	kill = "kill" // kill -9, and a start later
	stop = "stop" // SIGSTOP, and SIGCONT later
	term = "term" // SIGTERM, and a start when it has ended
	lock = "lock" // another program holds the database's lock for a while
)

const (
	members = 3 // of brokers, workers, producers
	// dynamicWorker has no instance id: when it is killed, its partitions rest until its session times out.
	dynamicWorker  = 2
	sessionTimeout = 10 * time.Second
)

// fault is something that is done to a process, and undone.
type fault struct {
	at, until time.Duration
	what      string
	which     int
	how       string
	beside    bool // while another broker is down: then no partition takes anything
}

func (f fault) String() string {
	return fmt.Sprintf("%s %s %d from %v to %v", f.how, f.what, f.which, f.at.Round(time.Millisecond), f.until.Round(time.Millisecond))
}

// planner draws the faults of one kind of process.
type planner struct {
	*rand.Rand
	total    time.Duration
	database string
	faults   []fault
}

// plan draws the faults of a run: the same for the same seed.
func plan(seed uint64, total time.Duration, database string) []fault {
	var all []fault
	for stream, draw := range []func(*planner){(*planner).brokers, (*planner).workers, (*planner).producers, (*planner).databases} {
		p := &planner{Rand: rand.New(rand.NewPCG(seed, uint64(stream))), total: total, database: database}
		draw(p)
		all = append(all, p.faults...)
	}
	slices.SortStableFunc(all, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return all
}

func (p *planner) between(from, to time.Duration) time.Duration {
	return from + time.Duration(p.Int64N(int64(to-from)))
}

// pick draws one of several, as often as its weight says.
func (p *planner) pick(weights map[string]int) string {
	names, sum := make([]string, 0, len(weights)), 0
	for name, w := range weights {
		names, sum = append(names, name), sum+w
	}
	slices.Sort(names)
	n := p.IntN(sum)
	for _, name := range names {
		if n -= weights[name]; n < 0 {
			return name
		}
	}
	panic("no weights")
}

// add cuts a fault off at the end of the run.
func (p *planner) add(f fault) {
	f.until = min(f.until, p.total)
	if f.until > f.at {
		p.faults = append(p.faults, f)
	}
}

// brokers has one broker away at a time, which is what a topic of three copies stands without a pause; and now and then a
// second one.
func (p *planner) brokers() {
	for at := p.between(2*time.Second, 8*time.Second); at < p.total; {
		f := fault{at: at, what: aBroker, which: p.IntN(members), how: p.pick(map[string]int{kill: 6, stop: 4})}
		f.until = at + p.between(time.Second, 6*time.Second)
		if f.how == stop && p.IntN(3) == 0 {
			f.until += p.between(5*time.Second, 20*time.Second)
		}
		p.add(f)
		at = f.until
		if p.IntN(5) == 0 {
			g := fault{what: aBroker, which: (f.which + 1 + p.IntN(members-1)) % members, beside: true, how: p.pick(map[string]int{kill: 1, stop: 1})}
			g.at = f.at + p.between(300*time.Millisecond, 800*time.Millisecond)
			g.until = g.at + p.between(2*time.Second, 8*time.Second)
			p.add(g)
			at = max(at, g.until)
		}
		at += p.between(10*time.Second, 20*time.Second) // it starts, and catches up
	}
}

func (p *planner) workers() {
	last := map[int]time.Duration{}
	for at := p.between(time.Second, 4*time.Second); at < p.total; at += p.between(3*time.Second, 10*time.Second) {
		f := fault{at: at, what: aWorker, which: p.IntN(members), how: p.pick(map[string]int{kill: 6, stop: 4, term: 1})}
		f.until = at + p.between(0, 5*time.Second)
		switch {
		case f.how == stop && p.IntN(4) == 0: // its partitions go to the others, and what it has in hand is written twice
			f.until = at + sessionTimeout + p.between(2*time.Second, 10*time.Second)
		case f.how == stop:
			f.until += p.between(500*time.Millisecond, 6*time.Second)
		case f.how == kill && f.which == dynamicWorker && at > p.total-sessionTimeout-5*time.Second && at > 10*time.Second:
			f.which = p.IntN(members - 1) // the end would wait for the session
		}
		if f.at < last[f.which] {
			continue
		}
		last[f.which] = f.until + time.Second
		p.add(f)
	}
}

func (p *planner) producers() {
	last := map[int]time.Duration{}
	for at := p.between(time.Second, 4*time.Second); at < p.total; at += p.between(2*time.Second, 8*time.Second) {
		f := fault{at: at, what: aProducer, which: p.IntN(members), how: p.pick(map[string]int{kill: 6, stop: 3, term: 1})}
		f.until = at + p.between(0, 5*time.Second)
		if f.at < last[f.which] {
			continue
		}
		last[f.which] = f.until + time.Second
		p.add(f)
	}
}

func (p *planner) databases() {
	how := map[string]int{kill: 6, stop: 4}
	if p.database == useSQLite {
		how = map[string]int{lock: 1} // the rest befalls it with its worker
	}
	for at := p.between(4*time.Second, 12*time.Second); at < p.total; at += p.between(10*time.Second, 25*time.Second) {
		f := fault{at: at, what: aDatabase, how: p.pick(how)}
		f.until = at + p.between(500*time.Millisecond, 8*time.Second)
		p.add(f)
		at = f.until
	}
}

func TestPlan(t *testing.T) {
	for seed := range uint64(200) {
		for _, database := range []string{useClickHouse, useSQLite} {
			faults := plan(seed, 10*time.Minute, database)
			require.Equal(t, faults, plan(seed, 10*time.Minute, database))
			require.NotEqual(t, faults, plan(seed+1, 10*time.Minute, database))
			away := map[string]time.Duration{} // until when
			seen := map[string]int{}
			for _, f := range faults {
				require.Less(t, f.at, f.until)
				require.LessOrEqual(t, f.until, 10*time.Minute)
				seen[f.what+" "+f.how]++
				one := fmt.Sprint(f.what, f.which)
				require.GreaterOrEqual(t, f.at, away[one], "%v begins while it is away", f)
				away[one] = f.until
				if f.what != aBroker {
					continue
				}
				down := 0
				for i := range members {
					if away[fmt.Sprint(aBroker, i)] > f.at {
						down++
					}
				}
				if f.beside {
					require.LessOrEqual(t, down, 2, "%v", f)
				} else {
					require.Equal(t, 1, down, "%v", f)
				}
			}
			for _, what := range []string{"broker kill", "broker stop", "worker kill", "worker stop", "producer kill", "producer stop"} {
				require.Positive(t, seen[what], "seed %d: no %s", seed, what)
			}
		}
	}
}

// The databases.
const (
	useClickHouse = "clickhouse"
	useSQLite     = "sqlite"
)
