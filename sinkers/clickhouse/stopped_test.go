//go:build integration && unix

package clickhouse

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

const stoppedEnv = "FIRETRAIL_TEST_STOPPED"

// TestEraseBesideAStoppedWriter: what a process has in its hands that stands still within a write while an erasure covers it, and
// what it writes anew when it goes on, stays gone.
func TestEraseBesideAStoppedWriter(t *testing.T) {
	rows := someRows(t, "a", 0, 3_000)
	if on := strings.Fields(os.Getenv(stoppedEnv)); len(on) > 0 {
		s := openWith(t, Config{Addrs: on[:1], Database: on[1], User: testenv.ClickHouseUser, Password: testenv.ClickHousePassword})
		for {
			for cut := range slices.Chunk(rows, 700) {
				_, err := s.Write(t.Context(), sinkers.Batch{Rows: cut})
				require.NoError(t, err)
				fmt.Println("written")
			}
		}
	}
	cfg := configOf(t, testenv.SharedClickHouse(t), Native)
	s := openWith(t, cfg)
	before := []int{500, 1_500, 2_500}
	testenv.BesideAStoppedWriter(t, stoppedEnv+"="+cfg.Addrs[0]+" "+cfg.Database, 5, len(before), func(round int) error {
		_, err := s.Erase(t.Context(), sinkers.Erasure{Tenant: "a", Before: rows[before[round]].Time})
		return err
	}, func(round int) {
		require.Len(t, found(t, s, sinkers.Query{Tenant: "a", Limit: sinkers.MaxLimit}), len(rows)-before[round], "round %d", round)
	})
	_, err := s.Prune(t.Context(), time.Time{}, false) // goes on with the erasures
	require.NoError(t, err)
	var left uint64
	require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT count() FROM audit_events").Scan(&left))
	require.EqualValues(t, 500, left, "nothing of it is in the table either")
}
