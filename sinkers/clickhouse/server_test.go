//go:build integration && unix

package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// TestCodes holds the table of codes to the server's own names.
func TestCodes(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	for _, c := range codes {
		var name string
		require.NoError(t, s.conn.QueryRow(t.Context(), fmt.Sprintf("SELECT errorCodeToName(%d)", c.code)).Scan(&name))
		require.Equal(t, c.name, name, "code %d", c.code)
	}
}

func TestLogin(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		c := configOf(t, testenv.SharedClickHouse(t), protocol)
		openWith(t, c)
		c.Password = "wrong"
		_, err := Open(t.Context(), c)
		require.ErrorContains(t, err, "Authentication failed", protocol)
		require.False(t, sinkers.IsPermanent(err))
		require.Equal(t, outage, kindOf(err))
		require.NotContains(t, err.Error(), "wrong")

		c.Password, c.Database = testenv.ClickHousePassword, "nowhere"
		_, err = Open(t.Context(), c)
		require.ErrorContains(t, err, "nowhere", protocol)
		require.Equal(t, outage, kindOf(err))
	}
}

func TestCompression(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		for _, compression := range []string{LZ4, ZSTD, NoCompression} {
			c := configOf(t, testenv.SharedClickHouse(t), protocol)
			c.Compression = compression
			s := openWith(t, c)
			rows := someRows(t, "a", 0, 500)
			_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
			require.NoError(t, err)
			require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 500, "%s, %s", protocol, compression)
		}
	}
}

// Of several addresses the first that answers is taken, when it starts and when that one goes in the midst of inserts: what was
// acknowledged is on one of the two.
func TestFailover(t *testing.T) {
	first, second := testenv.StartClickHouse(t), testenv.SharedClickHouse(t)
	for _, protocol := range []string{Native, HTTP} {
		c := configOf(t, second, protocol)
		first.Exec(t, "CREATE DATABASE "+c.Database)
		other := configOf(t, first, protocol)
		c.Addrs = []string{"127.0.0.1:1", other.Addrs[0], c.Addrs[0]}
		c.DialTimeout = 5 * time.Second
		s := openWith(t, c)
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "first", 0, 10)})
		require.NoError(t, err)

		openWith(t, Config{Addrs: c.Addrs[2:], Protocol: protocol, Database: c.Database, User: c.User, Password: c.Password})
		rows := someRows(t, "both", 0, 3_000)
		killed := make(chan struct{})
		for i := 0; i < len(rows); i += 250 {
			if i == 750 {
				go func() {
					defer close(killed)
					first.Kill(t)
				}()
			}
			keepWriting(t, s, rows[i:i+250])
		}
		<-killed
		require.Empty(t, found(t, s, sinkers.Query{Tenant: "first"}), "it is another server")
		first.StartAgain(t)
		stored := map[firetrail.ID]bool{}
		for _, addr := range c.Addrs[1:] {
			one := c
			one.Addrs = []string{addr}
			events := found(t, openWith(t, one), sinkers.Query{Tenant: "both", Limit: sinkers.MaxLimit})
			require.NotEmpty(t, events, "it had a part")
			for _, e := range events {
				stored[e.ID] = true
			}
		}
		require.Len(t, stored, len(rows))
	}
}

// A server that hangs doesn't hold up whoever has a deadline.
func TestHangingServer(t *testing.T) {
	server := testenv.StartClickHouse(t)
	for _, protocol := range []string{Native, HTTP} {
		s := openWith(t, configOf(t, server, protocol))
		rows := someRows(t, "a", 0, 10)
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[:5]})
		require.NoError(t, err)
		server.Pause(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err = s.Write(ctx, sinkers.Batch{Rows: rows})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, sinkers.IsPermanent(err))
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		require.Error(t, s.Ping(ctx))
		require.Error(t, s.Probe(ctx, 10))
		cancel()
		server.Resume(t)
		keepWriting(t, s, rows)
		require.NoError(t, s.Probe(t.Context(), 10))
		require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 10)
	}
}

