package clickhouse

import (
	"context"
	"math"
	"slices"

	"github.com/firetrail/firetrail/sinkers"
)

// Write implements sinkers.Sinker. The counts are exact while no other program writes the same rows at the same
// time; where one does, each may count a row as stored that will be one, and a conflict between the two is for
// FindConflicts. An error may mean that the server has the rows and its answer was lost; writing them again
// finds them then.
func (s *Sink) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return sinkers.Result{}, err
	}
	defer end()
	if len(b.Rows) == 0 {
		return sinkers.Result{}, nil
	}
	done, err := s.takeTurn(ctx)
	if err != nil {
		return sinkers.Result{}, s.fail(ctx, "write", err)
	}
	defer done()
	defer s.forget()
	res, err := s.write(ctx, b.Rows)
	s.note(ctx, err)
	if err != nil {
		return sinkers.Result{}, s.fail(ctx, "write", err)
	}
	return res, nil
}

// forget lets go of the memory of the rows of a write.
func (s *Sink) forget() {
	s.columns.reset()
	s.order.reset()
	clear(s.texts)
}

// note keeps an error that leaves no doubt, for Probe: its own table may still work.
func (s *Sink) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		s.outage.Store(nil)
	case ctx.Err() == nil && kindOf(err) == outage:
		s.outage.Store(&err)
	}
}

// write puts the rows in order, and has the server asked about them while it checks them and sends the insert, all but its end:
// nearly always none is there and none is refused, and then all that is left to do is to end it. Where it isn't so, the rows are chosen anew.
func (s *Sink) write(ctx context.Context, rows []sinkers.Row) (sinkers.Result, error) {
	s.order.sort(rows)
	asked := make(chan answer, 1)
	go func() { asked <- s.ask(ctx, rows) }()
	opened, res, err := s.expect(ctx, rows)
	a := <-asked // whatever went wrong, before anyone else has the rows
	if err == nil {
		err = a.err
	}
	if err != nil {
		opened.abort()
		return sinkers.Result{}, err
	}
	s.lucky = len(a.stored) == 0 && !a.guards.refusesAny(rows)
	if !s.lucky {
		opened.abort()
		opened = nil
		var refused []sinkers.LedgerEntry
		res, refused = s.choose(rows, &a)
		if err := s.appendLedger(ctx, refused); err != nil {
			return res, err
		}
		if res.Stored == 0 {
			return res, nil
		}
	}
	if opened == nil {
		if opened, err = s.openInsert(ctx, rows); err != nil {
			return res, s.suspect(err)
		}
	}
	return res, s.suspect(opened.Send())
}

// answer is what the server knows of the rows of a write.
type answer struct {
	guards guards
	stored map[key][16]byte // content hashes
	err    error
}

// ask asks for it, of rows in order. Looked up one by one are only those between others of their tenant that are stored.
func (s *Sink) ask(ctx context.Context, rows []sinkers.Row) (a answer) {
	var near []extent
	if a.guards, near, a.err = s.guards(ctx, s.order.stretches(rows)); a.err != nil {
		return a
	}
	if some := s.order.within(rows, near); len(some) > 0 {
		a.stored, a.err = s.winners(ctx, some)
	}
	return a
}

// expect checks the rows, and chooses them as if none were stored and none refused. It begins the insert if that was so for
// the last write: one begun in vain costs a connection.
func (s *Sink) expect(ctx context.Context, rows []sinkers.Row) (opened *opened, res sinkers.Result, err error) {
	s.texts = slices.Grow(s.texts[:0], len(rows))[:len(rows)]
	var bad []sinkers.RowError
	for i := range rows {
		if s.texts[i], err = check(&rows[i]); err != nil {
			bad = append(bad, sinkers.RowError{Index: i, Err: err})
		}
	}
	if bad != nil {
		return nil, res, &sinkers.BatchError{Rows: bad}
	}
	res, _ = s.choose(rows, &answer{guards: guards{cutoff: math.MinInt64, graves: new(graves)}})
	if s.lucky {
		opened, _ = s.openInsert(ctx, rows) // where it fails, that may be for a row that isn't to be stored: it is tried anew
	}
	return opened, res, nil
}

// choose chooses the rows that are to be stored, which have a key each, and counts all of them.
func (s *Sink) choose(rows []sinkers.Row, a *answer) (res sinkers.Result, refused []sinkers.LedgerEntry) {
	s.chosen = s.chosen[:0]
	var last *sinkers.Row // that was chosen
	for _, i := range s.order.at {
		r := &rows[i]
		if reason := a.guards.refuses(&r.Event); reason != "" {
			if reason == sinkers.LedgerErased {
				res.Erased++
			} else {
				res.Expired++
			}
			p := sinkers.Position{Tenant: r.Tenant, Source: r.Source, Seq: r.Seq}
			if e, ok := sinkers.LedgerOf(p, reason, s.cfg.Retention.Clock()); ok {
				refused = append(refused, e)
			}
			continue
		}
		hash, found := a.stored[key{r.Tenant, r.ID}]
		if !found && last != nil && last.ID == r.ID && last.Tenant == r.Tenant {
			hash, found = last.Hash, true
		}
		switch {
		case !found:
			s.chosen = append(s.chosen, i)
			last = r
		case hash == r.Hash:
			res.Duplicates++
		default:
			res.Conflict(i, hash)
		}
	}
	slices.Sort(res.Conflicts)
	res.Stored = len(s.chosen)
	return res, refused
}
