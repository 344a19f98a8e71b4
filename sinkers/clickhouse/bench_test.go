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

// BenchmarkWrite stores the same batches of real events (1 kB each, 20 tenants, mixed) turn by turn through a
// Sink and through the bare driver's column appends, into two databases with the same schema. The bare
// loop makes its columns of the same rows, in slices of its own; it looks nothing up, checks nothing and has no token. Reported are both rates, of the median batch, and the median of what the second took over
// what the first did, pair by pair: a busy machine is busy for both.
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
	var sinkTimes, bareTimes []time.Duration
	for b.Loop() {
		rows := source.Take(size)
		texts := checked(b, rows)
		write := func() {
			began := time.Now()
			res, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
			sinkTimes = append(sinkTimes, time.Since(began))
			require.NoError(b, err)
			require.Equal(b, size, res.Stored)
		}
		loop := func() {
			began := time.Now()
			for i := range rows {
				filled.add(&rows[i], &texts[i])
			}
			bareInsert(b, bare, &filled)
			filled.reset()
			bareTimes = append(bareTimes, time.Since(began))
		}
		// Whoever comes second has the warmer processor: take turns.
		if source.Taken/size%2 == 0 {
			write, loop = loop, write
		}
		write()
		loop()
	}
	ratios := make([]float64, len(sinkTimes))
	for i := range ratios {
		ratios[i] = float64(bareTimes[i]) / float64(sinkTimes[i])
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "sink/bare")
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
	b.Run("winners, none near", func(b *testing.B) {
		for b.Loop() {
			_, err := sink.winners(b.Context(), rows)
			require.NoError(b, err)
		}
	})
	b.Run("winners, some near", func(b *testing.B) { // as with several producers, whose times overlap
		near := slices.Clone(rows)
		near[0] = before[size/2]
		near[0].Tenant = "another"
		for b.Loop() {
			found, err := sink.winners(b.Context(), near)
			require.NoError(b, err)
			require.NotEmpty(b, found)
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			for i := range rows {
				if _, err := check(&rows[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("seen and columns", func(b *testing.B) {
		var c columns
		var s seen
		for b.Loop() {
			c.reset()
			s.reset(size)
			for i := range rows {
				s.first(rows, i)
				c.add(&rows[i], &values{})
			}
		}
	})
	b.Run("token", func(b *testing.B) {
		var c columns
		for i, v := range checked(b, rows) {
			c.add(&rows[i], &v)
		}
		for b.Loop() {
			c.token()
		}
	})
}

func median(times []time.Duration) (seconds float64) {
	slices.Sort(times)
	return times[len(times)/2].Seconds()
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
