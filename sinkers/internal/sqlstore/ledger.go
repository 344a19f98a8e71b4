package sqlstore

import (
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// The statements on the ledger. Its entries of one tenant ?1, source ?2 and reason ?3 don't meet, as long as
// they are added by [LedgerNeighbours], [DeleteLedger] and [InsertLedger] in one transaction.
const (
	// LedgerNeighbours reads from_seq, to_seq and at of the entries, in order, that may meet one from seq ?4
	// on: those up to the first that begins after its end.
	LedgerNeighbours = `SELECT from_seq, to_seq, at FROM audit_ledger
		WHERE tenant_id = ?1 AND source = ?2 AND reason = ?3 AND to_seq >= ?4 - 1 ORDER BY to_seq`
	// DeleteLedger deletes the entry that ends with ?4.
	DeleteLedger = `DELETE FROM audit_ledger WHERE tenant_id = ?1 AND source = ?2 AND reason = ?3 AND to_seq = ?4`
	// InsertLedger adds an entry. One that ends where another does takes it in.
	InsertLedger = `INSERT INTO audit_ledger (tenant_id, source, reason, from_seq, to_seq, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
		ON CONFLICT (tenant_id, source, reason, to_seq) DO UPDATE SET
		from_seq = min(from_seq, excluded.from_seq), at = max(at, excluded.at)`

	ledgerColumns = "SELECT tenant_id, source, reason, from_seq, to_seq, at FROM audit_ledger"
	ledgerOrder   = " ORDER BY tenant_id, source, reason, from_seq"
)

// SelectLedger returns the statement that reads the entries of s; [LedgerEntry] reads its rows.
func SelectLedger(s sinkers.Scan) Statement {
	if s.AllTenants {
		return Statement{SQL: ledgerColumns + ledgerOrder}
	}
	return Statement{ledgerColumns + " WHERE tenant_id = ?1" + ledgerOrder, []any{s.Tenant}}
}

// LedgerEntry reads a row of [SelectLedger], with a function such as sql.Rows.Scan.
func LedgerEntry(scan func(dest ...any) error) (e sinkers.LedgerEntry, err error) {
	var from, to, at int64
	err = scan(&e.Tenant, &e.Source, &e.Reason, &from, &to, &at)
	e.From, e.To, e.Time = uint64(from), uint64(to), time.UnixMicro(at).UTC()
	return e, err
}

// LedgerArgs returns the parameters of [InsertLedger].
func LedgerArgs(e sinkers.LedgerEntry) []any {
	return []any{e.Tenant, e.Source, string(e.Reason), int64(e.From), int64(e.To), e.Time.UnixMicro()}
}
