package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// stored is a row as it was read.
type stored struct {
	sinkers.Row
	firstWins uint64
	size      int // bytes of its values
}

// winsOver says whether r was inserted before o.
func (r *stored) winsOver(o *stored) bool {
	if r.firstWins != o.firstWins {
		return r.firstWins > o.firstWins
	}
	return bytes.Compare(r.Hash[:], o.Hash[:]) > 0
}

// spare is how many more rows than a page has are read at first: those that a merge has not taken out yet.
const spare = 8

// Query implements sinkers.Sinker.
func (s *Sink) Query(ctx context.Context, q sinkers.Query) (sinkers.Page, error) {
	if err := q.Validate(); err != nil {
		return sinkers.Page{}, err
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return sinkers.Page{}, err
	}
	defer end()
	page, err := s.page(ctx, q)
	return page, s.fail(ctx, "query", err)
}

// page reads on until it has one event more than the page, which tells whether there is a next one.
func (s *Sink) page(ctx context.Context, q sinkers.Query) (p sinkers.Page, err error) {
	pos, err := q.Cursor.Position()
	if err != nil {
		return p, err
	}
	graves, err := s.currentGraves(ctx)
	if err != nil {
		return p, err
	}
	var (
		sel  = newSelection(q)
		want = q.PageLimit() + 1
		size = 0
	)
	for limit, more := want+spare, true; more; {
		var found []stored
		if found, more, err = s.read(ctx, sel.statement(pos, limit), limit); err != nil {
			return p, err
		}
		found, last := firsts(found, more)
		if last == nil { // all of them are one event's, and there may be more of it
			limit *= 2
			continue
		}
		pos = *last
		if sel.unsure {
			if found, err = s.onlyWinners(ctx, found); err != nil {
				return p, err
			}
		}
		for i := range found {
			// Both are left out here, since there is next to none of either.
			if e := &found[i].Event; graves.cover(e) || q.HidesReserved() && strings.HasPrefix(e.Action.String(), sinkers.ReservedPrefix) {
				continue
			}
			if size += found[i].size; len(p.Events) == q.PageLimit() || len(p.Events) > 0 && size > sinkers.MaxPageBytes {
				p.Next = sinkers.NewCursor(&p.Events[len(p.Events)-1])
				return p, nil
			}
			p.Events = append(p.Events, found[i].Event)
		}
	}
	return p, nil
}

// read returns the rows of a statement with this limit, and whether there may be more: not more of them than make
// a page's bytes, of which a few may be taken for the same event.
func (s *Sink) read(ctx context.Context, statement string, limit int) (found []stored, more bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what is left of the answer is not waited for
	rows, err := s.conn.Query(ctx, statement)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }()
	for size := 0; rows.Next(); {
		var r stored
		if err := r.scan(rows); err != nil {
			return nil, false, err
		}
		found = append(found, r)
		if size += r.size; size > 2*sinkers.MaxPageBytes {
			stop()
			return found, true, nil
		}
	}
	return found, len(found) == limit, rows.Err()
}

// firsts returns of the rows of each event, which lie side by side, the one that was inserted first, and where
// they end. When there may be more rows, the last event is left for the next read; the end is nil when it
// is the only one.
func firsts(found []stored, more bool) (kept []stored, last *sinkers.CursorPosition) {
	for i := range found {
		r := &found[i]
		if n := len(kept); n == 0 || kept[n-1].ID != r.ID || kept[n-1].Tenant != r.Tenant {
			kept = append(kept, *r)
		} else if r.winsOver(&kept[n-1]) {
			kept[n-1] = *r
		}
	}
	if more && len(kept) > 0 {
		kept = kept[:len(kept)-1]
	}
	if len(kept) == 0 {
		if more {
			return nil, nil
		}
		return nil, &sinkers.CursorPosition{}
	}
	end := &kept[len(kept)-1]
	return kept, &sinkers.CursorPosition{Time: end.Time, ID: end.ID, Tenant: end.Tenant}
}

// onlyWinners leaves out the rows that passed a filter although the event stored first under their id did not.
func (s *Sink) onlyWinners(ctx context.Context, found []stored) (kept []stored, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	rows := make([]*sinkers.Row, len(found))
	for i := range found {
		rows[i] = &found[i].Row
	}
	hashes, err := s.winners(ctx, rows)
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		if hashes[key{r.Tenant, r.ID}] == r.Hash {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// scan reads the columns that a selection's statement returns.
func (r *stored) scan(rows driver.Rows) error {
	var (
		action, outcome           string
		old, new, metadata, extra string
		created, recorded         int64
		e                         = &r.Event
		truncated                 uint8
	)
	err := rows.Scan(&e.Tenant, (*[16]byte)(&e.ID), &created, &action, &e.Actor.Type, &e.Actor.ID, &e.Actor.Name,
		&e.Entity.Type, &e.Entity.ID, &old, &new, &metadata, &outcome,
		&e.Request.IP, &e.Request.UserAgent, &e.Request.ID, &e.Request.Traceparent,
		&e.Source, &e.Seq, &recorded, &truncated, &extra, &r.Hash, &r.firstWins)
	if err != nil {
		return err
	}
	if e.Action, err = firetrail.ParseName(action); err != nil {
		return fmt.Errorf("stored event %s: %w", e.ID, err)
	}
	if e.Outcome, err = firetrail.ParseOutcome(outcome); err != nil {
		return fmt.Errorf("stored event %s: %w", e.ID, err)
	}
	e.Time, e.Truncated = time.UnixMicro(created).UTC(), firetrail.Truncated(truncated)
	if recorded != noRecorded {
		e.Recorded = time.UnixMicro(recorded).UTC()
	}
	e.Old, e.New, e.Metadata, e.Extra = value(old), value(new), value(metadata), value(extra)
	r.size = len(old) + len(new) + len(metadata) + len(extra)
	return nil
}

func value(s string) firetrail.Value {
	if s == "" {
		return firetrail.Value{}
	}
	return firetrail.Raw([]byte(s))
}
