package clickhouse

import (
	"context"
	"fmt"
	"strings"
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

// refusesAny reports whether one of the rows' events may not be stored.
func (g *guards) refusesAny(rows []sinkers.Row) bool {
	for i := range rows {
		if g.refuses(&rows[i].Event) != "" {
			return true
		}
	}
	return false
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

// selectGuards is one question with a row for each answer: as scalars of one row they cost the server half as much again.
const selectGuards = `SELECT 'pruned' AS what, max(before_us), count(), '', toFixedString('', 16), toFixedString('', 16) FROM audit_pruned
	UNION ALL SELECT 'tombstones', max(erased_us), count(), '', toFixedString('', 16), toFixedString('', 16) FROM audit_tombstones`

// guards reads them, and what is stored within the bounds: the usual answer is nothing, by the bounds of
// the table's parts and granules alone, or what came just before.
func (s *Sink) guards(ctx context.Context, within []bounds) (g guards, near []extent, err error) {
	conditions := make([]string, len(within))
	for i, b := range within {
		conditions[i] = b.condition()
	}
	return s.readGuards(ctx, fmt.Sprintf(" UNION ALL SELECT 'near', toInt64(0), toUInt64(0), tenant_id, min(id), max(id) FROM audit_events WHERE %s GROUP BY tenant_id",
		strings.Join(conditions, " OR ")))
}

// currentGraves are for those who read: what an erasure covers may be there for a while.
func (s *Sink) currentGraves(ctx context.Context) (*graves, error) {
	g, _, err := s.readGuards(ctx, "")
	return g.graves, err
}

func (s *Sink) readGuards(ctx context.Context, withNear string) (g guards, near []extent, err error) {
	var (
		pruned, last int64
		count        uint64
		answers      int
	)
	rows, err := s.conn.Query(ctx, selectGuards+withNear)
	if err != nil {
		return g, nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what there is to say
	for rows.Next() {
		var (
			what string
			us   int64
			n    uint64
			e    extent
		)
		if err := rows.Scan(&what, &us, &n, &e.tenant, (*[16]byte)(&e.low), (*[16]byte)(&e.high)); err != nil {
			return g, nil, err
		}
		switch what {
		case "pruned":
			pruned, answers = us, answers+1 // 0 where there is none
		case "tombstones":
			last, count, answers = us, n, answers+1
		default:
			near = append(near, e)
		}
	}
	if err := rows.Err(); err != nil {
		return g, nil, err
	}
	if answers != 2 { // never take what wasn't said for "nothing is erased"
		return g, nil, fmt.Errorf("asking what has been pruned and erased: %d answers of 2", answers)
	}
	g.cutoff = pruned
	if c := s.cfg.Retention.Cutoff(); !c.IsZero() {
		g.cutoff = max(g.cutoff, c.UnixMicro())
	}
	g.graves = s.graves.Load()
	if g.graves == nil || g.graves.count != count || g.graves.last != last {
		if g.graves, err = s.readGraves(ctx, count, last); err != nil {
			return g, nil, err
		}
		s.graves.Store(g.graves)
	}
	return g, near, nil
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
