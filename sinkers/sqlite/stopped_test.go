//go:build unix

package sqlite

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEraseBesideAStoppedWriter$")
	child.Env = append(os.Environ(), stoppedEnv+"="+path)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	written := func(n int) {
		for range n {
			require.True(t, lines.Scan())
		}
	}
	written(10) // all rows, and some again
	beside := openWith(t, Config{Path: path, Beside: true, BusyTimeout: 50 * time.Millisecond})
	reader := openWith(t, Config{Path: path, ReadOnly: true})
	for round, before := range []int{500, 1_500, 2_500} {
		require.NoError(t, child.Process.Signal(syscall.SIGSTOP))
		erase := func() error {
			_, err := beside.Erase(t.Context(), sinkers.Erasure{Tenant: "acme", Before: rows[before].Time})
			return err
		}
		err := erase()
		require.NoError(t, child.Process.Signal(syscall.SIGCONT))
		if err != nil {
			require.False(t, sinkers.IsPermanent(err), "%v", err)
			require.Eventually(t, func() bool { return erase() == nil }, time.Minute, time.Millisecond, "round %d", round)
		}
		written(10) // all of it once more
		require.Equal(t, len(rows)-before, count(t, reader), "round %d", round)
	}
	require.NoError(t, child.Process.Kill())
	for lines.Scan() { // what it said before it died
	}
	require.Error(t, child.Wait())
}
