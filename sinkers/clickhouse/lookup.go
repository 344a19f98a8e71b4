package clickhouse

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// key is what an event is known by.
type key struct {
	tenant string
	id     firetrail.ID
}

// wins is the order in which rows of one key win: the first that was inserted, and of those that two workers
// inserted in the same microsecond always the same.
const wins = "(first_wins, hash)"

// bounds are what the events with the ids of some rows lie within: their ids, and the milliseconds of these, which
// are those of their times.
type bounds struct {
	low, high firetrail.ID
	from, to  int64 // ms since 1970, both included
}

func boundsOf(rows []*sinkers.Row) bounds {
	b := boundsOfRow(rows[0])
	for _, r := range rows {
		b.take(boundsOfRow(r))
	}
	return b
}

func boundsOfRow(r *sinkers.Row) bounds {
	ms := r.Time.UnixMilli()
	return bounds{r.ID, r.ID, ms, ms}
}

// take takes in what lies within o.
func (b *bounds) take(o bounds) {
	if bytes.Compare(o.low[:], b.low[:]) < 0 {
		b.low = o.low
	}
	if bytes.Compare(o.high[:], b.high[:]) > 0 {
		b.high = o.high
	}
	b.from, b.to = min(b.from, o.from), max(b.to, o.to)
}

// condition holds for the events within the bounds. That of time spares whole parts of the table.
func (b bounds) condition() string {
	return fmt.Sprintf("time_us >= %d AND time_us < %d AND id >= %s AND id <= %s",
		b.from*1000, (b.to+1)*1000, idLiteral(b.low[:]), idLiteral(b.high[:]))
}

// extent is the ids of a tenant that are stored within some bounds, the first and the last: what lies beyond is new.
type extent struct {
	tenant    string
	low, high firetrail.ID
}

// winners returns the content hash of the stored event for each key among rows that there is one for.
//
// The ids are sent along without the tenants, whose set would cost more than the few rows of other tenants with
// the same id. Where all rows are of one tenant its name leads into the key.
func (s *Sink) winners(ctx context.Context, rows []*sinkers.Row) (map[key][16]byte, error) {
	ids, err := idTable(rows)
	if err != nil {
		return nil, err
	}
	within := boundsOf(rows).condition()
	if !severalTenants(rows) {
		within += " AND tenant_id = " + literal(rows[0].Tenant)
	}
	found, err := s.conn.Query(clickhouse.Context(ctx, clickhouse.WithExternalTable(ids)), fmt.Sprintf(
		"SELECT tenant_id, id, argMax(hash, %s) FROM audit_events WHERE %s AND id IN (SELECT id FROM %s) GROUP BY tenant_id, id",
		wins, within, ids.Name()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }() // Err says what there is to say
	var (
		hashes = map[key][16]byte{}
		k      key
		hash   [16]byte
	)
	for found.Next() {
		if err := found.Scan(&k.tenant, (*[16]byte)(&k.id), &hash); err != nil {
			return nil, err
		}
		hashes[k] = hash
	}
	return hashes, found.Err()
}

func severalTenants(rows []*sinkers.Row) bool {
	for i := range rows {
		if rows[i].Tenant != rows[0].Tenant {
			return true
		}
	}
	return false
}

// idTable returns the rows' ids as a table to send along with a query.
func idTable(rows []*sinkers.Row) (*ext.Table, error) {
	table, err := ext.NewTable("ids", ext.Column("id", "FixedString(16)"))
	if err != nil {
		return nil, err
	}
	ids := make([][]byte, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID[:]
	}
	_, err = table.Block().Columns[0].Append(ids)
	return table, err
}
