package producer

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
)

// flight is a record on its way to the broker.
type flight struct {
	rec   kgo.Record
	arena *arena // that holds its bytes; nil: they have memory of their own
	to    *destination
	seq   uint64
	size  int // of the event, in bytes
	id    firetrail.ID
	alone bool
	held  *held // where it is counted; nil: it isn't
	err   error
}

// rendered is how many bytes its record has.
func (f *flight) rendered() int { return len(f.rec.Key) + len(f.rec.Value) }

// landing takes what the client's promises say. All of them run on one goroutine, and nothing there may wait: not for
// Config.OnAcknowledged, nor for a lock that Fire takes.
type landing struct {
	mu      sync.Mutex
	change  *sync.Cond
	flights []*flight
	closed  bool
}

func newLanding() *landing {
	l := &landing{}
	l.change = sync.NewCond(&l.mu)
	return l
}

func (l *landing) add(f *flight) {
	l.mu.Lock()
	l.flights = append(l.flights, f)
	first := len(l.flights) == 1
	l.mu.Unlock()
	if first {
		l.change.Signal()
	}
}

// take waits for flights and returns them, in order; none where the landing is closed. It reuses what it returned before.
func (l *landing) take(reuse []*flight) []*flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.flights) == 0 && !l.closed {
		l.change.Wait()
	}
	taken := l.flights
	clear(reuse)
	l.flights = reuse[:0]
	return taken
}

func (l *landing) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.change.Signal()
}

// land counts what was acknowledged, tells of it, and has the log release it.
func (s *shipper) land() {
	var flights []*flight
	for {
		if flights = s.landing.take(flights); len(flights) == 0 {
			return
		}
		for _, f := range flights {
			if f.err == nil {
				s.count(f.seq, f.id)
				f.held.giveBack(f.size)
			}
			s.arenas.giveBack(f.arena, f.rendered(), f.err == nil)
			if f.err == nil { // else the client may still be reading it
				f.rec, f.arena = kgo.Record{}, nil // flights lie side by side, and one that stays keeps those beside it
			}
		}
		s.release(s.window.landed(flights))
	}
}

// count counts an acknowledged record. A source's end has no id here, and nobody fired it.
func (s *shipper) count(seq uint64, id firetrail.ID) {
	recovered := seq <= s.recovered
	switch {
	case recovered:
		s.p.reshipped.Add(1)
	case !id.IsZero():
		s.p.shipped.Add(1)
	}
	if f := s.p.cfg.OnAcknowledged; f != nil && !id.IsZero() {
		s.p.telling.Lock()
		defer s.p.telling.Unlock()
		f(id, recovered)
	}
}
