//go:build integration && unix

package libsql

import (
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// TestServerIsKilled kills the server with -9 again and again while 400,000 rows are written in small batches, each
// until it succeeds, and then writes all of them once more in other cuts: each row is there once, and none changed.
// FIRETRAIL_CRASH_ROWS and FIRETRAIL_CRASH_KILLS make it longer.
func TestServerIsKilled(t *testing.T) {
	total, kills := fromEnv(t, "FIRETRAIL_CRASH_ROWS", 400_000), fromEnv(t, "FIRETRAIL_CRASH_KILLS", 5)
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			n := total
			if scheme == "ws" {
				n /= 10 // the way of the rows is the same, and so is what the server does
			}
			server := testenv.StartLibSQL(t, testenv.LibSQLOptions{})
			s := openWith(t, Config{URL: server.URL(scheme), OnLeaseLost: func(err error) { t.Error(err) }})
			var written atomic.Int64
			var failures int
			done := make(chan error, 1)
			go func() {
				var err error
				failures, err = writeAll(t, s, 0, n, 500, &written)
				done <- err
			}()
			for k := range kills {
				at := int64(n) * int64(k+1) / int64(kills+1)
				require.Eventually(t, func() bool { return written.Load() >= at }, 10*time.Minute, time.Millisecond)
				server.Kill(t)
				server.StartAgain(t)
			}
			require.NoError(t, <-done)
			require.Positive(t, failures, "no write noticed: the test shows nothing")
			require.Equal(t, n, count(t, s))

			const size = 7_001
			for from := 0; from < n; from += size {
				rows := someRows(t, from, min(from+size, n))
				res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
				require.NoError(t, err)
				require.Equal(t, sinkers.Result{Duplicates: len(rows)}, res)
			}
			require.Equal(t, n, count(t, s))
			unchanged(t, s, n)
		})
	}
}

// unchanged reads pages from all over the rows and compares what is in them.
func unchanged(t *testing.T, s *Sink, n int) {
	const page = 100
	for from := 0; from+page <= n; from += max(page, n/20/page*page) {
		rows := someRows(t, from, from+page)
		p, err := s.Query(t.Context(), sinkers.Query{Tenant: "acme", From: rows[0].Time, To: rows[page-1].Time.Add(time.Microsecond), Limit: page})
		require.NoError(t, err)
		require.Len(t, p.Events, page)
		for i := range rows {
			require.Equal(t, rows[i].Hash, p.Events[page-1-i].ContentHash())
		}
	}
}

// writeAll writes rows in batches of a size, each until it succeeds, and returns how many tries failed.
func writeAll(t *testing.T, s *Sink, from, to, size int, written *atomic.Int64) (failures int, err error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ; from < to; from += size {
		rows := someRows(t, from, min(from+size, to))
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err = s.Write(ctx, sinkers.Batch{Rows: rows})
			cancel()
			if err == nil {
				break
			}
			if failures++; sinkers.IsPermanent(err) || t.Context().Err() != nil {
				return failures, err
			}
			<-tick.C
		}
		written.Add(int64(len(rows)))
	}
	return failures, nil
}

func fromEnv(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err, name)
	return n
}
