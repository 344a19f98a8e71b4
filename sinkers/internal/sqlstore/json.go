package sqlstore

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// For a database at the other end of a network, many rows are one parameter: a JSON array of arrays, which
// json_each takes apart there.

// LeaseTable has one row: who may insert events.
const LeaseTable = "firetrail_lease"

// The statements on the lease, whose owner is ?1. The clock is the server's, so that no two need to agree.
const (
	CreateLease = `CREATE TABLE IF NOT EXISTS ` + LeaseTable + ` (
		id         INTEGER PRIMARY KEY CHECK (id = 1),
		owner      TEXT    NOT NULL, -- random
		holder     TEXT    NOT NULL, -- what a person knows it by
		expires_at INTEGER NOT NULL  -- ms since 1970
	) STRICT`
	// TakeLease takes or renews it for ?3 ms, for a holder ?2, and changes nothing while it is another's.
	TakeLease = `INSERT INTO ` + LeaseTable + ` (id, owner, holder, expires_at) VALUES (1, ?1, ?2, ` + serverNow + ` + ?3)
		ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, holder = excluded.holder, expires_at = excluded.expires_at
		WHERE owner = excluded.owner OR expires_at <= ` + serverNow
	SelectHolder = "SELECT holder FROM " + LeaseTable
	HoldsLease   = "SELECT EXISTS (SELECT 1 FROM " + LeaseTable + " WHERE owner = ?1)"
	EndLease     = "DELETE FROM " + LeaseTable + " WHERE owner = ?1"

	serverNow = "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"
)

// InsertJSON returns the statement that stores the rows of ?1 (see [AppendJSON]) in their order, and leaves alone those
// whose tenant and id are there already, those older than the cut-off ?2 (µs) or the prunes', and those that an
// erasure covers. With lease, it stores nothing unless ?3 has the lease.
//
// OR ROLLBACK concerns every other constraint: it undoes the whole transaction, which is this statement alone or
// is given up then, and spares SQLite a journal for the statement.
func InsertJSON(lease bool) string {
	names := strings.Split(eventColumns+", hash", ", ")
	columns := make([]string, len(names))
	for i, name := range names {
		columns[i] = fmt.Sprintf("j.value->>%d AS %s", i, name)
		if slices.Contains([]string{"id", "hash"}, name) {
			columns[i] = fmt.Sprintf("unhex(j.value->>%d) AS %s", i, name)
		}
	}
	statement := "INSERT OR ROLLBACK INTO audit_events (" + strings.Join(names, ", ") + ") SELECT v.* FROM (SELECT " +
		strings.Join(columns, ", ") + " FROM json_each(?1) AS j) AS v WHERE " + NotExpired("v.created_at", "?2") +
		// The first of the two is asked once, not for each row.
		" AND (NOT EXISTS (SELECT 1 FROM audit_tombstones) OR " + NotErased("v.tenant_id", "v.created_at", "v.actor_type", "v.actor_id") + ")"
	if lease {
		statement += " AND EXISTS (SELECT 1 FROM " + LeaseTable + " WHERE owner = ?3)"
	}
	return statement + onConflict
}

// AppendJSON appends the parameters of a row, as [Args.Append] returns them, to a JSON array: bytes as hexadecimal
// digits.
func AppendJSON(b []byte, args []any) []byte {
	for i, arg := range args {
		if i == 0 {
			b = append(b, '[')
		} else {
			b = append(b, ',')
		}
		switch v := arg.(type) {
		case string:
			b = appendText(b, v)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case []byte:
			b = append(b, '"')
			b = hex.AppendEncode(b, v)
			b = append(b, '"')
		default:
			b = append(b, "null"...)
		}
	}
	return append(b, ']')
}

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string of valid UTF-8.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		if c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, '\\', c)
		}
		from = i + 1
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// SelectDifferent reads, of the rows of ?1, which are tenant, id and hash each, those that are not there with this
// hash: the position in ?1, and the hash that is there, NULL for none.
const SelectDifferent = "SELECT j.key, e.hash FROM json_each(?1) AS j LEFT JOIN audit_events AS e INDEXED BY " + byTenant + `
	ON e.tenant_id = j.value->>0 AND e.id = unhex(j.value->>1) WHERE e.hash IS NOT unhex(j.value->>2)`

