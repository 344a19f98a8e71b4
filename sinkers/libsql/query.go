package libsql

import (
	"context"
	"database/sql"
	"iter"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Query implements sinkers.Sinker. A page ends early where the server would not send it whole.
func (s *Sink) Query(ctx context.Context, q sinkers.Query) (sinkers.Page, error) {
	if err := q.Validate(); err != nil {
		return sinkers.Page{}, err
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return sinkers.Page{}, err
	}
	defer end()
	for q.Limit = q.PageLimit(); ; q.Limit /= 2 {
		page, err := sqlstore.QueryPage(ctx, s.readers, q)
		if err == nil || q.Limit == 1 || !isTooLargeToRead(err) {
			return page, s.fail(ctx, "query", err)
		}
	}
}

// Tenants implements sinkers.TenantLister, in pages.
func (s *Sink) Tenants(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ctx, end, err := s.begin(ctx)
		if err != nil {
			yield("", err)
			return
		}
		defer end()
		if err := s.eachTenant(ctx, func(t string) bool { return yield(t, nil) }); err != nil {
			yield("", s.fail(ctx, "tenants", err))
		}
	}
}

// eachTenant calls f until it wants no more.
func (s *Sink) eachTenant(ctx context.Context, f func(string) bool) error {
	statement := sqlstore.Statement{SQL: sqlstore.SelectFirstTenants}
	for {
		page, err := readAll(ctx, s.readers, statement, func(rows *sql.Rows) (t string, err error) { return t, rows.Scan(&t) })
		if err != nil {
			return err
		}
		for _, t := range page {
			if !f(t) {
				return nil
			}
		}
		if len(page) == 0 {
			return nil
		}
		statement = sqlstore.Statement{SQL: sqlstore.SelectTenantsAfter, Args: []any{page[len(page)-1]}}
	}
}

// Scan implements sinkers.Scanner, in pages of ten thousand, for each of which the server walks through the tenant's
// events. What is stored meanwhile may be missed.
func (s *Sink) Scan(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	return func(yield func(sinkers.Position, error) bool) {
		ctx, end, err := s.begin(ctx)
		if err != nil {
			yield(sinkers.Position{}, err)
			return
		}
		defer end()
		if !scan.AllTenants {
			_, err = s.scanTenant(ctx, scan.Tenant, yield)
		} else {
			var failed error
			err = s.eachTenant(ctx, func(t string) bool {
				var more bool
				more, failed = s.scanTenant(ctx, t, yield)
				return more && failed == nil
			})
			if failed != nil {
				err = failed
			}
		}
		if err != nil {
			yield(sinkers.Position{}, s.fail(ctx, "scan", err))
		}
	}
}

// scanTenant returns whether the caller wants more.
func (s *Sink) scanTenant(ctx context.Context, tenant string, yield func(sinkers.Position, error) bool) (bool, error) {
	var last *sinkers.Position
	for {
		page, err := readAll(ctx, s.readers, sqlstore.SelectPositionsAfter(tenant, last),
			func(rows *sql.Rows) (sinkers.Position, error) { return sqlstore.Position(tenant, rows.Scan) })
		if err != nil {
			return false, err
		}
		for i := range page {
			if !yield(page[i], nil) {
				return false, nil
			}
			if err := ctx.Err(); err != nil {
				return false, err
			}
		}
		if len(page) < sqlstore.PageRows {
			return true, nil
		}
		last = &page[len(page)-1]
	}
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// readAll returns every row of a statement.
func readAll[T any](ctx context.Context, db queryer, s sqlstore.Statement, scan func(*sql.Rows) (T, error)) (all []T, err error) {
	rows, err := db.QueryContext(ctx, s.SQL, s.Args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
