//go:build integration

package consumer_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/smalldisk"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
	"github.com/firetrail/firetrail/sinkers/libsql"
)

// onDisk has start put a server's data on the disk, and nobody else's: the broker, which may be started later, stays away from it.
func onDisk(t *testing.T, disk *smalldisk.Disk, start func()) {
	t.Helper()
	elsewhere := os.TempDir()
	t.Setenv("TMPDIR", disk.Dir)
	start()
	t.Setenv("TMPDIR", elsewhere)
}

// P7: a full disk never makes poison, in a real ClickHouse.
func TestFullDiskOfClickHouse(t *testing.T) {
	disk := smalldisk.Mount(t, t.TempDir(), 320)
	if disk == nil {
		return
	}
	var server *testenv.ClickHouse
	onDisk(t, disk, func() { server = testenv.StartClickHouse(t) })
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
	disk := smalldisk.Mount(t, t.TempDir(), 96)
	if disk == nil {
		return
	}
	var server *testenv.LibSQL
	onDisk(t, disk, func() { server = testenv.StartLibSQL(t, testenv.LibSQLOptions{}) })
	sink, err := libsql.Open(deadline(t), libsql.Config{URL: server.URL("http")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sink.Close()) })
	aFullDiskIsNoPoison(t, disk, sink)
}
