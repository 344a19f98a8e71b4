package clickhouse

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// keyOrder puts the rows of a batch in the order of the table's key, and those of one key in that of the batch. So rows with one
// key lie side by side, and the server has nothing to sort. Its memory is used again; the zero value is ready.
type keyOrder struct {
	at      []int          // the rows' indexes, in order
	of      []int          // of each row: its tenant's number
	numbers map[string]int // of the tenants
	tenants []group        // in order
	begin   []int          // of each tenant, by its number: where its next row goes
}

// group is a tenant's part of a batch.
type group struct {
	tenant string
	number int
	at     []int // of keyOrder.at
	rows   int
}

// sort puts rows in order. Tenants are few beside rows, and the ids of each are mostly in order already.
func (o *keyOrder) sort(rows []sinkers.Row) {
	o.count(rows)
	slices.SortFunc(o.tenants, func(a, b group) int { return cmp.Compare(a.tenant, b.tenant) })
	o.at = slices.Grow(o.at[:0], len(rows))[:len(rows)]
	o.begin = slices.Grow(o.begin[:0], len(o.tenants))[:len(o.tenants)]
	n := 0
	for i := range o.tenants {
		g := &o.tenants[i]
		g.at = o.at[n : n+g.rows : n+g.rows]
		o.begin[g.number] = n
		n += g.rows
	}
	for i, number := range o.of {
		o.at[o.begin[number]] = i
		o.begin[number]++
	}
	byID := func(a, b int) int {
		if c := bytes.Compare(rows[a].ID[:], rows[b].ID[:]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	}
	for i := range o.tenants {
		if at := o.tenants[i].at; !slices.IsSortedFunc(at, byID) {
			slices.SortFunc(at, byID)
		}
	}
}

// count gives the tenants their numbers, and counts the rows of each.
func (o *keyOrder) count(rows []sinkers.Row) {
	o.reset()
	if o.numbers == nil {
		o.numbers = map[string]int{}
	}
	number := 0
	for i := range rows {
		if tenant := rows[i].Tenant; i == 0 || tenant != rows[i-1].Tenant {
			n, known := o.numbers[tenant]
			if !known {
				n = len(o.tenants)
				o.numbers[tenant] = n
				o.tenants = append(o.tenants, group{tenant: tenant, number: n})
			}
			number = n
		}
		o.of = append(o.of, number)
		o.tenants[number].rows++
	}
}

// reset lets go of the rows' memory.
func (o *keyOrder) reset() {
	clear(o.numbers)
	clear(o.tenants)
	o.tenants, o.of = o.tenants[:0], o.of[:0]
}

// maxStretches is how many stretches of ids a question is about: one for each partition of Kafka that lags behind the others, or
// is ahead of them, as long as they are few. Each costs the server a millisecond.
const maxStretches = 4

// stretches returns what the ids of all tenants' rows lie within, without the widest gaps between them. Rows are in order.
func (o *keyOrder) stretches(rows []sinkers.Row) []bounds {
	spans := make([]bounds, len(o.tenants))
	for i := range o.tenants {
		at := o.tenants[i].at
		spans[i] = boundsOfRow(&rows[at[0]])
		spans[i].take(boundsOfRow(&rows[at[len(at)-1]]))
	}
	slices.SortFunc(spans, func(a, b bounds) int { return bytes.Compare(a.low[:], b.low[:]) })
	type gap struct {
		ms int64
		at int // the span after it
	}
	var gaps []gap
	end := spans[0].to
	for i := range spans {
		if spans[i].from > end {
			gaps = append(gaps, gap{spans[i].from - end, i})
		}
		end = max(end, spans[i].to)
	}
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(b.ms, a.ms) })
	gaps = gaps[:min(len(gaps), maxStretches-1)]
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(a.at, b.at) })
	gaps = append(gaps, gap{at: len(spans)})
	all := make([]bounds, len(gaps))
	from := 0
	for i, g := range gaps {
		all[i] = spans[from]
		for _, b := range spans[from+1 : g.at] {
			all[i].take(b)
		}
		from = g.at
	}
	return all
}

// within returns the rows whose ids lie within the extents of their tenants. Rows are in order.
func (o *keyOrder) within(rows []sinkers.Row, near []extent) (found []*sinkers.Row) {
	for _, e := range near {
		n, ok := slices.BinarySearchFunc(o.tenants, e.tenant, func(g group, tenant string) int { return cmp.Compare(g.tenant, tenant) })
		if !ok { // it has none in the batch
			continue
		}
		at := o.tenants[n].at
		from, _ := slices.BinarySearchFunc(at, e.low, func(i int, id firetrail.ID) int { return bytes.Compare(rows[i].ID[:], id[:]) })
		for _, i := range at[from:] {
			if bytes.Compare(rows[i].ID[:], e.high[:]) > 0 {
				break
			}
			found = append(found, &rows[i])
		}
	}
	return found
}
