//go:build integration && unix

package chaos

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// state is what a process is in.
type state int

const (
	up       state = iota
	standing       // by SIGSTOP, or the database locked
	down           // killed
	ending         // told to end
	starting
)

// stage is a target and its state.
type stage struct {
	target
	program *program // nil for brokers and the database
	state   state
	again   bool       // it is to be started when it has ended
	started chan error // while it is starting
}

// step is the beginning or the end of a fault.
type step struct {
	at    time.Duration
	fault *fault
	begin bool
}

// play does what the plan says, and leaves everything running.
func (r *run) play(t *testing.T) {
	var steps []step
	faults := plan(r.seed, r.duration, r.options.database)
	for i := range faults {
		f := &faults[i]
		steps = append(steps, step{f.at, f, true}, step{f.until, f, false})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	done := map[*fault]bool{}
	begun := time.Now()
	for _, s := range steps {
		r.await(t, begun.Add(s.at))
		st := r.stages[s.fault.what][s.fault.which]
		switch {
		case !s.begin && done[s.fault]:
			r.undo(t, st)
		case s.begin && r.may(s.fault, st):
			t.Logf("%6.1f s: %v", time.Since(begun).Seconds(), s.fault)
			r.do(t, s.fault, st)
			done[s.fault] = true
			r.did(*s.fault)
		case s.begin:
			r.Skipped++
		}
	}
	r.await(t, begun.Add(r.duration))
	require.Eventually(t, func() bool { return r.supervise(t) }, 5*time.Minute, 50*time.Millisecond, "not all is up: %s", r)
	require.NoError(t, r.faults.Wait())
}

// may says whether the process is there for the fault, and no other broker is away unless that is meant.
func (r *run) may(f *fault, st *stage) bool {
	if st.state != up {
		return false
	}
	if f.what == aBroker && !f.beside {
		return !slices.ContainsFunc(r.stages[aBroker], func(other *stage) bool { return other.state != up })
	}
	return true
}

func (r *run) do(t *testing.T, f *fault, st *stage) {
	switch f.how {
	case kill:
		st.kill(t)
		st.state = down
	case stop, lock:
		st.stop(t)
		st.state = standing
	case term:
		st.program.signal(t, syscall.SIGTERM)
		st.state, st.again = ending, false
	}
}

func (r *run) undo(t *testing.T, st *stage) {
	switch st.state {
	case down:
		r.begin(st)
	case standing:
		st.goOn(t)
		st.state = up
	case ending:
		st.again = true
	}
}

// begin starts a process again: a program at once, a server beside the rest, since it takes a while.
func (r *run) begin(st *stage) {
	st.state, st.started = starting, make(chan error, 1)
	if st.program != nil {
		st.started <- st.restart()
		return
	}
	r.faults.Go(func() error {
		st.started <- st.restart()
		return nil
	})
}

// await lets time pass, and has an eye on the processes.
func (r *run) await(t *testing.T, until time.Time) {
	for {
		r.supervise(t)
		left := time.Until(until)
		if left <= 0 {
			return
		}
		<-time.After(min(left, 50*time.Millisecond))
	}
}

// supervise notes what has come up, and what has ended without being told to, which it starts again. It says whether all
// are up.
func (r *run) supervise(t *testing.T) (all bool) {
	all = true
	for _, stages := range r.stages {
		for _, st := range stages {
			if st.state == starting {
				select {
				case err := <-st.started:
					require.NoError(t, err)
					st.state = up
				default:
				}
			}
			if p := st.program; p != nil && (st.state == up || st.state == ending) {
				if over, err := p.over(); over {
					if st.state == up || err != nil {
						r.problem("%s ended by itself (%v), or not well: %s", p.name, err, p.tail())
					}
					st.state, st.again = down, true
				}
			}
			if st.state == down && st.again {
				st.again = false
				r.begin(st)
			}
			all = all && st.state == up
		}
	}
	return all
}

// String says what is not up.
func (r *run) String() string {
	var out []string
	for what, stages := range r.stages {
		for i, st := range stages {
			if st.state != up {
				out = append(out, fmt.Sprintf("%s %d: %d", what, i, st.state))
			}
		}
	}
	return strings.Join(out, ", ")
}