// The statements on ledger entries ?1, which are the parameters of [LedgerArgs] each and don't meet. Run in one
// transaction, they add the entries and make one of each and the entry that ends where it begins. Others in the
// ledger may still meet.
const (
	InsertLedgerJSON = `INSERT INTO audit_ledger (tenant_id, source, reason, from_seq, to_seq, at)
		SELECT tenant, source, reason, min(low, coalesce((SELECT l.from_seq ` + ledgerOf + ` AND l.to_seq BETWEEN v.low - 1 AND v.high
			ORDER BY l.to_seq LIMIT 1), low)), high, at ` + ledgerEntries + `
		WHERE NOT coalesce((SELECT l.from_seq ` + ledgerOf + ` AND l.to_seq >= v.high ORDER BY l.to_seq LIMIT 1) <= v.low, 0)
		ON CONFLICT (tenant_id, source, reason, to_seq) DO UPDATE SET
		from_seq = min(from_seq, excluded.from_seq), at = max(at, excluded.at)`
	AbsorbLedgerJSON = `DELETE FROM audit_ledger AS a
		WHERE (tenant_id, source, reason, to_seq) IN (SELECT tenant, source, reason, low - 1 ` + ledgerEntries + `)
		AND EXISTS (SELECT 1 FROM audit_ledger AS l WHERE l.tenant_id = a.tenant_id AND l.source = a.source AND l.reason = a.reason
			AND l.to_seq > a.to_seq AND l.from_seq <= a.from_seq)`

	ledgerOf      = "FROM audit_ledger AS l WHERE l.tenant_id = v.tenant AND l.source = v.source AND l.reason = v.reason"
	ledgerEntries = `FROM (SELECT j.value->>0 AS tenant, j.value->>1 AS source, j.value->>2 AS reason, j.value->>3 AS low,
		j.value->>4 AS high, j.value->>5 AS at FROM json_each(?1) AS j) AS v`
)

// PageRows is how many rows the statements below return at the most: what is read in one answer of a server has its
// limits.
const PageRows = 10_000

// SelectTenantsAfter is [SelectTenants] in pages: the first, and those after tenant ?1.
var (
	SelectFirstTenants = tenantsFrom(">= ''")
	SelectTenantsAfter = tenantsFrom("> ?1")
)

func tenantsFrom(condition string) string {
	return fmt.Sprintf(`WITH RECURSIVE names (name) AS (
		SELECT min(tenant_id) FROM audit_events INDEXED BY %[1]s WHERE tenant_id %[2]s
		UNION ALL SELECT (SELECT min(tenant_id) FROM audit_events INDEXED BY %[1]s WHERE tenant_id > names.name)
		FROM names WHERE names.name IS NOT NULL LIMIT %[3]d)
		SELECT name FROM names WHERE name IS NOT NULL ORDER BY name`, byTenant, condition, PageRows)
}

// SourceCount says how many events of a tenant are from a source, and which row of the table is the newest.
type SourceCount struct {
	Source         string
	Events, Newest int64
}

// ReadSourceCount reads a row of [SelectSourcesAfter].
func ReadSourceCount(scan func(dest ...any) error) (c SourceCount, err error) {
	err = scan(&c.Source, &c.Events, &c.Newest)
	return c, err
}

// SelectSourcesAfter returns the statement that reads a page of the sources of a tenant's events: those behind the last, or the first
// for nil.
func SelectSourcesAfter(tenant string, last *SourceCount) Statement {
	s := Statement{
		SQL: "SELECT source, count(*), (SELECT max(rowid) FROM audit_events) FROM audit_events INDEXED BY " + byTenant +
			" WHERE tenant_id = ?1",
		Args: []any{tenant},
	}
	if last != nil {
		s.SQL += " AND source > ?2"
		s.Args = append(s.Args, last.Source)
	}
	s.SQL += fmt.Sprint(" GROUP BY source ORDER BY source LIMIT ", PageRows)
	return s
}

// Window is a part of a tenant's positions that is read in pages along the events' key.
type Window struct {
	Tenant      string
	First, Last string            // of the sources
	Newest      int64             // the row that was stored last
	After       *sinkers.Position // which all come behind, in the order of SelectPositions; nil: the beginning
	ID          firetrail.ID      // the last of the page before; zero: there was none
}

// Select returns the statement that reads a page of it, as [Position] takes them, in the order of their ids.
func (w *Window) Select() Statement {
	base, _, _ := strings.Cut(SelectPositions, " ORDER BY")
	s := Statement{
		SQL:  base + " AND id > ?2 AND rowid <= ?3 AND source BETWEEN ?4 AND ?5",
		Args: []any{w.Tenant, w.ID[:], w.Newest, w.First, w.Last},
	}
	if p := w.After; p != nil {
		s.SQL += " AND (source, seq < 0, seq, id) > (?6, ?7, ?8, ?9)"
		s.Args = append(s.Args, p.Source, int64(p.Seq) < 0, int64(p.Seq), p.ID[:])
	}
	s.SQL += fmt.Sprint(" ORDER BY id LIMIT ", PageRows)
	return s
}

// SelectLedgerAfter returns the statement that reads a page of [SelectLedger]: what comes after the entry, or the first
// for nil.
func SelectLedgerAfter(scan sinkers.Scan, e *sinkers.LedgerEntry) Statement {
	s := Statement{SQL: ledgerColumns + " WHERE ?1", Args: []any{int64(1)}}
	if !scan.AllTenants {
		s.SQL += " AND tenant_id = ?2"
		s.Args = append(s.Args, scan.Tenant)
	}
	if e != nil {
		first := len(s.Args) + 1
		s.SQL += fmt.Sprintf(" AND (tenant_id, source, reason, from_seq, to_seq) > (?%d, ?%d, ?%d, ?%d, ?%d)", first, first+1, first+2, first+3, first+4)
		s.Args = append(s.Args, e.Tenant, e.Source, string(e.Reason), int64(e.From), int64(e.To))
	}
	s.SQL += ledgerOrder + fmt.Sprint(", to_seq LIMIT ", PageRows)
	return s
}
