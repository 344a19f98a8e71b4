package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

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

// write has the server asked about the rows while it makes their columns, and opens the insert: nearly always none
// is there and none is refused, and then all that is left to do is to send it. Where it isn't so, the columns are made anew.
func (s *Sink) write(ctx context.Context, rows []sinkers.Row) (sinkers.Result, error) {
	defer func() { clear(s.texts) }() // which alias the rows
	asked := make(chan answer, 1)
	around := boundsOf(rows)
	go func() { asked <- s.ask(ctx, rows, around) }()
	opened, res, err := s.expect(ctx, rows)
	a := <-asked // whatever went wrong, before anyone else has the rows
	if err == nil {
		err = a.err
	}
	if err != nil {
		opened.abort()
		return sinkers.Result{}, err
	}
	s.lucky = len(a.stored) == 0 && !a.guards.refusesAny(rows)
	if !s.lucky {
		opened.abort()
		opened = nil
		var refused []sinkers.LedgerEntry
		res, refused = s.sort(rows, &a)
		if err := s.appendLedger(ctx, refused); err != nil {
			return res, err
		}
		if res.Stored == 0 {
			return res, nil
		}
	}
	if opened == nil {
		if opened, err = s.openInsert(ctx); err != nil {
			return res, err
		}
	}
	return res, s.columns.suspect(opened.Send())
}

// answer is what the server knows of the rows of a write.
type answer struct {
	guards guards
	stored map[key][16]byte // content hashes
	err    error
}

// ask asks for it.
func (s *Sink) ask(ctx context.Context, rows []sinkers.Row, around bounds) (a answer) {
	var near bool
	if a.guards, near, a.err = s.guards(ctx, around); a.err == nil && near {
		a.stored, a.err = s.winners(ctx, rows)
	}
	return a
}

// expect checks the rows, and makes the columns of the insert as if none were stored and none refused. It opens the
// insert if that was so for the last write, and a connection is left for the questions: what is opened in vain costs one.
func (s *Sink) expect(ctx context.Context, rows []sinkers.Row) (opened *opened, res sinkers.Result, err error) {
	s.texts = slices.Grow(s.texts[:0], len(rows))[:len(rows)]
	var bad []sinkers.RowError
	for i := range rows {
		if s.texts[i], err = check(&rows[i]); err != nil {
			bad = append(bad, sinkers.RowError{Index: i, Err: err})
		}
	}
	if bad != nil {
		return nil, res, &sinkers.BatchError{Rows: bad}
	}
	res, _ = s.sort(rows, &answer{guards: guards{cutoff: math.MinInt64, graves: new(graves)}})
	if s.lucky && s.spareConns() {
		opened, err = s.openInsert(ctx)
	}
	return opened, res, err
}

// spareConns reports whether the insert and the questions can have a connection each.
func (s *Sink) spareConns() bool {
	stats := s.conn.Stats()
	return stats.MaxOpenConns-stats.Open >= 2
}

// sort makes the columns of the rows that are to be stored, and counts all of them.
func (s *Sink) sort(rows []sinkers.Row, a *answer) (res sinkers.Result, refused []sinkers.LedgerEntry) {
	s.columns.reset()
	s.seen.reset(len(rows))
	for i := range rows {
		r := &rows[i]
		if reason := a.guards.refuses(&r.Event); reason != "" {
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
		hash, found := a.stored[key{r.Tenant, r.ID}]
		if !found {
			if first := s.seen.first(rows, i); first != i {
				hash, found = rows[first].Hash, true
			}
		}
		switch {
		case !found:
			s.columns.add(r, &s.texts[i])
			s.columns.rows = append(s.columns.rows, i)
			res.Stored++
		case hash == r.Hash:
			res.Duplicates++
		default:
			res.Conflict(i, hash)
		}
	}
	return res, refused
}

// opened is an insert that has its columns and waits to be sent. A nil one is none.
type opened struct{ driver.Batch }

func (o *opened) abort() {
	if o != nil {
		_ = o.Abort() // nothing of it was sent
	}
}

// openInsert begins an insert of the columns.
func (s *Sink) openInsert(ctx context.Context) (*opened, error) {
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
		return nil, err
	}
	o := &opened{batch}
	if err := s.columns.appendTo(batch); err != nil {
		o.abort()
		return nil, err
	}
	return o, nil
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
