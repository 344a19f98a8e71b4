//go:build integration && unix

package clickhouse

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// However many blocks an insert has, it makes one part of the table, and none when it is given up before its end.
func TestInsertIsStoredWhole(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	require.NoError(t, s.conn.Exec(t.Context(), "SYSTEM STOP MERGES audit_events"))
	s.blockRows = 100
	parts := func() (n, rows uint64) {
		require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT count(), sum(rows) FROM system.parts "+
			"WHERE database = currentDatabase() AND table = 'audit_events'").Scan(&n, &rows))
		return n, rows
	}
	rows := someRows(t, "a", 0, 2_000)
	_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[:1_000]})
	require.NoError(t, err)
	n, stored := parts()
	require.EqualValues(t, 1, n)
	require.EqualValues(t, 1_000, stored)

	rest := rows[1_000:]
	s.order.sort(rest)
	s.lucky = false
	_, _, err = s.expect(t.Context(), rest)
	require.NoError(t, err)
	insert, err := s.openInsert(t.Context(), rest)
	require.NoError(t, err)
	insert.abort()
	s.forget()
	require.Eventually(t, func() bool { // the server has noticed
		var running uint64
		require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE current_database = currentDatabase() AND query_kind = 'Insert'").Scan(&running))
		return running == 0
	}, time.Minute, 10*time.Millisecond)
	n, stored = parts()
	require.EqualValues(t, 1, n)
	require.EqualValues(t, 1_000, stored)
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.Equal(t, sinkers.Result{Stored: 1_000, Duplicates: 1_000}, res)
}

// A server that takes in no more in the midst of an insert doesn't hold up whoever has a deadline, and has stored nothing of it.
func TestServerThatTakesInNoMore(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		server := testenv.SharedClickHouse(t)
		c := configOf(t, server, protocol)
		openWith(t, c)
		to := c.Addrs[0]
		const enough = 1 << 20
		c.Addrs = []string{stallingProxy(t, to, enough)}
		c.Compression = NoCompression
		s := openWith(t, c)
		rows := someRows(t, "a", 0, 4_000)
		for i := range rows {
			rows[i].New = firetrail.Raw([]byte(`"` + strings.Repeat("x", 8_000) + `"`))
			rows[i].Hash = rows[i].ContentHash()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := s.Write(ctx, sinkers.Batch{Rows: rows})
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, protocol)
		require.False(t, sinkers.IsPermanent(err))
		require.Empty(t, found(t, s, sinkers.Query{Tenant: "a"}))
	}
}

// stallingProxy hands on to a server what comes over each connection, up to so many bytes; then it reads no more.
func stallingProxy(t *testing.T, to string, enough int64) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	proxy(t, l, to, func(server, client net.Conn) {
		if n, _ := io.CopyN(server, client, enough); n < enough { // the client has gone
			_ = server.Close()
		}
	})
	return l.Addr().String()
}

// flaky fails the next insert, where it begins or in its first block.
type flaky struct {
	driver.Conn
	begin, block error
	begun        int
}

func (f *flaky) PrepareBatch(ctx context.Context, query string, opts ...driver.PrepareBatchOption) (driver.Batch, error) {
	f.begun++
	if err := f.begin; err != nil {
		f.begin = nil
		return nil, err
	}
	b, err := f.Conn.PrepareBatch(ctx, query, opts...)
	if err != nil || f.block == nil {
		return b, err
	}
	b, f.block = &flakyBatch{b, f.block}, nil
	return b, nil
}

type flakyBatch struct {
	driver.Batch
	err error
}

func (b *flakyBatch) Flush() error { return b.err }

// An insert that is sent while the server is asked, and fails, is begun anew: it may have failed for what is not to be stored.
func TestInsertSentTooEarly(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		s := openWith(t, configOf(t, testenv.SharedClickHouse(t), protocol))
		rows := someRows(t, "a", 0, 300)
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[:100]})
		require.NoError(t, err)
		for n, fail := range []*flaky{{begin: errors.New("begin")}, {block: errors.New("block")}} {
			fail.Conn, s.inserts = s.inserts, fail
			require.True(t, s.lucky)
			part := rows[100+100*n:][:100]
			res, err := s.Write(t.Context(), sinkers.Batch{Rows: part})
			require.NoError(t, err)
			require.Equal(t, sinkers.Result{Stored: 100}, res)
			require.Equal(t, 2, fail.begun, protocol)
			s.inserts = fail.Conn
		}
		require.Len(t, found(t, s, sinkers.Query{Tenant: "a", Limit: 500}), 300)
	}
}
