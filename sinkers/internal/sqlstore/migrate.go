package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// Querier is a *sql.DB or a *sql.Tx.
type Querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// SchemaVersion returns the database's schema version, 0 when it is empty. It is an error for it to be
// another program's, or newer than this one.
func SchemaVersion(ctx context.Context, db Querier) (v int, err error) {
	var ours int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1", VersionTable).Scan(&ours)
	if err != nil {
		return 0, err
	}
	if ours == 0 {
		var table string
		if err := db.QueryRowContext(ctx, SelectForeignTable).Scan(&table); err != nil {
			return 0, err
		}
		if table != "" {
			return 0, fmt.Errorf("is another program's database (it has a table %q); correct the path", table)
		}
		return 0, nil
	}
	if err := db.QueryRowContext(ctx, SelectVersion).Scan(&v); err != nil {
		return 0, err
	}
	if v > Latest {
		return 0, &sinkers.SchemaError{Have: v, Know: Latest}
	}
	return v, nil
}

// CheckVersion is for those who may not migrate.
func CheckVersion(ctx context.Context, db Querier) error {
	v, err := SchemaVersion(ctx, db)
	switch {
	case err != nil:
		return err
	case v == 0:
		return errors.New("is empty; let a worker make its tables")
	case v < Latest:
		return &sinkers.SchemaError{Have: v, Know: Latest}
	}
	return nil
}

// Migrate brings the schema up to date, in one transaction.
func Migrate(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	have, err := SchemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	if have == Latest {
		return nil
	}
	if _, err := tx.ExecContext(ctx, CreateVersion); err != nil {
		return err
	}
	for _, m := range Migrations {
		if m.Version <= have {
			continue
		}
		for _, statement := range m.Statements {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("migration %d: %w", m.Version, err)
			}
		}
		if _, err := tx.ExecContext(ctx, InsertVersion, m.Version, time.Now().UnixMicro()); err != nil {
			return fmt.Errorf("migration %d: %w", m.Version, err)
		}
	}
	return tx.Commit()
}
