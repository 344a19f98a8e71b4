package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Prune implements sinkers.Pruner, with a short transaction for each thousand events, so that writes get
// their turn in between.
func (s *Sink) Prune(ctx context.Context, before time.Time, dryRun bool) (n int64, err error) {
	if err := s.cfg.Retention.CheckPrune(before); err != nil {
		return 0, fmt.Errorf("sqlite: prune: %w", err)
	}
	if dryRun {
		return s.count(ctx, "prune", sqlstore.CountPrune(before))
	}
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if err := s.goOnErasing(ctx); err != nil {
		return 0, s.fail(ctx, "prune: going on with an erasure", err)
	}
	if before.IsZero() {
		return 0, nil
	}
	if _, err := s.writer.ExecContext(ctx, sqlstore.KeepPruned, sqlstore.Cutoff(before)); err != nil {
		return 0, s.fail(ctx, "prune", err)
	}
	n, err = s.deleteAll(ctx, sqlstore.Prune(before), sinkers.LedgerExpired)
	return n, s.fail(ctx, "prune", err)
}

// Erase implements sinkers.Eraser, in short transactions like Prune. The deleted bytes are overwritten, in
// the write-ahead log too unless a reader needs it just then.
func (s *Sink) Erase(ctx context.Context, e sinkers.Erasure) (n int64, err error) {
	now := s.cfg.Retention.Clock()
	if e, err = e.At(now); err != nil {
		return 0, fmt.Errorf("sqlite: erase: %w", err)
	}
	if e.DryRun {
		return s.count(ctx, "erase", sqlstore.CountErase(e))
	}
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if _, err := s.writer.ExecContext(ctx, sqlstore.KeepTombstone, sqlstore.Tombstone(e, now)...); err != nil {
		return 0, s.fail(ctx, "erase", err)
	}
	n, err = s.eraseAll(ctx, e)
	return n, s.fail(ctx, "erase", err)
}

// eraseAll deletes what a tombstone covers.
func (s *Sink) eraseAll(ctx context.Context, e sinkers.Erasure) (int64, error) {
	n, err := s.deleteAll(ctx, sqlstore.Erase(e), sinkers.LedgerErased)
	if err != nil {
		return n, err
	}
	if _, err := s.writer.ExecContext(ctx, sqlstore.EndTombstone, sqlstore.Tombstone(e, time.Time{})[:4]...); err != nil {
		return n, err
	}
	_, err = s.writer.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return n, err
}

// goOnErasing ends the erasures that were cut off.
func (s *Sink) goOnErasing(ctx context.Context) error {
	pending, err := s.pendingErasures(ctx)
	if err != nil {
		return err
	}
	for _, e := range pending {
		if _, err := s.eraseAll(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sink) pendingErasures(ctx context.Context) ([]sinkers.Erasure, error) {
	return sqlstore.ReadAll(ctx, s.readers, sqlstore.Statement{SQL: sqlstore.SelectPending}, sqlstore.PendingErasure)
}

// count is a dry run.
func (s *Sink) count(ctx context.Context, op string, statement sqlstore.Statement) (n int64, err error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	err = s.readers.QueryRowContext(ctx, statement.SQL, statement.Args...).Scan(&n)
	return n, s.fail(ctx, op, err)
}

// deleteAll runs a deleting statement until there is nothing left for it, each time with the ledger in the same
// transaction.
func (s *Sink) deleteAll(ctx context.Context, statement sqlstore.Statement, reason sinkers.LedgerReason) (n int64, err error) {
	for {
		deleted, err := s.deleteChunk(ctx, statement, reason)
		n += deleted
		if err != nil || deleted < sqlstore.PruneChunk {
			return n, err
		}
	}
}

func (s *Sink) deleteChunk(ctx context.Context, statement sqlstore.Statement, reason sinkers.LedgerReason) (n int64, err error) {
	err = sqlstore.InTransaction(ctx, s.writer, func(tx *sql.Tx) (err error) {
		var entries []sinkers.LedgerEntry
		if n, entries, err = sqlstore.DeleteChunk(ctx, tx, statement, reason, s.cfg.Retention.Clock()); err != nil {
			return err
		}
		return appendLedger(ctx, tx, entries)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
