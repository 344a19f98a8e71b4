package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/firetrail/firetrail/sinkers"
)

// Prune implements sinkers.Pruner. Whole months are dropped as partitions, which costs the same however large they
// are; of the month that the time lies in, the rows are marked as deleted, and go with the next merges. For the
// count and the ledger the keys and sequences of what goes are read.
func (s *Sink) Prune(ctx context.Context, before time.Time, dryRun bool) (n int64, err error) {
	if err := s.cfg.Retention.CheckPrune(before); err != nil {
		return 0, fmt.Errorf("clickhouse: prune: %w", err)
	}
	begin := s.beginWrite
	if dryRun {
		begin = s.begin
	}
	ctx, end, err := begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if !dryRun {
		if err := s.eraseAgain(ctx); err != nil {
			return 0, s.fail(ctx, "prune: going on with an erasure", err)
		}
	}
	if before.IsZero() {
		return 0, nil
	}
	_, to := sinkers.Query{To: before}.TimeRange()
	if !dryRun {
		if err := s.keepCutoff(ctx, to); err != nil {
			return 0, s.fail(ctx, "prune", err)
		}
	}
	n, err = s.prune(ctx, to, dryRun)
	return n, s.fail(ctx, "prune", err)
}

// keepCutoff has all later writes refuse what is older, once those under way are through.
func (s *Sink) keepCutoff(ctx context.Context, to int64) error {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO audit_pruned SELECT %d SETTINGS async_insert = 0", to))
}

func (s *Sink) prune(ctx context.Context, to int64, dryRun bool) (n int64, err error) {
	months, err := s.months(ctx, to)
	if err != nil {
		return 0, err
	}
	for _, m := range months {
		old := fmt.Sprintf("_partition_id = '%s' AND time_us < %d", m.id, to)
		count, err := s.count(ctx, old)
		if err != nil {
			return n, err
		}
		if !dryRun && count > 0 {
			if err := s.noteDeleted(ctx, old, sinkers.LedgerExpired); err != nil {
				return n, err
			}
			statement := fmt.Sprintf("ALTER TABLE audit_events DROP PARTITION ID '%s'", m.id)
			if m.newest >= to {
				statement = fmt.Sprintf("DELETE FROM audit_events IN PARTITION ID '%s' WHERE time_us < %d", m.id, to)
			}
			if err := s.conn.Exec(ctx, statement); err != nil {
				return n, err
			}
		}
		n += count
	}
	return n, nil
}

// month is a partition of the table.
type month struct {
	id     string // 202411
	newest int64  // µs since 1970
}

// months returns those that may hold events from before a time, the oldest first. It reads no rows: each part of
// the table has its bounds beside it.
func (s *Sink) months(ctx context.Context, to int64) (months []month, err error) {
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT _partition_id AS p, max(time_us) FROM audit_events "+
		"GROUP BY p HAVING min(time_us) < %d ORDER BY p", to))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var m month
		if err := rows.Scan(&m.id, &m.newest); err != nil {
			return nil, err
		}
		months = append(months, m)
	}
	return months, rows.Err()
}

// count counts the events for which a condition holds.
func (s *Sink) count(ctx context.Context, condition string) (int64, error) {
	var n uint64
	err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT count() FROM (SELECT tenant_id, id FROM audit_events WHERE %s "+
		"GROUP BY tenant_id, id) SETTINGS optimize_aggregation_in_order = 1", condition)).Scan(&n)
	return int64(n), err
}

// Erase implements sinkers.Eraser. The parts of the table that hold what is erased are written anew without it, and
// the old ones removed some minutes later: it takes as long as that takes. What another process was just
// storing meanwhile is covered by the tombstone: no read shows it, and the next Prune deletes it.
func (s *Sink) Erase(ctx context.Context, e sinkers.Erasure) (n int64, err error) {
	now := s.cfg.Retention.Clock()
	if e, err = e.At(now); err != nil {
		return 0, fmt.Errorf("clickhouse: erase: %w", err)
	}
	begin := s.beginWrite
	if e.DryRun {
		begin = s.begin
	}
	ctx, end, err := begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if e.DryRun {
		n, err = s.count(ctx, covered(e))
		return n, s.fail(ctx, "erase", err)
	}
	if err := s.bury(ctx, e, now); err != nil {
		return 0, s.fail(ctx, "erase", err)
	}
	n, err = s.erase(ctx, e)
	return n, s.fail(ctx, "erase", err)
}

// bury keeps the tombstone, between two writes.
func (s *Sink) bury(ctx context.Context, e sinkers.Erasure, now time.Time) error {
	done, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO audit_tombstones SELECT %s, %s, %s, %d, %s, %d SETTINGS async_insert = 0",
		literal(e.Tenant), literal(e.ActorID), literal(e.ActorType), e.Before.UnixMicro(), literal(e.Reason), now.UnixMicro()))
}

// erase deletes what a tombstone covers.
func (s *Sink) erase(ctx context.Context, e sinkers.Erasure) (int64, error) {
	n, err := s.count(ctx, covered(e))
	if err != nil || n == 0 {
		return 0, err
	}
	if err := s.noteDeleted(ctx, covered(e), sinkers.LedgerErased); err != nil {
		return 0, err
	}
	synced := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"mutations_sync": 2}))
	if err := s.conn.Exec(synced, "ALTER TABLE audit_events DELETE WHERE "+covered(e)); err != nil {
		return 0, err
	}
	return n, nil
}

// eraseAgain deletes what came in beside an erasure, or was left by one that was cut off.
func (s *Sink) eraseAgain(ctx context.Context) error {
	g, err := s.currentGraves(ctx)
	if err != nil {
		return err
	}
	for _, of := range g.of {
		for _, e := range of {
			if _, err := s.erase(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// covered is the condition on what an erasure covers.
func covered(e sinkers.Erasure) string {
	_, to := sinkers.Query{To: e.Before}.TimeRange()
	_, high := idBounds(0, to)
	c := fmt.Sprintf("tenant_id = %s AND id < %s AND time_us < %d", literal(e.Tenant), idLiteral(high), to)
	if e.ActorID != "" {
		c += " AND actor_id = " + literal(e.ActorID)
	}
	if e.ActorType != "" {
		c += " AND actor_type = " + literal(e.ActorType)
	}
	return c
}
