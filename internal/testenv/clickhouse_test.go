//go:build integration && unix

package testenv

import (
	"context"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"
)

func TestSharedClickHouseIsOne(t *testing.T) {
	c := SharedClickHouse(t)
	require.Same(t, c, SharedClickHouse(t))
	require.NotEqual(t, c.Database(t), c.Database(t))
}

// A server killed with -9 comes back with what it had stored, over both protocols; one that is paused does
// not answer.
func TestClickHouseKillAndPause(t *testing.T) {
	c := StartClickHouse(t)
	db := c.Database(t)
	c.Exec(t, "CREATE TABLE "+db+".t (n UInt8) ENGINE = MergeTree ORDER BY n")
	c.Exec(t, "INSERT INTO "+db+".t VALUES (7)")
	c.Kill(t)
	_, err := read(t, c, db, clickhouse.Native)
	require.Error(t, err)
	c.StartAgain(t)
	for _, p := range []clickhouse.Protocol{clickhouse.Native, clickhouse.HTTP} {
		n, err := read(t, c, db, p)
		require.NoError(t, err)
		require.EqualValues(t, 7, n)
	}
	c.Pause(t)
	_, err = read(t, c, db, clickhouse.Native)
	require.Error(t, err)
	c.Resume(t)
	_, err = read(t, c, db, clickhouse.Native)
	require.NoError(t, err)
}

func read(t *testing.T, c *ClickHouse, db string, p clickhouse.Protocol) (n uint8, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	o := &clickhouse.Options{
		Protocol: p, Addr: []string{c.Addr()}, DialTimeout: 5 * time.Second,
		Auth: clickhouse.Auth{Database: db, Username: ClickHouseUser, Password: ClickHousePassword},
	}
	if p == clickhouse.HTTP {
		o.Addr = []string{c.HTTPAddr()}
	}
	conn, err := clickhouse.Open(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	return n, conn.QueryRow(ctx, "SELECT n FROM t").Scan(&n)
}
