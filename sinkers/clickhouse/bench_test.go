//go:build integration && unix

package clickhouse

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// BenchmarkWrite stores the same batches of real events (1 kB each, 20 tenants, mixed) through a
// Sink and through the bare driver's column appends, into two databases with the same schema. The bare
// loop makes its columns of the same rows, in slices of its own; it looks nothing up, checks nothing and has no token. Reported are both rates, of the median batch, and the median of what the bare loop took over
// what the Sink did, pair by pair: a busy machine is busy for both. Whoever comes second has the warmer processor, and whoever is
// first of all the cold server: so each round is two pairs, one in each order, and a pair before them all doesn't count.
func BenchmarkWrite(b *testing.B) {
	for _, protocol := range []string{Native, HTTP} {
		for _, size := range []int{10_000, 50_000} {
			b.Run(fmt.Sprint(protocol, "/", size), func(b *testing.B) {
				server := testenv.SharedClickHouse(b)
				benchmarkWrite(b, openWith(b, configOf(b, server, protocol)), openWith(b, configOf(b, server, protocol)), size)
			})
		}
	}
}

func benchmarkWrite(b *testing.B, sink, bare *Sink, size int) {
	source := testenv.NewRealRows(b)
	var filled columns
	pair := func(sinkFirst bool) (sinkTook, bareTook time.Duration) {
		rows := source.Take(size)
		texts := checked(b, rows)
		write := func() {
			began := time.Now()
			res, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
			sinkTook = time.Since(began)
			require.NoError(b, err)
			require.Equal(b, size, res.Stored)
		}
		if sinkFirst {
			write()
		}
		began := time.Now()
		for i := range rows {
			filled.add(&rows[i], &texts[i])
		}
		bareInsert(b, bare, &filled)
		filled.reset()
		bareTook = time.Since(began)
		if !sinkFirst {
			write()
		}
		return sinkTook, bareTook
	}
	pair(true)
	var ratios, sinkTimes, bareTimes []float64
	for b.Loop() {
		for _, sinkFirst := range []bool{true, false} {
			sinkTook, bareTook := pair(sinkFirst)
			sinkTimes, bareTimes = append(sinkTimes, sinkTook.Seconds()), append(bareTimes, bareTook.Seconds())
			ratios = append(ratios, bareTook.Seconds()/sinkTook.Seconds())
		}
	}
	b.ReportMetric(median(ratios), "sink/bare")
	b.ReportMetric(float64(size)/median(sinkTimes), "sink-rows/s")
	b.ReportMetric(float64(size)/median(bareTimes), "bare-rows/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBare is the bare loop alone, for what stands beside it elsewhere: FIRETRAIL_BARE_ROWS rows, once, in batches of
// FIRETRAIL_BARE_BATCH.
func BenchmarkBare(b *testing.B) {
	total, size := testenv.BareRows(b)
	s := openWith(b, configOf(b, testenv.StartClickHouse(b), Native))
	source := testenv.NewRealRows(b)
	var filled columns
	var took time.Duration
	for source.Taken < total {
		rows := source.Take(min(size, total-source.Taken))
		texts := checked(b, rows)
		began := time.Now()
		for i := range rows {
			filled.add(&rows[i], &texts[i])
		}
		bareInsert(b, s, &filled)
		filled.reset()
		took += time.Since(began)
	}
	b.ReportMetric(float64(total)/took.Seconds(), "bare-rows/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWriteAgain stores batches that are there already, as a replay does.
func BenchmarkWriteAgain(b *testing.B) {
	const size = 50_000
	sink := openWith(b, configOf(b, testenv.SharedClickHouse(b), Native))
	rows := testenv.NewRealRows(b).Take(size)
	_, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
	require.NoError(b, err)
	for b.Loop() {
		res, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
		require.NoError(b, err)
		require.Equal(b, size, res.Duplicates)
	}
	b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkParts says what the parts of a write cost beside the insert.
func BenchmarkParts(b *testing.B) {
	const size = 50_000
	sink := openWith(b, configOf(b, testenv.SharedClickHouse(b), Native))
	source := testenv.NewRealRows(b)
	var before []sinkers.Row
	for range 4 {
		before = source.Take(size)
		_, err := sink.Write(b.Context(), sinkers.Batch{Rows: before})
		require.NoError(b, err)
	}
	rows := source.Take(size)
	ask := func(b *testing.B, rows []sinkers.Row, found bool) {
		for b.Loop() {
			sink.order.sort(rows)
			a := sink.ask(b.Context(), rows)
			require.NoError(b, a.err)
			require.Equal(b, found, len(a.stored) > 0)
		}
		sink.order.reset()
	}
	b.Run("questions, none near", func(b *testing.B) { ask(b, rows, false) })
	b.Run("questions, other tenants near", func(b *testing.B) { // as with several partitions, of which some are ahead
		var even, odd []sinkers.Row
		for _, r := range rows {
			if r.Tenant[len(r.Tenant)-1]%2 == 0 {
				even = append(even, r)
			} else {
				odd = append(odd, r)
			}
		}
		_, err := sink.Write(b.Context(), sinkers.Batch{Rows: even})
		require.NoError(b, err)
		ask(b, odd, false)
	})
	b.Run("questions, all stored", func(b *testing.B) { ask(b, before, true) })
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			for i := range rows {
				if _, err := check(&rows[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("order and columns", func(b *testing.B) {
		var c columns
		var o keyOrder
		for b.Loop() {
			o.sort(rows)
			for n, i := range o.at {
				if n%blockRows == 0 {
					c.reset()
				}
				c.add(&rows[i], &values{})
			}
		}
	})
	b.Run("token", func(b *testing.B) {
		var o keyOrder
		o.sort(rows)
		for b.Loop() {
			token(rows, o.at)
		}
	})
}

func median(x []float64) float64 {
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func checked(b *testing.B, rows []sinkers.Row) []values {
	texts := make([]values, len(rows))
	for i := range rows {
		var err error
		texts[i], err = check(&rows[i])
		require.NoError(b, err)
	}
	return texts
}

func bareInsert(b testing.TB, s *Sink, c *columns) {
	ctx := clickhouse.Context(b.Context(), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}),
		clickhouse.WithColumnNamesAndTypes(columnTypes))
	batch, err := s.conn.PrepareBatch(ctx, insert)
	require.NoError(b, err)
	require.NoError(b, c.appendTo(batch))
	require.NoError(b, batch.Send())
}
