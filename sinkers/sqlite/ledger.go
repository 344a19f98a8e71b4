package sqlite

import (
	"context"
	"database/sql"
	"iter"
	"slices"
	"time"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// AppendLedger implements sinkers.Ledger.
func (s *Sink) AppendLedger(ctx context.Context, entries []sinkers.LedgerEntry) error {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	return s.fail(ctx, "ledger", sqlstore.InTransaction(ctx, s.writer, func(tx *sql.Tx) error {
		return appendLedger(ctx, tx, slices.Clone(entries))
	}))
}

// appendLedger adds entries, which it sorts and merges in place, so that no two in the ledger meet.
func appendLedger(ctx context.Context, tx *sql.Tx, entries []sinkers.LedgerEntry) error {
	for _, e := range sinkers.CompactLedger(entries) {
		met, err := neighbours(ctx, tx, e)
		if err != nil {
			return err
		}
		for _, m := range met {
			if _, err := tx.ExecContext(ctx, sqlstore.DeleteLedger, m.Tenant, m.Source, string(m.Reason), int64(m.To)); err != nil {
				return err
			}
		}
		for _, union := range sinkers.CompactLedger(append(met, e)) { // one
			if _, err := tx.ExecContext(ctx, sqlstore.InsertLedger, sqlstore.LedgerArgs(union)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// neighbours returns the entries in the ledger that e meets.
func neighbours(ctx context.Context, tx *sql.Tx, e sinkers.LedgerEntry) (met []sinkers.LedgerEntry, err error) {
	rows, err := tx.QueryContext(ctx, sqlstore.LedgerNeighbours, e.Tenant, e.Source, string(e.Reason), int64(e.From))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var from, to, at int64
		if err := rows.Scan(&from, &to, &at); err != nil {
			return nil, err
		}
		if from > int64(e.To)+1 {
			return met, nil
		}
		m := e
		m.From, m.To, m.Time = uint64(from), uint64(to), time.UnixMicro(at)
		met = append(met, m)
	}
	return met, rows.Err()
}

// ReadLedger implements sinkers.Ledger. While it is read, SQLite's write-ahead log can't be emptied.
func (s *Sink) ReadLedger(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.LedgerEntry, error] {
	return sinkers.MergeLedger(backend.Stream(ctx, s.begin, s.fail, "ledger",
		func(ctx context.Context, yield func(sinkers.LedgerEntry, error) bool) error {
			return s.readLedger(ctx, scan, yield)
		}))
}

// readLedger returns nil, too, when the caller wants no more.
func (s *Sink) readLedger(ctx context.Context, scan sinkers.Scan, yield func(sinkers.LedgerEntry, error) bool) error {
	statement := sqlstore.SelectLedger(scan)
	rows, err := s.readers.QueryContext(ctx, statement.SQL, statement.Args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		e, err := sqlstore.LedgerEntry(rows.Scan)
		if err != nil {
			return err
		}
		if !yield(e, nil) {
			return nil
		}
		if err := ctx.Err(); err != nil { // rows notice it later
			return err
		}
	}
	return rows.Err()
}
