package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"

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

func boundsOf(rows []sinkers.Row) bounds {
	r := &rows[0]
	b := bounds{r.ID, r.ID, milli(r), milli(r)}
	for i := range rows {
		b.add(&rows[i])
	}
	return b
}

// add takes a row's event in.
func (b *bounds) add(r *sinkers.Row) {
	if bytes.Compare(r.ID[:], b.low[:]) < 0 {
		b.low = r.ID
	}
	if bytes.Compare(r.ID[:], b.high[:]) > 0 {
		b.high = r.ID
	}
	ms := milli(r)
	b.from, b.to = min(b.from, ms), max(b.to, ms)
}

func milli(r *sinkers.Row) int64 { return r.Time.UnixMilli() }

// condition holds for the events within the bounds. That of time spares whole parts of the table.
func (b bounds) condition() string {
	return fmt.Sprintf("time_us >= %d AND time_us < %d AND id >= %s AND id <= %s",
		b.from*1000, (b.to+1)*1000, idLiteral(b.low[:]), idLiteral(b.high[:]))
}

// winners returns the content hash of the stored event for each key among rows that there is one for.
//
// The ids are sent along without the tenants, whose set would cost more than the few rows of other tenants with
// the same id. Where all rows are of one tenant its name leads into the key.
func (s *Sink) winners(ctx context.Context, rows []sinkers.Row) (map[key][16]byte, error) {
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

func severalTenants(rows []sinkers.Row) bool {
	for i := range rows {
		if rows[i].Tenant != rows[0].Tenant {
			return true
		}
	}
	return false
}

// idTable returns the rows' ids as a table to send along with a query.
func idTable(rows []sinkers.Row) (*ext.Table, error) {
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

// seen finds rows of a batch that have the same key: a table of indexes by hash, which is some times faster than
// a map with strings in its keys. The zero value is ready.
type seen struct {
	seed  maphash.Seed
	slots []int32 // 1 + the index of a row; 0 is free
	mask  uint64
}

// reset makes room for n rows.
func (s *seen) reset(n int) {
	if s.slots == nil {
		s.seed = maphash.MakeSeed() // ids are others' choice: they must not know where they collide
	}
	size := 1 << bits.Len(uint(2*n))
	if len(s.slots) < size {
		s.slots = make([]int32, size)
	} else {
		clear(s.slots)
	}
	s.mask = uint64(len(s.slots) - 1)
}

// first returns the index of the first row asked for with the key of row i, which is i where that is the first.
func (s *seen) first(rows []sinkers.Row, i int) int {
	r := &rows[i]
	for at := maphash.Bytes(s.seed, r.ID[:]) & s.mask; ; at = (at + 1) & s.mask {
		slot := s.slots[at]
		if slot == 0 {
			s.slots[at] = int32(i) + 1
			return i
		}
		if other := &rows[slot-1]; bytes.Equal(other.ID[:], r.ID[:]) && other.Tenant == r.Tenant {
			return int(slot) - 1
		}
	}
}
