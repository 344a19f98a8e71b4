package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/firetrail/firetrail/sinkers"
)

// Write implements sinkers.Sinker. The counts are exact while no other program writes the same rows at the same
// time; where one does, each may count a row as stored that will be one, and a conflict between the two is for
// FindConflicts. An error may mean that the server has the rows and its answer was lost; writing them again
// finds them then.
func (s *Sink) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	ctx, end, err := s.beginWrite(ctx)
	if err != nil {
		return sinkers.Result{}, err
	}
	defer end()
	if len(b.Rows) == 0 {
		return sinkers.Result{}, nil
	}
	done, err := s.takeTurn(ctx)
	if err != nil {
		return sinkers.Result{}, s.fail(ctx, "write", err)
	}
	defer done()
	defer s.columns.reset()
	res, err := s.write(ctx, b.Rows)
	s.note(ctx, err)
	if err != nil {
		return sinkers.Result{}, s.fail(ctx, "write", err)
	}
	return res, nil
}

// note keeps an error that leaves no doubt, for Probe: its own table may still work.
func (s *Sink) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		s.outage.Store(nil)
	case ctx.Err() == nil && kindOf(err) == outage:
		s.outage.Store(&err)
	}
}

func (s *Sink) write(ctx context.Context, rows []sinkers.Row) (res sinkers.Result, err error) {
	s.texts = slices.Grow(s.texts[:0], len(rows))[:len(rows)]
	defer clear(s.texts) // which alias the rows
	around := boundsOf(rows[:1])
	var bad []sinkers.RowError
	for i := range rows { // one pass: a batch is more than the processor's caches hold
		if s.texts[i], err = check(&rows[i]); err != nil {
			bad = append(bad, sinkers.RowError{Index: i, Err: err})
		}
		around.add(&rows[i])
	}
	if bad != nil {
		return res, &sinkers.BatchError{Rows: bad}
	}
	g, near, err := s.guards(ctx, around)
	if err != nil {
		return res, err
	}
	var stored map[key][16]byte
	if near {
		if stored, err = s.winners(ctx, rows); err != nil {
			return res, err
		}
	}
	var refused []sinkers.LedgerEntry
	s.seen.reset(len(rows))
	for i := range rows {
		r := &rows[i]
		if reason := g.refuses(&r.Event); reason != "" {
			if reason == sinkers.LedgerErased {
				res.Erased++
			} else {
				res.Expired++
			}
			p := sinkers.Position{Tenant: r.Tenant, Source: r.Source, Seq: r.Seq}
			if e, ok := sinkers.LedgerOf(p, reason, s.cfg.Retention.Clock()); ok {
				refused = append(refused, e)
			}
			continue
		}
		hash, found := stored[key{r.Tenant, r.ID}]
		if !found {
			if first := s.seen.first(rows, i); first != i {
				hash, found = rows[first].Hash, true
			}
		}
		switch {
		case !found:
			s.columns.add(r, &s.texts[i])
			res.Stored++
		case hash == r.Hash:
			res.Duplicates++
		default:
			res.Conflicts = append(res.Conflicts, i)
		}
	}
	if err := s.appendLedger(ctx, refused); err != nil {
		return res, err
	}
	if res.Stored == 0 {
		return res, nil
	}
	return res, s.insert(ctx)
}

// insert sends the columns.
func (s *Sink) insert(ctx context.Context) error {
	ctx = clickhouse.Context(ctx,
		clickhouse.WithColumnNamesAndTypes(columnTypes),
		clickhouse.WithSettings(clickhouse.Settings{
			"async_insert":                    0, // else it is answered before the rows are stored
			"insert_deduplicate":              1,
			"insert_deduplication_token":      s.columns.token(),
			"max_partitions_per_insert_block": 0, // an import may hold many months
		}))
	batch, err := s.conn.PrepareBatch(ctx, insert)
	if err != nil {
		return err
	}
	if err := s.columns.appendTo(batch); err != nil {
		_ = batch.Abort()
		return err
	}
	return batch.Send()
}

// token names the rows of an insert by their content: the server drops an insert whose token it has seen. One
// made of offsets would drop a batch in which a letter was mended and read again at the same offset.
func (c *columns) token() string {
	c.tokens = c.tokens[:0]
	for i, id := range c.id {
		tenant := c.tenant.values[i].(string)
		c.tokens = binary.BigEndian.AppendUint32(c.tokens, uint32(len(tenant)))
		c.tokens = append(c.tokens, tenant...)
		c.tokens = append(c.tokens, id...)
		c.tokens = append(c.tokens, c.hash[i]...)
	}
	sum := sha256.Sum256(c.tokens)
	return hex.EncodeToString(sum[:])
}
