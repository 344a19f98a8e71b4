package sqlite

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// BenchmarkWrite stores the same batches of real events (1 kB each, 20 tenants, mixed) turn by turn
// through a Sink and through the best loop of the bare driver, into two databases with the same schema
// and settings. The loop's rows are grouped and turned into parameters beforehand, and it checks
// nothing: what it costs is the driver and SQLite alone. Reported are both rates, of the median batch, and the median
// of what the second took over what the first did, pair by pair: a busy machine is busy for both.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint("file/", size), func(b *testing.B) { benchmarkWrite(b, size) })
	}
}

func benchmarkWrite(b *testing.B, size int) {
	dir := b.TempDir()
	sink, bare := openAt(b, filepath.Join(dir, "sink.db")), openAt(b, filepath.Join(dir, "bare.db"))
	source := testenv.NewRealRows(b)
	var sinkTimes, bareTimes []time.Duration
	for b.Loop() {
		rows := source.Take(size)
		chunks := encodeChunks(b, rows)
		// Whoever comes second has the warmer processor: take turns.
		write := func() {
			t := time.Now()
			res, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
			sinkTimes = append(sinkTimes, time.Since(t))
			require.NoError(b, err)
			require.Equal(b, size, res.Stored)
		}
		loop := func() {
			t := time.Now()
			bareLoop(b, bare, chunks)
			bareTimes = append(bareTimes, time.Since(t))
		}
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
// FIRETRAIL_BARE_BATCH, both rounded down to what the loop can take.
func BenchmarkBare(b *testing.B) {
	total, size := testenv.BareRows(b)
	size = max(size-size%chunkRows, chunkRows) // the loop's statement takes so many rows
	total = max(total-total%size, size)
	s := openAt(b, tempPath(b))
	source := testenv.NewRealRows(b)
	var took time.Duration
	for source.Taken < total {
		chunks := encodeChunks(b, source.Take(min(size, total-source.Taken)))
		began := time.Now()
		bareLoop(b, s, chunks)
		took += time.Since(began)
	}
	b.ReportMetric(float64(total)/took.Seconds(), "bare-rows/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRewrite writes batches that are stored already: what telling duplicates from conflicts costs, a lookup of the hash for
// each row. A batch of which all is new pays nothing for it, since the number of rows that went in says so.
func BenchmarkRewrite(b *testing.B) {
	const size = 10_000
	s := openAt(b, tempPath(b))
	rows := testenv.NewRealRows(b).Take(size)
	began := time.Now()
	_, err := s.Write(b.Context(), sinkers.Batch{Rows: rows})
	require.NoError(b, err)
	first := time.Since(began)
	var times []time.Duration
	for b.Loop() {
		began := time.Now()
		res, err := s.Write(b.Context(), sinkers.Batch{Rows: rows})
		times = append(times, time.Since(began))
		require.NoError(b, err)
		require.Equal(b, size, res.Duplicates)
	}
	b.ReportMetric(size/median(times), "rewritten-rows/s")
	b.ReportMetric(size/first.Seconds(), "new-rows/s")
	b.ReportMetric(0, "ns/op")
}

func median(times []time.Duration) (seconds float64) {
	slices.Sort(times)
	return times[len(times)/2].Seconds()
}

func encodeChunks(tb testing.TB, rows []sinkers.Row) (chunks [][]any) {
	for chunk := range slices.Chunk(byTenant(rows), chunkRows) {
		var args []any
		var box sqlstore.Args
		for _, i := range chunk {
			var err error
			args, err = box.Append(args, &rows[i])
			require.NoError(tb, err)
		}
		chunks = append(chunks, args)
	}
	return chunks
}

func bareLoop(tb testing.TB, s *Sink, chunks [][]any) {
	tx, err := s.writer.Begin()
	require.NoError(tb, err)
	stmt := tx.Stmt(s.insertChunk)
	defer func() { _ = stmt.Close() }()
	for _, args := range chunks {
		if _, err := stmt.Exec(args...); err != nil {
			tb.Fatal(err)
		}
	}
	require.NoError(tb, tx.Commit())
}
