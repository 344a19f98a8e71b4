package clickhouse

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// Prune implements sinkers.Pruner. Whole months are dropped as partitions, which costs the same however large they
// are; of the month that the time lies in, the rows are marked as deleted, and go with the next merges. To
// count the events their keys are read.
func (s *Sink) Prune(ctx context.Context, before time.Time, dryRun bool) (n int64, err error) {
	begin := s.beginWrite
	if dryRun {
		begin = s.begin
	}
	ctx, end, err := begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if before.IsZero() {
		return 0, nil
	}
	n, err = s.prune(ctx, before, dryRun)
	return n, s.fail(ctx, "prune", err)
}

func (s *Sink) prune(ctx context.Context, before time.Time, dryRun bool) (n int64, err error) {
	_, to := sinkers.Query{To: before}.TimeRange()
	months, err := s.months(ctx, to)
	if err != nil {
		return 0, err
	}
	for _, m := range months {
		condition := fmt.Sprintf("_partition_id = '%d' AND time_us < %d", m.id, to)
		var old uint64
		err := s.conn.QueryRow(ctx, fmt.Sprintf("SELECT count() FROM (SELECT tenant_id, id FROM audit_events WHERE %s "+
			"GROUP BY tenant_id, id SETTINGS optimize_aggregation_in_order = 1)", condition)).Scan(&old)
		if err != nil {
			return n, err
		}
		if !dryRun && old > 0 {
			statement := "ALTER TABLE audit_events DROP PARTITION ID '" + fmt.Sprint(m.id) + "'"
			if m.newest >= to {
				statement = fmt.Sprintf("DELETE FROM audit_events IN PARTITION ID '%d' WHERE time_us < %d", m.id, to)
			}
			if err := s.conn.Exec(ctx, statement); err != nil {
				return n, err
			}
		}
		n += int64(old)
	}
	return n, nil
}

// month is a partition of the table.
type month struct {
	id     uint32 // 202411
	newest int64  // µs since 1970
}

// months returns those that may hold events from before a time, the oldest first. It reads no rows: each part of
// the table has its bounds beside it.
func (s *Sink) months(ctx context.Context, to int64) (months []month, err error) {
	rows, err := s.conn.Query(ctx, fmt.Sprintf("SELECT toUInt32(_partition_id) AS p, max(time_us) FROM audit_events "+
		"GROUP BY p HAVING min(time_us) < %d ORDER BY p", to))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var m month
		if err := rows.Scan(&m.id, &m.newest); err != nil {
			return nil, err
		}
		months = append(months, m)
	}
	return months, rows.Err()
}

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
	rows, err := s.conn.Query(ctx, "SELECT DISTINCT tenant_id FROM audit_events ORDER BY tenant_id")
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

// Scan implements sinkers.Scanner. Each tenant is read in a state of its own, and sorted by the server, on disk
// where it is large.
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
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what is left of the answer is not waited for
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT first.1 AS source, first.2 AS seq, id, first.3
		FROM (SELECT id, argMax((source, seq, time_us), %s) AS first FROM audit_events WHERE tenant_id = %s GROUP BY tenant_id, id)
		ORDER BY source, seq, id SETTINGS optimize_aggregation_in_order = 1`, wins, literal(tenant)))
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			p  = sinkers.Position{Tenant: tenant}
			us int64
		)
		if err := rows.Scan(&p.Source, &p.Seq, (*[len(firetrail.ID{})]byte)(&p.ID), &us); err != nil {
			return false, err
		}
		p.Time = time.UnixMicro(us).UTC()
		if !yield(p, nil) {
			stop()
			return false, nil
		}
		if err := ctx.Err(); err != nil { // rows notice it later
			return false, err
		}
	}
	return true, rows.Err()
}

// maxProbe is the largest probe, in bytes.
const maxProbe = 64 << 20

// Probe implements sinkers.Prober. Where the last write failed by an error that leaves no doubt, such as too many
// parts or a table that can only be read, it returns that: the table of probes may work all the same.
func (s *Sink) Probe(ctx context.Context, size int) error {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	if why := s.outage.Load(); why != nil {
		return s.fail(ctx, "probe: the last write said", *why)
	}
	err = s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO audit_probes SELECT rand64(), repeat(toString(rand64()), %d) SETTINGS async_insert = 0", min(max(size, 1), maxProbe)/20+1))
	if err == nil {
		err = s.conn.Exec(ctx, "TRUNCATE TABLE audit_probes")
	}
	return s.fail(ctx, "probe", err)
}
