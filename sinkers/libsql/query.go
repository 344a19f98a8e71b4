package libsql

import (
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

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}
