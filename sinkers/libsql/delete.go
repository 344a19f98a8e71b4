package libsql

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
		return 0, fmt.Errorf("libsql: prune: %w", err)
	}
	if dryRun {
		return s.count(ctx, "prune", sqlstore.CountPrune(before))
	}
	if err := s.goOnErasing(ctx); err != nil {
		return 0, err
	}
	if before.IsZero() {
		return 0, nil
	}
	if err := s.exec(ctx, "prune", sqlstore.KeepPruned, sqlstore.Cutoff(before)); err != nil {
		return 0, err
	}
	return s.deleteAll(ctx, "prune", sqlstore.Prune(before), sinkers.LedgerExpired)
}

// Erase implements sinkers.Eraser, in short transactions like Prune.
func (s *Sink) Erase(ctx context.Context, e sinkers.Erasure) (n int64, err error) {
	now := s.cfg.Retention.Clock()
	if e, err = e.At(now); err != nil {
		return 0, fmt.Errorf("libsql: erase: %w", err)
	}
	if e.DryRun {
		return s.count(ctx, "erase", sqlstore.CountErase(e))
	}
	if err := s.exec(ctx, "erase", sqlstore.KeepTombstone, sqlstore.Tombstone(e, now)...); err != nil {
		return 0, err
	}
	return s.eraseAll(ctx, e)
}

// exec runs one statement in its turn.
func (s *Sink) exec(ctx context.Context, op, statement string, args ...any) error {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = s.writer.ExecContext(ctx, statement, args...)
	return s.fail(ctx, op, err)
}

// eraseAll deletes what a tombstone covers.
func (s *Sink) eraseAll(ctx context.Context, e sinkers.Erasure) (int64, error) {
	n, err := s.deleteAll(ctx, "erase", sqlstore.Erase(e), sinkers.LedgerErased)
	if err != nil {
		return n, err
	}
	return n, s.exec(ctx, "erase", sqlstore.EndTombstone, sqlstore.Tombstone(e, time.Time{})[:4]...)
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
	if s.cfg.ReadOnly {
		return nil, fmt.Errorf("libsql: %s: %w", s.cfg.URL, ErrReadOnly)
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	pending, err := sqlstore.ReadAll(ctx, s.readers, sqlstore.Statement{SQL: sqlstore.SelectPending}, sqlstore.PendingErasure)
	return pending, s.fail(ctx, "pending erasures", err)
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
func (s *Sink) deleteAll(ctx context.Context, op string, statement sqlstore.Statement, reason sinkers.LedgerReason) (n int64, err error) {
	for {
		deleted, err := s.deleteChunk(ctx, op, statement, reason)
		n += deleted
		if err != nil || deleted < sqlstore.PruneChunk {
			return n, err
		}
	}
}

func (s *Sink) deleteChunk(ctx context.Context, op string, statement sqlstore.Statement, reason sinkers.LedgerReason) (int64, error) {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	var n int64
	err = sqlstore.InTransaction(ctx, s.writer, func(tx *sql.Tx) (err error) {
		var entries []sinkers.LedgerEntry
		if n, entries, err = sqlstore.DeleteChunk(ctx, tx, statement, reason, s.cfg.Retention.Clock()); err != nil {
			return err
		}
		return addToLedger(ctx, tx, entries)
	})
	if err != nil {
		return 0, s.fail(ctx, op, err)
	}
	return n, nil
}

// maxProbe is the largest probe, in bytes.
const maxProbe = maxPart

// Probe implements sinkers.Prober.
func (s *Sink) Probe(ctx context.Context, size int) error {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = s.writer.ExecContext(ctx, sqlstore.InsertProbe, min(max(size, 1), maxProbe))
	if err == nil {
		_, err = s.writer.ExecContext(ctx, sqlstore.DeleteProbe)
	}
	return s.fail(ctx, "probe", err)
}
