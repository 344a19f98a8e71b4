package consumer

import (
	"context"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// strikes is how often a row must fail by itself, with other new events stored between the times, until it is
// poison; once is enough where the sink calls the error permanent. Where nothing but probes is stored,
// it takes as many as patience.
const strikes = 3

// suspects are rows that failed by themselves. They wait aside, so that the others go on; the mark of their
// partition waits with them. The zero value is empty. Only the writer uses it.
type suspects struct {
	rows    []*suspectRow
	backoff retry.Backoff
	due     time.Time // when to try them again; zero when there are none
	fresh   int64     // store.fresh when each was last tried by itself
}

type suspectRow struct {
	b      *batch // of one row
	err    error  // its last
	proved int    // failures with other events stored since the one before
	probed int    // failures with a probe stored
}

// add takes a row that has failed again.
func (s *suspects) add(r *suspectRow, err error, ev evidence, fresh int64) {
	r.err = err
	switch ev {
	case eventsStored:
		r.proved++
		r.b.seen = fresh
	case probeStored:
		r.probed++
	}
	s.rows = append(s.rows, r)
}

func (r *suspectRow) guilty() bool {
	return r.proved >= strikes || r.proved > 0 && sinkers.IsPermanent(r.err) || r.proved+r.probed >= patience
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
	more := len(rest) - w.counted
	w.counted = len(rest)
	w.stats.count(func(s *Stats) { s.Suspects += more })
}

// retrySuspects tries the suspects once more: together, in case the fault was not theirs, and then each by itself.
// It stops when the sink is away: that says nothing of the rows, and the next batch will deal with it.
// Without a probe nobody can say that, and it waits until something new was stored.
func (w *writer) retrySuspects(ctx context.Context) {
	rows := w.suspect.rows
	w.suspect.rows = nil
	defer w.convict()
	if len(rows) > 1 {
		rows = w.tryTogether(ctx, rows)
	}
	fresh := w.store.fresh.Load()
	if !w.store.probes() && fresh == w.suspect.fresh && len(rows) > 1 {
		w.suspect.rows = rows // no proof could come of it
		return
	}
	w.suspect.fresh = fresh
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
		if row.b = rest; w.store.probe(ctx, rest) != nil || ctx.Err() != nil {
			w.suspect.rows = append(w.suspect.rows, rows[i:]...)
			return
		}
		w.suspect.add(row, err, w.store.evidence(rest), w.store.fresh.Load())
	}
}

// tryTogether writes all suspects in one batch, and returns those for which that was not the end.
func (w *writer) tryTogether(ctx context.Context, rows []*suspectRow) (left []*suspectRow) {
	batches := make([]*batch, len(rows))
	for i, row := range rows {
		batches[i] = row.b
	}
	b := w.flow.hold(join(batches))
	if b == nil {
		return nil
	}
	rest, _ := w.store.attempt(ctx, b, w)
	if rest == nil {
		return nil
	}
	w.flow.release(rest)
	still := map[item]bool{}
	for _, it := range rest.items {
		still[it] = true
	}
	for _, row := range rows {
		if still[row.b.items[0]] {
			left = append(left, row)
		}
	}
	return left
}
