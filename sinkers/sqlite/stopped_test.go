//go:build unix

package sqlite

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

const stoppedEnv = "FIRETRAIL_TEST_STOPPED"

// TestEraseBesideAStoppedWriter stops a writing process wherever it happens to be, erases what it writes, and lets it go
// on: what it has in its hands then, and what it writes anew, stays gone. A writer that was stopped within its
// transaction holds SQLite's lock: the erasure says so, and is done when it goes on.
func TestEraseBesideAStoppedWriter(t *testing.T) {
	rows := someRows(t, 0, 3_000)
	if path := os.Getenv(stoppedEnv); path != "" {
		s := openAt(t, path)
		for { // the same rows in ever other cuts: a replay
			for cut := range slices.Chunk(rows, 700) {
				_, err := s.Write(t.Context(), sinkers.Batch{Rows: cut})
				require.NoError(t, err)
				fmt.Println("written")
			}
		}
	}
	path := tempPath(t)
	require.NoError(t, openAt(t, path).Close()) // makes the tables
	beside := openWith(t, Config{Path: path, Beside: true, BusyTimeout: 50 * time.Millisecond})
	reader := openWith(t, Config{Path: path, ReadOnly: true})
	before := []int{500, 1_500, 2_500}
	testenv.BesideAStoppedWriter(t, stoppedEnv+"="+path, 5, len(before), func(round int) error {
		_, err := beside.Erase(t.Context(), sinkers.Erasure{Tenant: "acme", Before: rows[before[round]].Time})
		require.False(t, sinkers.IsPermanent(err), "%v", err)
		return err
	}, func(round int) {
		require.Equal(t, len(rows)-before[round], count(t, reader), "round %d", round)
	})
}
