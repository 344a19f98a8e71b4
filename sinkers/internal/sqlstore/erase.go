package sqlstore

import (
	"fmt"
	"time"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// The statements on tombstones. A tombstone's key is tenant ?1, actor id ?2 and actor type ?3.
const (
	// KeepTombstone keeps one: cut-off ?4, reason ?5, time ?6. Of two cut-offs the later stays.
	KeepTombstone = `INSERT INTO audit_tombstones (tenant_id, actor_id, actor_type, before, reason, erased_at, pending)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1) ON CONFLICT (tenant_id, actor_id, actor_type) DO UPDATE SET
		before = max(before, excluded.before), reason = excluded.reason, erased_at = excluded.erased_at, pending = 1`
	// EndTombstone says that everything is deleted that a tombstone with cut-off ?4 covers.
	EndTombstone = `UPDATE audit_tombstones SET pending = 0
		WHERE tenant_id = ?1 AND actor_id = ?2 AND actor_type = ?3 AND before = ?4`
	// SelectPending reads the tombstones of erasures that were cut off: the key, cut-off, reason.
	SelectPending = "SELECT tenant_id, actor_id, actor_type, before, reason FROM audit_tombstones INDEXED BY " +
		tombstonesPending + " WHERE pending = 1"
)

// Tombstone returns the parameters of [KeepTombstone]; the first four are those of [EndTombstone].
func Tombstone(e sinkers.Erasure, now time.Time) []any {
	return []any{e.Tenant, e.ActorID, e.ActorType, e.Before.UnixMicro(), e.Reason, now.UnixMicro()}
}

// Erase returns the statement that deletes what e covers, at most [PruneChunk] events, and returns tenant,
// source and seq of each: it is run until it deletes fewer.
func Erase(e sinkers.Erasure) Statement {
	s := erased(e)
	s.SQL = deleteRows(s.SQL)
	return s
}

// CountErase returns the statement that counts what [Erase] would delete.
func CountErase(e sinkers.Erasure) Statement {
	s := erased(e)
	s.SQL = "SELECT count(*)" + s.SQL
	return s
}

func erased(e sinkers.Erasure) Statement {
	_, to := sinkers.Query{To: e.Before}.TimeRange()
	_, high := backend.IDBounds(0, to)
	index := byTenant
	if e.ActorID != "" {
		index = byActor
	}
	s := Statement{
		" FROM audit_events INDEXED BY " + index + " WHERE tenant_id = ?1 AND id < ?2 AND created_at < ?3",
		[]any{e.Tenant, high, to},
	}
	for _, f := range [...]struct{ column, value string }{{"actor_id", e.ActorID}, {"actor_type", e.ActorType}} {
		if f.value != "" {
			s.Args = append(s.Args, f.value)
			s.SQL += fmt.Sprintf(" AND %s = ?%d", f.column, len(s.Args))
		}
	}
	return s
}

// What a writer asks before it inserts: the prunes' cut-off, and whether there is any tombstone; then, if there
// is, whether tenant ?1 has one.
const (
	SelectGuards = "SELECT (" + SelectPruned + "), EXISTS (SELECT 1 FROM audit_tombstones)"
	SelectBuried = "SELECT EXISTS (SELECT 1 FROM audit_tombstones WHERE tenant_id = ?1)"
)

// Cutoff is a retention's or a prune's cut-off in µs, rounded up like the bound of what is deleted; that of none is
// the least.
func Cutoff(t time.Time) int64 {
	cutoff, _ := sinkers.Query{From: t}.TimeRange()
	return cutoff
}
