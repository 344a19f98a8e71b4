package consumer

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// item is a record on its way, from fetch to commit.
type item struct {
	part *partition
	n    uint64      // its number in the partition's window
	size int64       // what it takes of the memory
	rec  *kgo.Record // its bytes, for the letter it may become
}

// batch is records that are written together, each with the row it was decoded to. The zero batch is empty.
type batch struct {
	items  []item
	rows   []sinkers.Row // nil until they are decoded
	whole  bool          // nobody else has a part of rows
	bytes  int64         // as in Kafka
	sample bool          // see pace

	tries    int       // how often it was written in vain
	failedAt time.Time // when it failed first
	seen     int64     // what the sink had stored when it failed; see store.fresh
}

func (b *batch) len() int { return len(b.items) }

func (b *batch) add(it item, bytes int64) {
	b.items = append(b.items, it)
	b.bytes += bytes
}

// slice returns rows from to to, with the batch's history, sharing its memory.
func (b *batch) slice(from, to int) *batch {
	part := *b
	part.rows, part.items, part.whole = b.rows[from:to:to], b.items[from:to:to], false
	part.bytes = 0
	for i := range part.items {
		part.bytes += recordBytes(part.items[i].rec)
	}
	return &part
}

// clone returns the batch with memory of its own: a slice keeps all of what it is of.
func (b *batch) clone() *batch {
	c := *b
	c.rows, c.items = slices.Clone(b.rows), slices.Clone(b.items)
	return &c
}

// halves returns the two halves of a batch; of one row, that alone.
func (b *batch) halves() []*batch {
	if b.len() == 1 {
		return []*batch{b}
	}
	mid := b.len() / 2
	return []*batch{b.slice(0, mid), b.slice(mid, b.len())}
}

// only returns the rows for which keep is true, with the batch's history; the batch itself when that is
// all of them. Memory is not shared, since another slice of the batch may be in use.
func (b *batch) only(keep func(i int) bool) *batch {
	for i := range b.items {
		if keep(i) {
			continue
		}
		part := *b
		part.rows = append([]sinkers.Row(nil), b.rows[:i]...)
		part.items = append([]item(nil), b.items[:i]...)
		for j := i + 1; j < len(b.items); j++ {
			if keep(j) {
				part.rows = append(part.rows, b.rows[j])
				part.items = append(part.items, b.items[j])
			}
		}
		part.bytes = 0
		for k := range part.items {
			part.bytes += recordBytes(part.items[k].rec)
		}
		return &part
	}
	return b
}

// eventKey is what a database tells events apart by.
type eventKey struct {
	tenant string
	id     firetrail.ID
}

func (b *batch) key(i int) eventKey { return eventKey{b.rows[i].Tenant, b.rows[i].ID} }

// firsts divides a batch into the first row of each id and those that have it again, nil where there are none.
func (b *batch) firsts() (first, again *batch) {
	seen := make(map[eventKey]bool, b.len())
	return b.divide(func(i int) bool {
		k := b.key(i)
		had := seen[k]
		seen[k] = true
		return had
	})
}

// divide takes out the rows for which out is true, which it is asked once for each, in order; nil where there are none. The others
// are the batch itself then.
func (b *batch) divide(out func(i int) bool) (rest, taken *batch) {
	gone := map[int]bool{}
	for i := range b.items {
		if out(i) {
			gone[i] = true
		}
	}
	if len(gone) == 0 {
		return b, nil
	}
	return b.only(func(i int) bool { return !gone[i] }), b.only(func(i int) bool { return gone[i] })
}

// join returns the rows of all batches in one, with the history of the first.
func join(batches []*batch) *batch {
	all := batches[0].clone()
	for _, b := range batches[1:] {
		all.append(b)
	}
	return all
}

// append adds the rows of o.
func (b *batch) append(o *batch) {
	b.rows = append(b.rows, o.rows...)
	b.items = append(b.items, o.items...)
	b.bytes += o.bytes
}

// sharesHistory reports whether both have failed together, or neither has failed.
func (b *batch) sharesHistory(o *batch) bool {
	return b.tries == o.tries && b.failedAt.Equal(o.failedAt) && b.seen == o.seen
}

// recordBytes is what a record has of bytes of its own.
func recordBytes(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

// memory is what a record counts for in MaxInFlightBytes: its bytes, which the row shares, and about as much as the client's
// record, its place in queue and window, and the row take together.
func memory(bytes int64) int64 { return bytes + 1024 }
