package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// guards are what a write asks before it inserts.
type guards struct {
	cutoff int64 // the later of the retention's and the prunes', µs since 1970
	graves *graves
}

// refuses returns why an event may not be stored, "" when it may.
func (g *guards) refuses(e *firetrail.Event) sinkers.LedgerReason {
	switch {
	case e.Time.UnixMicro() < g.cutoff:
		return sinkers.LedgerExpired
	case g.graves.cover(e):
		return sinkers.LedgerErased
	}
	return ""
}

// graves are the tombstones of all erasures, by tenant. They are only ever added to, so a count and the time of
// the last one say whether there are others than those.
type graves struct {
	count uint64
	last  int64
	of    map[string][]sinkers.Erasure
}

// cover reports whether e was erased.
func (g *graves) cover(e *firetrail.Event) bool {
	if g.count == 0 {
		return false
	}
	for _, erasure := range g.of[e.Tenant] {
		if erasure.Covers(e) {
			return true
		}
	}
	return false
}

const selectGuards = `SELECT ifNull((SELECT max(before_us) FROM audit_pruned), 0),
	(SELECT count() FROM audit_tombstones), ifNull((SELECT max(erased_us) FROM audit_tombstones), 0), `

// guards reads them, and whether any event is stored within the bounds: the usual answer is none, by the bounds of
// the table's parts and granules alone.
func (s *Sink) guards(ctx context.Context, b bounds) (g guards, near bool, err error) {
	return s.readGuards(ctx, fmt.Sprintf("(SELECT count() FROM (SELECT 1 FROM audit_events WHERE %s LIMIT 1))", b.condition()))
}

// currentGraves are for those who read: what an erasure covers may be there for a while.
func (s *Sink) currentGraves(ctx context.Context) (*graves, error) {
	g, _, err := s.readGuards(ctx, "toUInt64(0)")
	return g.graves, err
}

func (s *Sink) readGuards(ctx context.Context, near string) (g guards, isNear bool, err error) {
	var (
		pruned, last int64
		count, found uint64
	)
	if err := s.conn.QueryRow(ctx, selectGuards+near).Scan(&pruned, &count, &last, &found); err != nil {
		return g, false, err
	}
	g.cutoff = pruned
	if c := s.cfg.Retention.Cutoff(); !c.IsZero() {
		g.cutoff = max(g.cutoff, c.UnixMicro())
	}
	g.graves = s.graves.Load()
	if g.graves == nil || g.graves.count != count || g.graves.last != last {
		if g.graves, err = s.readGraves(ctx, count, last); err != nil {
			return g, false, err
		}
		s.graves.Store(g.graves)
	}
	return g, found > 0, nil
}

// readGraves reads all tombstones, of those with the same key the latest.
func (s *Sink) readGraves(ctx context.Context, count uint64, last int64) (*graves, error) {
	g := &graves{count: count, last: last}
	if count == 0 {
		return g, nil
	}
	rows, err := s.conn.Query(ctx, "SELECT tenant_id, actor_id, actor_type, max(before_us) FROM audit_tombstones GROUP BY tenant_id, actor_id, actor_type")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	g.of = map[string][]sinkers.Erasure{}
	for rows.Next() {
		var e sinkers.Erasure
		var before int64
		if err := rows.Scan(&e.Tenant, &e.ActorID, &e.ActorType, &before); err != nil {
			return nil, err
		}
		e.Before = time.UnixMicro(before).UTC()
		g.of[e.Tenant] = append(g.of[e.Tenant], e)
	}
	return g, rows.Err()
}
