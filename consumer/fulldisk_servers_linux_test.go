//go:build integration

package consumer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
	"github.com/firetrail/firetrail/sinkers/libsql"
)

// P7: a full disk never makes poison, in a real ClickHouse.
func TestFullDiskOfClickHouse(t *testing.T) {
	disk := smallDisk(t, 320)
	t.Setenv("TMPDIR", disk) // where the server has its data
	server := testenv.StartClickHouse(t)
	sink, err := clickhouse.Open(deadline(t), clickhouse.Config{
		Addrs: []string{server.Addr()}, Database: server.Database(t),
		User: testenv.ClickHouseUser, Password: testenv.ClickHousePassword,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sink.Close()) })
	aFullDiskIsNoPoison(t, disk, sink)
}

// P7: a full disk never makes poison, in a real libSQL server.
func TestFullDiskOfLibSQL(t *testing.T) {
	disk := smallDisk(t, 96)
	t.Setenv("TMPDIR", disk)
	server := testenv.StartLibSQL(t, testenv.LibSQLOptions{})
	sink, err := libsql.Open(deadline(t), libsql.Config{URL: server.URL("http")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sink.Close()) })
	aFullDiskIsNoPoison(t, disk, sink)
}
