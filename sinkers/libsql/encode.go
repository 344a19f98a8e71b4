package libsql

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// maxPart is the most bytes of JSON in a statement. The server takes no value of 5 MB or more, neither as a parameter
// nor in a row.
const maxPart = 4 << 20

// encode makes the parts of the rows that aren't expired, or returns a *sinkers.BatchError that names those that
// can't be stored.
func (w *write) encode() error {
	var (
		box  sqlstore.Args
		args []any
		one  []byte
		bad  []sinkers.RowError
		err  error
	)
	for _, i := range w.order() {
		r := &w.rows[i]
		if r.Time.UnixMicro() < w.cutoff && !r.Time.IsZero() {
			w.res.Expired++
			w.note(i, sinkers.LedgerExpired)
			continue
		}
		if args, err = box.Append(args[:0], r); err != nil {
			bad = append(bad, sinkers.RowError{Index: i, Err: err})
			continue
		}
		one = sqlstore.AppendJSON(one[:0], args)
		if len(one)+len("[]") > maxPart {
			bad = append(bad, sinkers.RowError{Index: i, Err: fmt.Errorf("the event has %d bytes as JSON; the most is %d", len(one), maxPart-len("[]"))})
			continue
		}
		w.add(i, one)
	}
	if bad != nil {
		slices.SortFunc(bad, func(a, b sinkers.RowError) int { return cmp.Compare(a.Index, b.Index) })
		return &sinkers.BatchError{Rows: bad}
	}
	for i := range w.parts {
		w.parts[i].json = append(w.parts[i].json, ']')
	}
	return nil
}

// add appends a row's JSON to the last part, or to a new one.
func (w *write) add(i int, json []byte) {
	last := len(w.parts) - 1
	if last < 0 || len(w.parts[last].json)+len(json)+len(",]") > maxPart {
		w.parts = append(w.parts, part{json: append(make([]byte, 0, min(maxPart, (len(json)+64)*len(w.rows))), '[')})
		last++
	} else {
		w.parts[last].json = append(w.parts[last].json, ',')
	}
	p := &w.parts[last]
	p.json = append(p.json, json...)
	p.indexes = append(p.indexes, i)
}

// order returns the rows' indexes grouped by tenant, each group in order.
func (w *write) order() []int {
	order := make([]int, len(w.rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(w.rows[a].Tenant, w.rows[b].Tenant) })
	return order
}

// hashes returns tenant, id and hash of a part's rows as JSON.
func (w *write) hashes(p *part) []byte {
	b := []byte{'['}
	for k, i := range p.indexes {
		if k > 0 {
			b = append(b, ',')
		}
		r := &w.rows[i]
		b = sqlstore.AppendJSON(b, []any{r.Tenant, r.ID[:], r.Hash[:]})
	}
	return append(b, ']')
}