// While the table has too many parts nothing is poison: the write's error is transient, and the probe, whose own
// table is well, fails with it.
func TestTooManyPartsIsAnOutage(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	ctx := t.Context()
	require.NoError(t, s.conn.Exec(ctx, "SYSTEM STOP MERGES audit_events"))
	require.NoError(t, s.conn.Exec(ctx, "ALTER TABLE audit_events MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1, min_delay_to_insert_ms = 1, max_delay_to_insert = 1"))
	_, err := s.Write(ctx, sinkers.Batch{Rows: someRows(t, "a", 0, 1)})
	require.NoError(t, err)
	require.NoError(t, s.Probe(ctx, 100))
	for range 2 {
		_, err = s.Write(ctx, sinkers.Batch{Rows: someRows(t, "a", 1, 2)})
		require.ErrorContains(t, err, "Too many parts")
		require.False(t, sinkers.IsPermanent(err))
		require.ErrorContains(t, s.Probe(ctx, 100), "the last write said")
		require.NoError(t, s.Probe(ctx, 100), "else nobody would write again, and find out that it is over")
	}
	require.NoError(t, s.conn.Exec(ctx, "ALTER TABLE audit_events RESET SETTING parts_to_delay_insert, parts_to_throw_insert"))
	_, err = s.Write(ctx, sinkers.Batch{Rows: someRows(t, "a", 1, 2)})
	require.NoError(t, err)
	require.NoError(t, s.Probe(ctx, 100))
}

// The same goes for a table that is gone.
func TestMissingTableIsAnOutage(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	require.NoError(t, s.conn.Exec(t.Context(), "RENAME TABLE audit_events TO elsewhere"))
	_, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 0, 1)})
	require.Error(t, err)
	require.False(t, sinkers.IsPermanent(err))
	require.Error(t, s.Probe(t.Context(), 1))
	require.NoError(t, s.conn.Exec(t.Context(), "RENAME TABLE elsewhere TO audit_events"))
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 0, 1)})
	require.NoError(t, err)
	require.NoError(t, s.Probe(t.Context(), 1))
}

// A batch over more months than ClickHouse takes in one insert by default.
func TestManyMonths(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		s := openWith(t, configOf(t, testenv.SharedClickHouse(t), protocol))
		rows := someRows(t, "a", 0, 150)
		for i := range rows {
			rows[i].Time = time.Date(2000, time.Month(1+i), 3, 4, 5, 6, 7_000, time.UTC)
			rows[i].ID = firetrail.IDFrom(rows[i].Time, "x")
			rows[i].Hash = rows[i].ContentHash()
		}
		res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
		require.NoError(t, err)
		require.Equal(t, 150, res.Stored)
		require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 150)
		n, err := s.Prune(t.Context(), rows[100].Time.Add(time.Microsecond), false)
		require.NoError(t, err)
		require.EqualValues(t, 101, n)
		var months uint64
		require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT uniqExact(partition_id) FROM system.parts WHERE database = currentDatabase() AND table = 'audit_events' AND active").Scan(&months))
		require.LessOrEqual(t, months, uint64(50), "whole months are dropped, not marked")
	}
}

// What another process stores while a month is pruned, in which so far everything was old, stays.
func TestPruneBesideAWriter(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	rows := someRows(t, "a", 0, 10)
	_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[:5]})
	require.NoError(t, err)
	to := rows[5].Time.UnixMicro()
	require.NoError(t, s.keepCutoff(t.Context(), to))
	months, err := s.months(t.Context(), to)
	require.NoError(t, err)
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: rows[5:]})
	require.NoError(t, err)
	for _, id := range months {
		n, err := s.pruneMonth(t.Context(), id, to, false)
		require.NoError(t, err)
		require.EqualValues(t, 5, n)
	}
	require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 5)
}

// The token: a lost answer makes an insert come twice, and it is stored once even where nothing looks it up; other
// rows are never taken for it.
func TestToken(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	s.blockRows = 3
	stored := func() (n uint64) {
		require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT count() FROM audit_events").Scan(&n))
		return n
	}
	rows := someRows(t, "a", 0, 20)
	force(t, s, rows[:10]...)
	force(t, s, rows[:10]...)
	require.EqualValues(t, 10, stored())
	force(t, s, rows[:11]...)
	require.EqualValues(t, 21, stored())
	require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 11)
}

