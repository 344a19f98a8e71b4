package sqlstore

import (
	"fmt"
	"time"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// PruneChunk is how many events one statement of [Prune] deletes at the most: few enough that a
// write waits for milliseconds, not for the whole of it.
const PruneChunk = 1000

// Prune returns the statement that deletes the oldest events from before a time, at most [PruneChunk] of
// them, and returns tenant, source and seq of each: it is run until it deletes fewer.
func Prune(before time.Time) Statement {
	s := olderThan(before)
	s.SQL = deleteRows(s.SQL + " ORDER BY id")
	return s
}

func deleteRows(from string) string {
	return fmt.Sprintf("DELETE FROM audit_events WHERE rowid IN (SELECT rowid%s LIMIT %d) RETURNING tenant_id, source, seq", from, PruneChunk)
}

// CountPrune returns the statement that counts what [Prune] would delete.
func CountPrune(before time.Time) Statement {
	s := olderThan(before)
	s.SQL = "SELECT count(*)" + s.SQL
	return s
}

// SelectPruned reads the cut-off of all prunes so far, in µs; KeepPruned makes ?1 that cut-off, if it is later.
const (
	SelectPruned = "SELECT coalesce(max(before), -9223372036854775808) FROM audit_pruned"
	KeepPruned   = `INSERT INTO audit_pruned (id, before) VALUES (1, ?1)
		ON CONFLICT (id) DO UPDATE SET before = max(before, excluded.before)`
)

func olderThan(before time.Time) Statement {
	_, to := sinkers.Query{To: before}.TimeRange()
	_, high := backend.IDBounds(0, to)
	s := Statement{" FROM audit_events INDEXED BY " + byID + " WHERE id < ?1", []any{high}}
	if to%1000 != 0 { // the id tells milliseconds apart; within one the rows are read
		s.SQL += " AND created_at < ?2"
		s.Args = append(s.Args, to)
	}
	return s
}

// The statements of a probe: a row of ?1 bytes in a table kept for it, and the removal of it and of what an
// earlier one left.
const (
	InsertProbe = "INSERT INTO audit_probes (body) VALUES (zeroblob(?1))"
	DeleteProbe = "DELETE FROM audit_probes"
	// MaxProbe is the largest probe, in bytes.
	MaxProbe = 64 << 20
)

// Position reads a row of [SelectPositions], with a function such as sql.Rows.Scan.
func Position(tenant string, scan func(dest ...any) error) (sinkers.Position, error) {
	var (
		id           []byte
		seq, created int64
		p            = sinkers.Position{Tenant: tenant}
	)
	if err := scan(&p.Source, &seq, &id, &created, &p.Closes); err != nil {
		return p, err
	}
	p.Seq, p.Time = uint64(seq), time.UnixMicro(created).UTC()
	var err error
	p.ID, err = eventID(id)
	return p, err
}
