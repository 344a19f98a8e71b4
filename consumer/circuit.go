package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/sethvargo/go-retry"
)

// CircuitState says whether a database is written to.
type CircuitState string

// The states.
const (
	CircuitClosed   CircuitState = "closed"    // it is, as far as is known
	CircuitOpen     CircuitState = "open"      // it is away: nothing is sent to it until it is time to ask again
	CircuitHalfOpen CircuitState = "half_open" // it is being asked whether it is back
)

// Circuit is how a database stands.
type Circuit struct {
	State  CircuitState
	Reason string    // why it isn't closed
	Since  time.Time // since when it isn't; zero while it is closed, and has always been
}

// circuit is the breaker between a writer and its database. It opens when the tries of a batch are used up and the
// search for rows at fault comes to the conclusion that the database is away; from time to time, at delays that
// double, it is half-open: the database is asked by a small probe, and the batch that was kept is sent again only
// when that is answered. What is stored of it closes the circuit. Only the writer uses it.
type circuit struct {
	Circuit
	retry   Retry
	backoff retry.Backoff
	// answered is how often in turn the database answered the probe and yet stored nothing of the batch.
	answered int
}

func newCircuit(r Retry) circuit { return circuit{Circuit: Circuit{State: CircuitClosed}, retry: r} }

func (c *circuit) isClosed() bool { return c.State == CircuitClosed }

// patient reports whether a database that answers and stores nothing has been waited for long enough.
func (c *circuit) patient() bool { return c.answered >= patience }

// open opens the circuit, for the reason and the time it returns. It reports whether it was closed before.
func (c *circuit) open(why error) (next time.Duration, tripped bool) {
	if tripped = c.isClosed(); tripped {
		c.Since, c.backoff, c.answered = time.Now(), c.retry.outage(), 0
	}
	c.State, c.Reason = CircuitOpen, why.Error()
	next, _ = c.backoff.Next()
	return next, tripped
}

// ask asks the database, half-open, whether it is back.
func (c *circuit) ask(ctx context.Context, s *store) error {
	c.State = CircuitHalfOpen
	if err := s.reach(ctx); err != nil {
		c.answered = 0
		return err
	}
	c.answered++
	return nil
}

// close closes the circuit and reports whether it was open.
func (c *circuit) close() (was bool) {
	was = !c.isClosed()
	*c = newCircuit(c.retry)
	return was
}

// reach asks the sink, by a probe of next to no size, or by a ping where it has none, whether there is any use in writing.
func (s *store) reach(ctx context.Context) error {
	err := s.probe(ctx, &batch{bytes: 1})
	if err != nil || s.probes() {
		return err
	}
	ctx, cancel := s.retry.writeContext(ctx)
	defer cancel()
	if err = s.sink.Ping(ctx); err != nil && context.Cause(ctx) != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	return err
}

// tripped counts an opened circuit.
func (c *counters) tripped() { c.count(func(s *Stats) { s.CircuitTrips++ }) }

// show shows the circuit of the one database.
func (w *writer) show() { w.stats.count(func(s *Stats) { s.Circuit = w.circuit.Circuit }) }

// waitOut opens the circuit and pauses the fetching until the database answers; it returns false if soft ends
// before that.
func (w *writer) waitOut(soft, hard context.Context, why error) bool {
	for why != nil {
		next, tripped := w.circuit.open(why)
		if tripped {
			w.stats.tripped()
		}
		w.show()
		w.pause(why)
		if sleepOr(soft, next, nil) != nil {
			return false
		}
		w.circuit.State = CircuitHalfOpen
		w.show()
		why = w.circuit.ask(hard, w.store)
	}
	return true
}

// closeCircuit ends the outage, if there is one.
func (w *writer) closeCircuit() {
	if w.circuit.close() {
		w.show()
	}
	w.resume()
}
