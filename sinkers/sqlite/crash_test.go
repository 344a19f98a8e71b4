package sqlite

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

const crashEnv = "FIRETRAIL_TEST_CRASH"

// TestKill kills a writing process with -9: what Write had returned for is there, and each batch is there
// whole or not at all.
func TestKill(t *testing.T) {
	const size = 200
	if path := os.Getenv(crashEnv); path != "" {
		s := openAt(t, path)
		for n := count(t, s); ; n += size {
			mustWrite(t, s, someRows(t, n, n+size))
			fmt.Println(n + size)
		}
	}
	path := tempPath(t)
	stored := 0
	for range 3 { // each goes on with what the one before left
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		child.Env = append(os.Environ(), crashEnv+"="+path)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines := bufio.NewScanner(out)
		for said := 0; said < 5 && lines.Scan(); said++ {
			_, err := fmt.Sscan(lines.Text(), &stored)
			require.NoError(t, err)
		}
		require.NoError(t, child.Process.Kill())
		for lines.Scan() { // what it said before it died
			_, err := fmt.Sscan(lines.Text(), &stored)
			require.NoError(t, err)
		}
		require.Error(t, child.Wait())

		require.FileExists(t, path+"-wal", "it ended too well")

		reader := openWith(t, Config{Path: path, ReadOnly: true}) // a query needs no worker to mend it first
		n := count(t, reader)
		require.NoError(t, reader.Close())

		s := openAt(t, path)
		require.Equal(t, n, count(t, s))
		require.GreaterOrEqual(t, n, stored)
		require.GreaterOrEqual(t, stored, 5*size)
		require.Zero(t, n%size, "part of a batch is stored")
		res, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 0, n)})
		require.NoError(t, err)
		require.Equal(t, sinkers.Result{Duplicates: n}, res)
		require.NoError(t, s.Close())
	}
}
