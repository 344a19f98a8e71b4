package sqlite

import (
	"context"
	"iter"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Tenants implements sinkers.TenantLister.
func (s *Sink) Tenants(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ctx, end, err := s.begin(ctx)
		if err != nil {
			yield("", err)
			return
		}
		defer end()
		tenants, err := s.tenants(ctx)
		for _, t := range tenants {
			if !yield(t, nil) {
				return
			}
		}
		if err != nil {
			yield("", s.fail(ctx, "tenants", err))
		}
	}
}

func (s *Sink) tenants(ctx context.Context) (tenants []string, err error) {
	rows, err := s.readers.QueryContext(ctx, sqlstore.SelectTenants)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return tenants, err
		}
		tenants = append(tenants, t)
	}
	return tenants, rows.Err()
}

// Scan implements sinkers.Scanner. Each tenant is read in a state of its own; while one is, SQLite's
// write-ahead log can't be emptied and grows with what is written.
func (s *Sink) Scan(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	return func(yield func(sinkers.Position, error) bool) {
		ctx, end, err := s.begin(ctx)
		if err != nil {
			yield(sinkers.Position{}, err)
			return
		}
		defer end()
		tenants := []string{scan.Tenant}
		if scan.AllTenants {
			tenants, err = s.tenants(ctx)
		}
		for i := 0; err == nil && i < len(tenants); i++ {
			var more bool
			if more, err = s.scanTenant(ctx, tenants[i], yield); err == nil && !more {
				return
			}
		}
		if err != nil {
			yield(sinkers.Position{}, s.fail(ctx, "scan", err))
		}
	}
}

// scanTenant returns whether the caller wants more.
func (s *Sink) scanTenant(ctx context.Context, tenant string, yield func(sinkers.Position, error) bool) (bool, error) {
	rows, err := s.readers.QueryContext(ctx, sqlstore.SelectPositions, tenant)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		p, err := sqlstore.Position(tenant, rows.Scan)
		if err != nil {
			return false, err
		}
		if !yield(p, nil) {
			return false, nil
		}
		if err := ctx.Err(); err != nil { // rows notice it later
			return false, err
		}
	}
	return true, rows.Err()
}

// Probe implements sinkers.Prober.
func (s *Sink) Probe(ctx context.Context, size int) error {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = s.writer.ExecContext(ctx, sqlstore.InsertProbe, min(max(size, 1), sqlstore.MaxProbe))
	if err == nil {
		_, err = s.writer.ExecContext(ctx, sqlstore.DeleteProbe)
	}
	return s.fail(ctx, "probe", err)
}
