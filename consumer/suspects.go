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
// partition waits with them. So does what comes with the id of one, since of several with one id the first is to be
// stored: it stays in the account of the memory, which holds up its partition if it is much, and is written when that row's
// fate is known. The zero value is empty. Only the writer uses it.
type suspects struct {
	rows    []*suspectRow
	open    undecided         // of rows
	behind  []*batch          // what waits for one of rows, in order, or for its turn after it; of each history one
	ids     map[eventKey]bool // of behind
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

// undecided are rows of which nobody knows yet whether they can be stored. Others with their ids must not come before them.
type undecided map[eventKey]item

func (u *undecided) add(b *batch) {
	if *u == nil {
		*u = undecided{}
	}
	for i := range b.items {
		(*u)[b.key(i)] = b.items[i]
	}
}

// bars reports whether row i of b has the id of such a row, and isn't it.
func (u undecided) bars(b *batch, i int) bool {
	it, ok := u[b.key(i)]
	return ok && it != b.items[i]
}

// pass returns what of b they don't bar.
func (u undecided) pass(b *batch) *batch {
	return b.only(func(i int) bool { return !u.bars(b, i) })
}

// aside keeps what of b must wait, and returns the others and that, which is nil where there is none.
func (s *suspects) aside(b *batch) (ready, waits *batch) {
	if len(s.open) == 0 && len(s.behind) == 0 {
		return b, nil
	}
	ready, waits = b.divide(func(i int) bool {
		if it, ok := s.open[b.key(i)]; ok {
			return it != b.items[i]
		}
		return s.ids[b.key(i)]
	})
	if waits != nil {
		s.wait(waits)
	}
	return ready, waits
}

// wait has b wait behind all that does.
func (s *suspects) wait(b *batch) {
	if s.ids == nil {
		s.ids = map[eventKey]bool{}
	}
	for i := range b.items {
		s.ids[b.key(i)] = true
	}
	if last := len(s.behind) - 1; last >= 0 && s.behind[last].sharesHistory(b) {
		s.behind[last].append(b)
		return
	}
	part := *b
	part.whole = false
	s.behind = append(s.behind, &part)
}

// ready reports whether something waits for its turn alone.
func (s *suspects) ready() bool {
	for k := range s.ids {
		if _, ok := s.open[k]; !ok {
			return true
		}
	}
	return false
}

// turn takes out all that waits. What still has to is put aside again when it is to be written.
func (s *suspects) turn() []*batch {
	behind := s.behind
	s.behind, s.ids = nil, nil
	return behind
}

// add takes a row that has failed again. It may wait for minutes, and for no more of its batch than it is.
func (s *suspects) add(r *suspectRow, err error, ev evidence, fresh int64) {
	r.b, r.err = r.b.clone(), err
	s.open.add(r.b)
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
	if len(s.rows) == 0 && len(s.behind) == 0 {
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

// convict makes letters of the suspects whose guilt is proved. What waits for a row whose fate is known has its turn now.
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
	before := len(w.suspect.open)
	w.suspect.open = nil
	for _, row := range rest {
		w.suspect.open.add(row.b)
	}
	w.suspect.schedule(w.cfg.Retry)
	if len(w.suspect.open) < before && w.suspect.ready() {
		w.suspect.due = time.Now()
	}
	more := len(rest) - w.counted
	w.counted = len(rest)
	w.stats.count(func(s *Stats) { s.Suspects += more })
}

// retrySuspects tries the suspects once more, and then what waited for those of them whose fate is known.
func (w *writer) retrySuspects(ctx context.Context) {
	w.retryAccused(ctx)
	w.convict()
	turn := w.suspect.turn()
	for n, b := range turn {
		if rest := w.writeWaiting(ctx, b); rest != nil { // the sink is away
			for _, b := range append([]*batch{rest}, turn[n+1:]...) {
				w.suspect.wait(b)
			}
			break
		}
	}
	if turn != nil {
		w.convict()
	}
}

// writeWaiting writes what has waited for others, and returns what is left of it. What can't be stored by itself is a suspect
// then, as it would have been without the waiting.
func (w *writer) writeWaiting(ctx context.Context, b *batch) (rest *batch) {
	if b = w.flow.hold(b); b == nil {
		return nil
	}
	rest, err := w.store.attempt(ctx, b, w)
	if rest != nil {
		rest, _ = w.store.isolate(ctx, rest, err, w, w.circuit.patient())
	}
	if rest != nil {
		w.flow.release(rest)
	}
	return rest
}

// retryAccused tries the suspects: together, in case the fault was not theirs, and then each by itself.
// It stops when the sink is away: that says nothing of the rows, and the next batch will deal with it.
// Without a probe nobody can say that, and it waits until something new was stored.
func (w *writer) retryAccused(ctx context.Context) {
	rows := w.suspect.rows
	w.suspect.rows = nil
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
