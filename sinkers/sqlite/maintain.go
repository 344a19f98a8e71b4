package sqlite

import (
	"context"
	"iter"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Tenants implements sinkers.TenantLister.
func (s *Sink) Tenants(ctx context.Context) iter.Seq2[string, error] {
	return backend.Stream(ctx, s.begin, s.fail, "tenants", func(ctx context.Context, yield func(string, error) bool) error {
		tenants, err := s.tenants(ctx)
		return backend.Each(tenants, err, yield)
	})
}

func (s *Sink) tenants(ctx context.Context) ([]string, error) {
	return sqlstore.ReadAll(ctx, s.readers, sqlstore.Statement{SQL: sqlstore.SelectTenants}, sqlstore.Text)
}

// Scan implements sinkers.Scanner. Each tenant is read in a state of its own; while one is, SQLite's
// write-ahead log can't be emptied and grows with what is written.
func (s *Sink) Scan(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	return backend.Stream(ctx, s.begin, s.fail, "scan", func(ctx context.Context, yield func(sinkers.Position, error) bool) error {
		return backend.ScanTenants(ctx, scan, yield, s.tenants, s.scanTenant)
	})
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
