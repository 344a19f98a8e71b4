//go:build integration && unix

package clickhouse

import (
	"context"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// What a server refuses everybody makes no poison: the write's error is transient and stores nothing, and the probe after it fails
// too, even where the table of probes is well. Once it is over the same Sink goes on.
func TestOutagesThatAServerNames(t *testing.T) {
	for _, c := range []struct {
		name, begin, end string
		code             int32
	}{
		{"read-only table", "MODIFY SETTING table_readonly = 1", "MODIFY SETTING table_readonly = 0", 774},
		{"no room", "MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000000", "RESET SETTING min_free_disk_bytes_to_perform_insert", 243},
	} {
		for _, protocol := range []string{Native, HTTP} {
			t.Run(c.name+"/"+protocol, func(t *testing.T) {
				server := testenv.SharedClickHouse(t)
				cfg := configOf(t, server, protocol)
				s := openWith(t, cfg)
				rows := someRows(t, "a", 0, 30)
				_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[:10]})
				require.NoError(t, err)
				table := "ALTER TABLE " + cfg.Database + ".audit_events "
				server.Exec(t, table+c.begin)
				for range 2 {
					_, err = s.Write(t.Context(), sinkers.Batch{Rows: rows})
					require.Equal(t, c.code, codeOf(t, err))
					require.False(t, sinkers.IsPermanent(err))
					require.Equal(t, c.code, codeOf(t, s.Probe(t.Context(), 100)))
					require.NoError(t, s.Ping(t.Context()), "what is there can be read")
					require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 10)
				}
				server.Exec(t, table+c.end)
				require.NoError(t, s.Probe(t.Context(), 100), "the next write is let through")
				res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
				require.NoError(t, err)
				require.Equal(t, sinkers.Result{Stored: 20, Duplicates: 10}, res)
			})
		}
	}
}

// A user's quota that is used up is waited for.
func TestQuotaIsAnOutage(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		cfg := configOf(t, testenv.SharedClickHouse(t), protocol)
		openWith(t, cfg) // makes the tables
		cfg.User, cfg.Password = testenv.ClickHouseLimited, ""
		s := openWith(t, cfg)
		rows := someRows(t, "a", 0, 1_000)
		stored := 0
		var err error
		for ; err == nil; stored++ {
			_, err = s.Write(t.Context(), sinkers.Batch{Rows: rows[stored : stored+1]})
		}
		stored--
		require.Positive(t, stored)
		require.EqualValues(t, 201, codeOf(t, err), protocol)
		require.False(t, sinkers.IsPermanent(err))
		require.EqualValues(t, 201, codeOf(t, s.Probe(t.Context(), 1)))
		require.Eventually(t, func() bool {
			return s.Probe(t.Context(), 1) == nil
		}, time.Minute, 20*time.Millisecond)
		res := keepWriting(t, s, rows[:stored+1])
		require.Equal(t, sinkers.Result{Stored: 1, Duplicates: stored}, res)
	}
}

// A worker with the account of a reader, who may set nothing, is told so and makes no letters; a reader by any protocol reads.
func TestReadersAccount(t *testing.T) {
	cfg := configOf(t, testenv.SharedClickHouse(t), Native)
	_, err := openWith(t, cfg).Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 0, 3)})
	require.NoError(t, err)
	cfg.User, cfg.Password = testenv.ClickHouseReader, ""
	s := openWith(t, cfg)
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 3, 5)})
	require.EqualValues(t, 164, codeOf(t, err))
	require.False(t, sinkers.IsPermanent(err))
	for range 2 {
		require.EqualValues(t, 164, codeOf(t, s.Probe(t.Context(), 1)))
	}
	_, err = s.Prune(t.Context(), time.Now(), false)
	require.EqualValues(t, 164, codeOf(t, err))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of which the driver would make a setting
	defer cancel()
	cfg.ReadOnly = true
	for cfg.Protocol, cfg.Addrs = range map[string][]string{Native: cfg.Addrs, HTTP: {testenv.SharedClickHouse(t).HTTPAddr()}} {
		s, err := Open(ctx, cfg)
		require.NoError(t, err, cfg.Protocol)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		p, err := s.Query(ctx, sinkers.Query{Tenant: "a", ActorID: "ada"})
		require.NoError(t, err, cfg.Protocol)
		require.Len(t, p.Events, 3)
		n := 0
		for _, err := range s.Scan(ctx, sinkers.Scan{AllTenants: true}) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, 3, n)
		over, cancel := context.WithTimeout(ctx, 0)
		_, err = s.Query(over, sinkers.Query{Tenant: "a"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
	}
}

// The probe writes as many bytes as it is asked for to the disk, where repeated ones would be packed into next to none.
func TestProbeIsNotCompressed(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	const size = 1 << 20
	id := testenv.Unique(t)
	require.NoError(t, s.Probe(clickhouse.Context(t.Context(), clickhouse.WithQueryID(id)), size))
	require.NoError(t, s.conn.Exec(t.Context(), "SYSTEM FLUSH LOGS"))
	var written uint64
	require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT sum(ProfileEvents['MergeTreeDataWriterCompressedBytes']) "+
		"FROM system.query_log WHERE query_id = ? AND type = 'QueryFinish'", id).Scan(&written))
	require.Greater(t, written, uint64(size*3/4)) // of printable characters
}

func codeOf(t *testing.T, err error) int32 {
	t.Helper()
	var e *clickhouse.Exception
	require.ErrorAs(t, err, &e)
	return e.Code
}
