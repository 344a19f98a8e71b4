package consumer

import (
	"context"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// strikes is how often a row must fail by itself, with proof each time that the sink stores other things,
// until it is poison; once is enough where the sink itself calls the error permanent.
const strikes = 3

// suspects are rows that failed by themselves. They wait aside, so that the others go on; the mark of their
// partition waits with them. The zero value is empty. Only the writer uses it.
type suspects struct {
	rows    []*suspectRow
	backoff retry.Backoff
	due     time.Time // when to try them again; zero when there are none
}

type suspectRow struct {
	b       *batch // of one row
	err     error
	strikes int
}

func (s *suspects) add(b *batch, err error, proof bool, r Retry) {
	row := &suspectRow{b: b, err: err}
	row.strike(err, proof)
	s.rows = append(s.rows, row)
	s.schedule(r)
}

func (r *suspectRow) strike(err error, proof bool) {
	r.err = err
	if proof {
		r.strikes++
	}
}

func (r *suspectRow) guilty() bool {
	return r.strikes >= strikes || r.strikes > 0 && sinkers.IsPermanent(r.err)
}

func (s *suspects) isDue() bool { return !s.due.IsZero() && !time.Now().Before(s.due) }

// schedule sets the time of the next try. The delays begin anew when there were no suspects.
func (s *suspects) schedule(r Retry) {
	if len(s.rows) == 0 {
		s.due, s.backoff = time.Time{}, nil
		return
	}
	if s.backoff == nil {
		s.backoff = r.outage()
	}
	if s.due.IsZero() || s.isDue() {
		next, _ := s.backoff.Next()
		s.due = time.Now().Add(next)
	}
}

// convict makes letters of the suspects whose guilt is proved.
func (w *writer) convict() {
	rest := w.suspect.rows[:0]
	for _, row := range w.suspect.rows {
		if !row.guilty() {
			rest = append(rest, row)
		} else if b := w.flow.hold(row.b); b != nil {
			w.letter(b, dlq.ReasonRefused, row.err)
		}
	}
	clear(w.suspect.rows[len(rest):])
	w.suspect.rows = rest
	w.suspect.schedule(w.cfg.Retry)
	w.stats.count(func(s *Stats) { s.Suspects = len(rest) })
}

// retrySuspects tries each suspect once more, by itself. It stops when the sink is away: that says nothing of
// the rows, and the next batch will deal with it.
func (w *writer) retrySuspects(ctx context.Context) {
	rows := w.suspect.rows
	w.suspect.rows = nil
	for i, row := range rows {
		b := w.flow.hold(row.b)
		if b == nil {
			continue
		}
		rest, err := w.store.attempt(ctx, b, w)
		if rest == nil {
			continue
		}
		w.flow.release(rest)
		if probeErr := w.store.probe(ctx, rest); probeErr != nil || ctx.Err() != nil {
			w.suspect.rows = append(w.suspect.rows, rows[i:]...)
			break
		}
		if proof := w.store.proof(rest); proof {
			row.strike(err, true)
			rest.seen = w.store.fresh.Load()
		}
		row.b = rest
		w.suspect.rows = append(w.suspect.rows, row)
	}
	w.convict()
}
