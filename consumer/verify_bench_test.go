//go:build integration && unix

package consumer

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
	"github.com/firetrail/firetrail/sinkers/libsql"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// verifyEvents are the events of the one tenant that is verified, of verifySources sources that run side by side.
const (
	verifyEvents  = 1_000_000
	verifySources = 20
)

// BenchmarkVerify verifies a million events of a tenant, beside what is the least that it can cost: one ordered answer of the same
// columns, read by the bare driver. libSQL's server sends none of that length, so there it stands alone.
func BenchmarkVerify(b *testing.B) {
	b.Cleanup(func() { require.NoError(b, testenv.Disconnect()) })
	b.Run("sqlite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "audit.db")
		s, err := sqlite.Open(b.Context(), sqlite.Config{Path: path})
		require.NoError(b, err)
		fillVerified(b, s)
		db, err := sql.Open("sqlite", path)
		require.NoError(b, err)
		defer func() { require.NoError(b, db.Close()) }()
		benchVerify(b, s, func() int {
			const ordered = `SELECT source, seq, id, created_at, action = 'firetrail.closed' FROM audit_events
				WHERE tenant_id = 'a' ORDER BY source, seq`
			rows, err := db.QueryContext(b.Context(), ordered) //nolint:rowserrcheck // countRows checks it
			require.NoError(b, err)
			return countRows(b, rows, new(string), new(int64), new([]byte), new(int64), new(bool))
		})
	})
	b.Run("clickhouse", func(b *testing.B) {
		_, cfg := clickHouse(b, clickhouse.Native)
		s, err := clickhouse.Open(b.Context(), cfg)
		require.NoError(b, err)
		fillVerified(b, s)
		bare, err := ch.Open(&ch.Options{Addr: cfg.Addrs, Auth: ch.Auth{Database: cfg.Database, Username: cfg.User, Password: cfg.Password}})
		require.NoError(b, err)
		defer func() { require.NoError(b, bare.Close()) }()
		benchVerify(b, s, func() int {
			rows, err := bare.Query(b.Context(), `SELECT source, seq, id, time_us, action = 'firetrail.closed' FROM audit_events
				WHERE tenant_id = 'a' ORDER BY source, seq`)
			require.NoError(b, err)
			return countRows(b, rows, new(string), new(uint64), new([16]byte), new(int64), new(uint8))
		})
	})
	b.Run("libsql", func(b *testing.B) {
		server := testenv.SharedLibSQL(b)
		s, err := libsql.Open(b.Context(), libsql.Config{URL: server.Namespace(b), Proxy: server.URL("http")})
		require.NoError(b, err)
		fillVerified(b, s)
		benchVerify(b, s, nil)
	})
}

// answer is what both drivers call rows.
type answer interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// countRows reads all rows into dest, and says how many there were.
func countRows(b *testing.B, rows answer, dest ...any) (n int) {
	defer func() { require.NoError(b, rows.Close()) }()
	for ; rows.Next(); n++ {
		require.NoError(b, rows.Scan(dest...))
	}
	require.NoError(b, rows.Err())
	return n
}

func fillVerified(b *testing.B, sink sinkers.Sinker) {
	b.Cleanup(func() { require.NoError(b, sink.Close()) })
	row := func(i int) sinkers.Row {
		return sequenced("a", fmt.Sprint("run-", i%verifySources), uint64(i/verifySources+1))
	}
	rows := make([]sinkers.Row, 10_000)
	for from := 0; from < verifyEvents; from += len(rows) {
		for i := range rows {
			rows[i] = row(from + i)
		}
		res, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
		require.NoError(b, err)
		require.Equal(b, len(rows), res.Stored)
	}
}

// benchVerify runs both in turn, and says how many events a second each does. bare may be nil.
func benchVerify(b *testing.B, sink sinkers.Sinker, bare func() int) {
	var verified, read time.Duration
	var most uint64
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		report, err := Verify{Sink: sink, Scan: sinkers.Scan{Tenant: "a"}}.Run(b.Context())
		verified += time.Since(began)
		require.NoError(b, err)
		require.EqualValues(b, verifyEvents, report.Events)
		require.True(b, report.Whole())
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		most = max(most, mem.HeapInuse)
		if bare != nil {
			began = time.Now()
			require.Equal(b, verifyEvents, bare())
			read += time.Since(began)
		}
	}
	rate := float64(b.N*verifyEvents) / verified.Seconds()
	b.ReportMetric(rate, "events/s")
	b.ReportMetric(float64(most>>20), "MiB")
	b.ReportMetric(0, "ns/op")
	if bare != nil {
		b.ReportMetric(float64(b.N*verifyEvents)/read.Seconds(), "bare-events/s")
		b.ReportMetric(read.Seconds()/verified.Seconds(), "of-bare")
	}
}
