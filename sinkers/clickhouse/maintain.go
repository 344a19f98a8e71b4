package clickhouse

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// Tenants implements sinkers.TenantLister.
func (s *Sink) Tenants(ctx context.Context) iter.Seq2[string, error] {
	return backend.Stream(ctx, s.begin, s.fail, "tenants", func(ctx context.Context, yield func(string, error) bool) error {
		tenants, err := s.tenants(ctx)
		return backend.Each(tenants, err, yield)
	})
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
	return backend.Stream(ctx, s.begin, s.fail, "scan", func(ctx context.Context, yield func(sinkers.Position, error) bool) error {
		return backend.ScanTenants(ctx, scan, yield, s.tenants, s.scanTenant)
	})
}

// scanTenant returns whether the caller wants more.
func (s *Sink) scanTenant(ctx context.Context, tenant string, yield func(sinkers.Position, error) bool) (bool, error) {
	graves, err := s.currentGraves(ctx)
	if err != nil {
		return false, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what is left of the answer is not waited for
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT first.1 AS source, first.2 AS seq, id, first.3, first.4, first.5, first.6
		FROM (SELECT id, argMax((source, seq, time_us, action = '%s', actor_id, actor_type), %s) AS first
			FROM audit_events WHERE tenant_id = %s GROUP BY tenant_id, id)
		ORDER BY source, seq, id%s`, firetrail.SourceClosed, wins, literal(tenant), s.inOrder))
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			e      = firetrail.Event{Tenant: tenant}
			us     int64
			closes uint8
		)
		err := rows.Scan(&e.Source, &e.Seq, (*[len(firetrail.ID{})]byte)(&e.ID), &us, &closes, &e.Actor.ID, &e.Actor.Type)
		if err != nil {
			return false, err
		}
		if e.Time = time.UnixMicro(us).UTC(); graves.cover(&e) {
			continue
		}
		p := sinkers.Position{Tenant: tenant, Source: e.Source, Seq: e.Seq, ID: e.ID, Time: e.Time, Closes: closes == 1}
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

// Probe implements sinkers.Prober. Where a write has just failed by an error that leaves no doubt, such as too many
// parts or a table that can only be read, it returns that: the table of probes may work all the same. It does so once for each such
// write: whoever asks again wants to know whether another write is worth while, and only that tells whether it is over.
func (s *Sink) Probe(ctx context.Context, size int) error {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	if why := s.outage.Swap(nil); why != nil {
		return s.fail(ctx, "probe: the last write said", *why)
	}
	// Of what doesn't compress: a disk that has room for the probe is to have some for as many bytes of rows.
	err = s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO audit_probes SELECT rand64(), randomString(%d) SETTINGS async_insert = 0", min(max(size, 1), maxProbe)))
	if err == nil {
		err = s.conn.Exec(ctx, "TRUNCATE TABLE audit_probes")
	}
	return s.fail(ctx, "probe", err)
}
