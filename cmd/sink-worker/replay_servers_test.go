//go:build integration && unix

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
)

// In ClickHouse the prune drops a month's partition.
func TestReplayRaisesNobodyInClickHouse(t *testing.T) {
	server := testenv.SharedClickHouse(t)
	replayRaisesNobody(t, "FIRETRAIL_CLICKHOUSE_ADDRS="+server.Addr(), "FIRETRAIL_CLICKHOUSE_DATABASE="+server.Database(t),
		"FIRETRAIL_CLICKHOUSE_USER="+testenv.ClickHouseUser, "FIRETRAIL_CLICKHOUSE_PASSWORD="+testenv.ClickHousePassword)
}

func TestReplayRaisesNobodyInLibSQL(t *testing.T) {
	server := testenv.StartLibSQL(t, testenv.LibSQLOptions{Auth: true})
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(server.Token(t, testenv.LibSQLClaims{})+"\n"), 0o600))
	replayRaisesNobody(t, "FIRETRAIL_LIBSQL_URL="+server.URL("http"), "FIRETRAIL_LIBSQL_TOKEN_FILE="+token)
}
