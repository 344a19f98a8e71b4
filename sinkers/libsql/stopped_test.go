//go:build integration && unix

package libsql

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

const stoppedEnv = "FIRETRAIL_TEST_STOPPED"

// TestEraseBesideAStoppedWriter: what a process has in its hands that stands still within a write while an erasure covers it, and
// what it writes anew when it goes on, stays gone.
func TestEraseBesideAStoppedWriter(t *testing.T) {
	rows := someRows(t, 0, 3_000)
	if on := strings.Fields(os.Getenv(stoppedEnv)); len(on) > 0 {
		s := openWith(t, Config{URL: on[0], Proxy: on[1]})
		for {
			for cut := range slices.Chunk(rows, 700) {
				_, err := s.Write(t.Context(), sinkers.Batch{Rows: cut})
				require.NoError(t, err)
				fmt.Println("written")
			}
		}
	}
	cfg := namespaceConfig(t)
	require.NoError(t, openWith(t, cfg).Close()) // makes the tables
	beside := openWith(t, Config{URL: cfg.URL, Proxy: cfg.Proxy, Beside: true})
	before := []int{500, 1_500, 2_500}
	testenv.BesideAStoppedWriter(t, stoppedEnv+"="+cfg.URL+" "+cfg.Proxy, 5, len(before), func(round int) error {
		_, err := beside.Erase(t.Context(), sinkers.Erasure{Tenant: "acme", Before: rows[before[round]].Time})
		return err
	}, func(round int) {
		require.Equal(t, len(rows)-before[round], count(t, beside), "round %d", round)
	})
}
