package clickhouse

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
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

var ledgerTypes = []clickhouse.ColumnNameAndType{
	{Name: "tenant_id", Type: "String"},
	{Name: "source", Type: "String"},
	{Name: "reason", Type: "LowCardinality(String)"},
	{Name: "from_seq", Type: "UInt64"},
	{Name: "to_seq", Type: "UInt64"},
	{Name: "at_us", Type: "Int64"},
}

// appendLedger adds entries, which it sorts and merges in place.
func (s *Sink) appendLedger(ctx context.Context, entries []sinkers.LedgerEntry) error {
	if len(entries) == 0 {
		return nil
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(ledgerTypes),
		clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO audit_ledger (tenant_id, source, reason, from_seq, to_seq, at_us)")
	if err != nil {
		return err
	}
	for _, e := range sinkers.CompactLedger(entries) {
		if err := batch.Append(e.Tenant, e.Source, string(e.Reason), e.From, e.To, e.Time.UnixMicro()); err != nil {
			_ = batch.Abort()
			return err
		}
	}
	return batch.Send()
}

// noteDeleted adds what a condition holds for, in runs of sequences, which the server finds: a run ends where
// the next sequence is more than one ahead.
func (s *Sink) noteDeleted(ctx context.Context, condition string, reason sinkers.LedgerReason) error {
	return s.conn.Exec(ctx, fmt.Sprintf(`INSERT INTO audit_ledger (tenant_id, source, reason, from_seq, to_seq, at_us)
		SELECT tenant_id, source, '%s', min(seq), max(seq), %d FROM (
			SELECT tenant_id, source, seq, sum(jump) OVER (PARTITION BY tenant_id, source ORDER BY seq ROWS UNBOUNDED PRECEDING) AS run FROM (
				SELECT tenant_id, source, seq, seq - lagInFrame(seq, 1, seq) OVER (
					PARTITION BY tenant_id, source ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) > 1 AS jump
				FROM audit_events WHERE %s AND seq > 0))
		GROUP BY tenant_id, source, run SETTINGS async_insert = 0`, reason, s.cfg.Retention.Clock().UnixMicro(), condition))
}

// ReadLedger implements sinkers.Ledger.
func (s *Sink) ReadLedger(ctx context.Context, scan sinkers.Scan) iter.Seq2[sinkers.LedgerEntry, error] {
	return sinkers.MergeLedger(backend.Stream(ctx, s.begin, s.fail, "ledger",
		func(ctx context.Context, yield func(sinkers.LedgerEntry, error) bool) error {
			return s.readLedger(ctx, scan, yield)
		}))
}

// readLedger returns nil, too, when the caller wants no more.
func (s *Sink) readLedger(ctx context.Context, scan sinkers.Scan, yield func(sinkers.LedgerEntry, error) bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop() // what is left of the answer is not waited for
	where := ""
	if !scan.AllTenants {
		where = "WHERE tenant_id = " + literal(scan.Tenant)
	}
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT tenant_id, source, reason, from_seq, to_seq, at_us FROM audit_ledger %s
		ORDER BY tenant_id, source, toString(reason), from_seq`, where))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			e      sinkers.LedgerEntry
			reason string
			at     int64
		)
		if err := rows.Scan(&e.Tenant, &e.Source, &reason, &e.From, &e.To, &at); err != nil {
			return err
		}
		e.Reason, e.Time = sinkers.LedgerReason(reason), time.UnixMicro(at).UTC()
		if !yield(e, nil) {
			stop()
			return nil
		}
		if err := ctx.Err(); err != nil { // rows notice it later
			return err
		}
	}
	return rows.Err()
}