func TestMigrations(t *testing.T) {
	server := testenv.SharedClickHouse(t)
	c := configOf(t, server, Native)
	readOnly := c
	readOnly.ReadOnly = true
	_, err := Open(t.Context(), readOnly)
	require.ErrorContains(t, err, "has no audit trail; let a worker make its tables")

	var wait sync.WaitGroup // several programs at a time
	for range 4 {
		wait.Go(func() {
			s, err := Open(t.Context(), c)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			t.Cleanup(func() { _ = s.Close() })
		})
	}
	wait.Wait()
	s := openWith(t, c)
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 0, 3)})
	require.NoError(t, err)

	r := openWith(t, readOnly)
	require.Len(t, found(t, r, sinkers.Query{Tenant: "a"}), 3)
	_, err = r.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 0, 3)})
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorIs(t, r.Probe(t.Context(), 1), ErrReadOnly)
	_, err = r.Prune(t.Context(), time.Now(), false)
	require.ErrorIs(t, err, ErrReadOnly)

	// A user who may set nothing can still verify, and count what a prune would delete.
	confined := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"readonly": 1}))
	strict, err := Open(confined, readOnly)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, strict.Close()) })
	n := 0
	for _, err := range strict.Scan(confined, sinkers.Scan{Tenant: "a"}) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 3, n)
	expired, err := strict.Prune(confined, time.Now(), true)
	require.NoError(t, err)
	require.EqualValues(t, 3, expired)

	// One that was cut off: the tables are there, their version is not.
	server.Exec(t, "TRUNCATE TABLE "+c.Database+".firetrail_schema")
	_, err = Open(t.Context(), readOnly)
	require.ErrorContains(t, err, "let a worker make its tables")
	openWith(t, c)
	require.NoError(t, r.Ping(t.Context()))
	server.Exec(t, "INSERT INTO "+c.Database+".firetrail_schema (version) VALUES (99)")
	var schema *sinkers.SchemaError
	require.ErrorAs(t, r.Ping(t.Context()), &schema)

	foreign := configOf(t, server, Native)
	server.Exec(t, "CREATE TABLE "+foreign.Database+".audit_events (n Int8) ENGINE = Memory")
	_, err = Open(t.Context(), foreign)
	require.ErrorContains(t, err, "another program's table audit_events")
}

func TestTTL(t *testing.T) {
	server := testenv.SharedClickHouse(t)
	c := configOf(t, server, Native)
	c.Retention.Days = 30
	has := func(days int) bool {
		var create string
		s := openWith(t, c)
		require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'audit_events'").Scan(&create))
		wanted := ""
		if days > 0 {
			wanted = ttl(days)
		}
		return hasTTL(strings.ReplaceAll(create, "\n", " "), wanted)
	}
	require.True(t, has(0))
	c.TTLDays = 40
	require.True(t, has(40))
	require.False(t, has(41))
	c.TTLDays = 50
	require.True(t, has(50))
	c.TTLDays = 0
	require.True(t, has(50), "it is left as it is")
	c.TTLDays = -1
	require.True(t, has(0))

	// It drops what is old, and leaves what is new and what lies beyond 32 bits.
	c.TTLDays, c.Retention.Days = 40, 0
	c.Retention.Days = 40
	c.Retention.Now = func() time.Time { return time.Unix(0, 0) } // nothing is refused
	s := openWith(t, c)
	rows := someRows(t, "a", 0, 3)
	rows[1].Time = time.Now().Truncate(time.Microsecond).UTC()
	rows[2].Time = time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range rows {
		rows[i].ID = firetrail.IDFrom(rows[i].Time, "x")
		rows[i].Hash = rows[i].ContentHash()
	}
	_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.NoError(t, s.conn.Exec(t.Context(), "OPTIMIZE TABLE audit_events FINAL"))
	require.Eventually(t, func() bool { return len(found(t, s, sinkers.Query{Tenant: "a"})) == 2 }, time.Minute, 20*time.Millisecond)
}
