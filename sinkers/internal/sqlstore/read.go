package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// Queryer is a *sql.DB or a *sql.Tx.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ReadAll returns every row of a statement, and beside an error those before it. read reads one, with a function
// such as sql.Rows.Scan.
func ReadAll[T any](ctx context.Context, db Queryer, s Statement, read func(scan func(dest ...any) error) (T, error)) (all []T, err error) {
	rows, err := db.QueryContext(ctx, s.SQL, s.Args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := read(rows.Scan)
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// Text reads a row of one text, such as that of [SelectTenants].
func Text(scan func(dest ...any) error) (t string, err error) {
	err = scan(&t)
	return t, err
}

// PendingErasure reads a row of [SelectPending].
func PendingErasure(scan func(dest ...any) error) (e sinkers.Erasure, err error) {
	var before int64
	err = scan(&e.Tenant, &e.ActorID, &e.ActorType, &before, &e.Reason)
	e.Before = time.UnixMicro(before).UTC()
	return e, err
}

// DeleteChunk runs a statement of [Prune] or [Erase] once, and returns how many events it deleted and the ledger's
// entries for them.
func DeleteChunk(ctx context.Context, tx *sql.Tx, s Statement, reason sinkers.LedgerReason, now time.Time) (n int64, entries []sinkers.LedgerEntry, err error) {
	deleted, err := ReadAll(ctx, tx, s, func(scan func(dest ...any) error) (p sinkers.Position, err error) {
		var seq int64
		err = scan(&p.Tenant, &p.Source, &seq)
		p.Seq = uint64(seq)
		return p, err
	})
	if err != nil {
		return 0, nil, err
	}
	for _, p := range deleted {
		if e, ok := sinkers.LedgerOf(p, reason, now); ok {
			entries = append(entries, e)
		}
	}
	return int64(len(deleted)), entries, nil
}

// InTransaction runs f in a transaction, which is rolled back where f or the commit fails.
func InTransaction(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
