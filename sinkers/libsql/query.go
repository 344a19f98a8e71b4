package libsql

import (
	"cmp"
	"context"
	"database/sql"
	"iter"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
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
	return backend.Stream(ctx, s.begin, s.fail, "tenants", func(ctx context.Context, yield func(string, error) bool) error {
		return s.eachTenant(ctx, func(t string) bool { return yield(t, nil) })
	})
}

// eachTenant calls f until it wants no more.
func (s *Sink) eachTenant(ctx context.Context, f func(string) bool) error {
	statement := sqlstore.Statement{SQL: sqlstore.SelectFirstTenants}
	for {
		page, err := sqlstore.ReadAll(ctx, s.readers, statement, sqlstore.Text)
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
	return backend.Stream(ctx, s.begin, s.fail, "scan", func(ctx context.Context, yield func(sinkers.Position, error) bool) error {
		if !scan.AllTenants {
			_, err := s.scanTenant(ctx, scan.Tenant, yield)
			return err
		}
		var failed error
		err := s.eachTenant(ctx, func(t string) bool {
			var more bool
			more, failed = s.scanTenant(ctx, t, yield)
			return more && failed == nil
		})
		return cmp.Or(failed, err)
	})
}

// scanTenant returns whether the caller wants more.
func (s *Sink) scanTenant(ctx context.Context, tenant string, yield func(sinkers.Position, error) bool) (bool, error) {
	var last *sinkers.Position
	for {
		page, err := sqlstore.ReadAll(ctx, s.readers, sqlstore.SelectPositionsAfter(tenant, last),
			func(scan func(dest ...any) error) (sinkers.Position, error) { return sqlstore.Position(tenant, scan) })
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
