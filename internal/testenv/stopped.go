//go:build unix

package testenv

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BesideAStoppedWriter runs this test once more, with env, in a process of its own, which is to write the same rows again and
// again and to say a line for each write, of which so many are all rows. It stops that process wherever it happens to be, calls erase, lets it
// go on, and calls check when it has written all of it once more; so often. Where erase fails it is called again once the process
// goes on: it may have been stopped with a lock in its hands.
func BesideAStoppedWriter(t testing.TB, env string, lines, rounds int, erase func(round int) error, check func(round int)) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), env)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	said := bufio.NewScanner(out)
	written := func() {
		for range 2 * lines { // the one that it was stopped in, and each of all, wherever that was
			require.True(t, said.Scan(), "the writer has ended")
		}
	}
	defer func() {
		_ = child.Process.Kill()
		for said.Scan() { // what it said before it died
		}
		_ = child.Wait()
	}()
	written()
	for round := range rounds {
		require.NoError(t, child.Process.Signal(syscall.SIGSTOP))
		err := erase(round)
		require.NoError(t, child.Process.Signal(syscall.SIGCONT))
		if err != nil {
			require.Eventually(t, func() bool { return erase(round) == nil }, time.Minute, time.Millisecond, "round %d: %v", round, err)
		}
		written()
		check(round)
	}
}
