package libsql

import (
	"context"
	"database/sql"
	"iter"
	"slices"

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
	return s.fail(ctx, "ledger", s.appendLedger(ctx, slices.Clone(entries)))
}

// appendLedger adds entries, which it sorts and merges in place.
func (s *Sink) appendLedger(ctx context.Context, entries []sinkers.LedgerEntry) error {
	return sqlstore.InTransaction(ctx, s.writer, func(tx *sql.Tx) error { return addToLedger(ctx, tx, entries) })
}

// addToLedger does so within a transaction, by a few statements however many entries there are.
func addToLedger(ctx context.Context, tx *sql.Tx, entries []sinkers.LedgerEntry) error {
	for part := range slices.Chunk(sinkers.CompactLedger(entries), sqlstore.PageRows) {
		json := []byte{'['}
		for i, e := range part {
			if i > 0 {
				json = append(json, ',')
			}
			json = sqlstore.AppendJSON(json, sqlstore.LedgerArgs(e))
		}
		json = append(json, ']')
		for _, statement := range []string{sqlstore.InsertLedgerJSON, sqlstore.AbsorbLedgerJSON} {
			if _, err := tx.ExecContext(ctx, statement, string(json)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadLedger implements sinkers.Ledger, in pages.
func (s *Sink) ReadLedger(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.LedgerEntry, error] {
	return sinkers.MergeLedger(backend.Stream(ctx, s.begin, s.fail, "ledger",
		func(ctx context.Context, yield func(sinkers.LedgerEntry, error) bool) error {
			return s.readLedger(ctx, scan, yield)
		}))
}

// readLedger returns nil, too, when the caller wants no more.
func (s *Sink) readLedger(ctx context.Context, scan sinkers.Scan, yield func(sinkers.LedgerEntry, error) bool) error {
	var last *sinkers.LedgerEntry
	for {
		page, err := sqlstore.ReadAll(ctx, s.readers, sqlstore.SelectLedgerAfter(scan, last), sqlstore.LedgerEntry)
		if err != nil {
			return err
		}
		for _, e := range page {
			if !yield(e, nil) {
				return nil
			}
		}
		if len(page) < sqlstore.PageRows {
			return nil
		}
		last = &page[len(page)-1]
	}
}
