package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// realRecords are records of real events, as the producer ships them.
func realRecords(tb testing.TB, n int) []*kgo.Record {
	recs := make([]*kgo.Record, n)
	for i, row := range testenv.NewRealRows(tb).Take(n) {
		value, err := row.AppendCloudEvent(nil)
		require.NoError(tb, err)
		recs[i] = &kgo.Record{Key: []byte(row.Tenant), Value: value, Headers: []kgo.RecordHeader{{
			Key: firetrail.ContentTypeHeader, Value: []byte(firetrail.ContentType),
		}}}
	}
	return recs
}

// Rows in memory that was used before are those in fresh memory, and the same whether one goroutine makes them or many.
func TestRowsAreUsedAgain(t *testing.T) {
	var pool rowPool
	recs := realRecords(t, 3*decodeChunk)
	recs[decodeChunk+1].Value = []byte("no event")
	decode := func(rows []sinkers.Row, goroutines int) *batch {
		b := &batch{}
		for _, rec := range recs {
			b.add(item{rec: rec}, recordBytes(rec))
		}
		good, letters := decodeBatch(b, rows, time.Now(), goroutines)
		require.Len(t, letters, 1)
		return good
	}
	want := decode(make([]sinkers.Row, len(recs)), 1).rows
	for i := range want {
		require.Equal(t, want[i].ContentHash(), want[i].Hash)
	}
	used := decode(pool.get(len(recs)), 3)
	require.Equal(t, want, used.rows)
	used.rows[0].Extra, used.rows[0].Truncated = firetrail.Raw([]byte("{}")), 0xff
	dirty := make([]sinkers.Row, len(recs))
	for i := range dirty {
		dirty[i] = used.rows[0]
	}
	require.Equal(t, want, decode(dirty, 2).rows)
	pool.put(dirty)
	require.Zero(t, dirty[0], "rows that wait hold no record's memory")
	require.Len(t, pool.get(3), 3)
}

// Rows are used again only if nobody else has a part of their batch.
func TestRowsOfAPartAreNotUsedAgain(t *testing.T) {
	b := &batch{}
	for _, rec := range realRecords(t, 10) {
		b.add(item{rec: rec}, recordBytes(rec))
	}
	b, _ = decodeBatch(b, make([]sinkers.Row, b.len()), time.Now(), 1)
	require.True(t, b.whole)
	for _, half := range b.halves() {
		require.False(t, half.whole)
	}
	part := b.only(func(i int) bool { return i%2 == 0 })
	part.rows[0].Tenant = "changed"
	require.NotEqual(t, "changed", b.rows[0].Tenant, "memory of its own")
}
