package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
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
	for _, id := range months {
		count, err := s.pruneMonth(ctx, id, to, dryRun)
		if n += count; err != nil {
			return n, err
		}
	}
	return n, nil
}

// pruneMonth prunes a partition of the table. It is dropped only when all of the month is over: another process may
// just be storing what is newer, in a month that had none.
func (s *Sink) pruneMonth(ctx context.Context, id string, to int64, dryRun bool) (int64, error) {
	old := fmt.Sprintf("_partition_id = '%s' AND time_us < %d", id, to)
	n, err := s.count(ctx, old)
	if err != nil || dryRun || n == 0 {
		return n, err
	}
	if err := s.noteDeleted(ctx, old, sinkers.LedgerExpired); err != nil {
		return 0, err
	}
	statement := fmt.Sprintf("DELETE FROM audit_events IN PARTITION ID '%s' WHERE time_us < %d", id, to)
	if begin, err := time.Parse("200601", id); err == nil && begin.AddDate(0, 1, 0).UnixMicro() <= to {
		statement = fmt.Sprintf("ALTER TABLE audit_events DROP PARTITION ID '%s'", id)
	}
	if err := s.conn.Exec(ctx, statement); err != nil {
		return 0, err
	}
	return n, nil
}

// months returns the partitions that may hold events from before a time, such as 202411, the oldest first. It reads
// no rows: each part of the table has its bounds beside it.
func (s *Sink) months(ctx context.Context, to int64) (months []string, err error) {
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT _partition_id AS p FROM audit_events "+
		"GROUP BY p HAVING min(time_us) < %d ORDER BY p", to))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		months = append(months, id)
	}
	return months, rows.Err()
}

// count counts the events for which a condition holds.
func (s *Sink) count(ctx context.Context, condition string) (int64, error) {
	var n uint64
	err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT count() FROM (SELECT tenant_id, id FROM audit_events WHERE %s "+
		"GROUP BY tenant_id, id)%s", condition, s.inOrder)).Scan(&n)
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
	_, high := backend.IDBounds(0, to)
	c := fmt.Sprintf("tenant_id = %s AND id < %s AND time_us < %d", literal(e.Tenant), idLiteral(high), to)
	if e.ActorID != "" {
		c += " AND actor_id = " + literal(e.ActorID)
	}
	if e.ActorType != "" {
		c += " AND actor_type = " + literal(e.ActorType)
	}
	return c
}
