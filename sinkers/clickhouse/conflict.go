package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// FindConflicts implements sinkers.ConflictFinder. Both rows of a conflict must have been stored since then, as
// those of two writers at the same time are: whoever writes later finds the first. It reads the keys of
// what was inserted since, which an index of the times of insertion finds.
func (s *Sink) FindConflicts(ctx context.Context, since time.Time, limit int) ([]sinkers.Conflict, error) {
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	conflicts, err := s.conflicts(ctx, since, max(limit, 1))
	return conflicts, s.fail(ctx, "find conflicts", err)
}

func (s *Sink) conflicts(ctx context.Context, since time.Time, limit int) (conflicts []sinkers.Conflict, err error) {
	where := ""
	if !since.IsZero() {
		where = fmt.Sprintf("WHERE inserted_at >= fromUnixTimestamp64Micro(%d, 'UTC')", since.UnixMicro())
	}
	rows, err := s.conn.Query(ctx, fmt.Sprintf(`SELECT %s, hash, first_wins FROM audit_events
		WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM audit_events %s GROUP BY tenant_id, id HAVING min(hash) <> max(hash) LIMIT %d)
		ORDER BY tenant_id, id, first_wins DESC, hash DESC SETTINGS optimize_aggregation_in_order = 1`, eventColumns, where, limit))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var winner stored
	lost := map[[16]byte]bool{} // against the winner; a row may be there twice
	for first := true; rows.Next(); first = false {
		var r stored
		if err := r.scan(rows); err != nil {
			return nil, err
		}
		if first || r.ID != winner.ID || r.Tenant != winner.Tenant {
			winner = r
			clear(lost)
		}
		if r.Hash != winner.Hash && !lost[r.Hash] && len(conflicts) < limit {
			lost[r.Hash] = true
			conflicts = append(conflicts, sinkers.Conflict{Row: r.Row, Winner: winner.Hash})
		}
	}
	return conflicts, rows.Err()
}

// dropChunk is how many rows one statement of DropConflicts deletes: a statement has 256 KiB at the most.
const dropChunk = 300

// DropConflicts implements sinkers.ConflictFinder.
func (s *Sink) DropConflicts(ctx context.Context, conflicts []sinkers.Conflict) error {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	for chunk := range slices.Chunk(conflicts, dropChunk) {
		keys := make([]string, len(chunk))
		for i := range chunk {
			c := &chunk[i]
			keys[i] = fmt.Sprintf("(%s, %s, unhex('%s'))", literal(c.Tenant), idLiteral(c.ID[:]), hex.EncodeToString(c.Hash[:]))
		}
		err := s.conn.Exec(ctx, "DELETE FROM audit_events WHERE (tenant_id, id, hash) IN ("+strings.Join(keys, ", ")+")")
		if err != nil {
			return s.fail(ctx, "drop conflicts", err)
		}
	}
	return nil
}
