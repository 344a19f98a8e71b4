//go:build integration && unix

package testenv

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// process is a server that is one process, started in a group of its own: an interrupt of the tests is not for it.
type process struct{ cmd *exec.Cmd }

// Pause stops the server with SIGSTOP: its connections stay open, and nothing answers.
func (p *process) Pause(t testing.TB) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	require.Eventually(t, func() bool { return stopped(p.cmd.Process.Pid) }, 30*time.Second, 10*time.Millisecond,
		"the server goes on")
}

// Resume lets the server go on after Pause.
func (p *process) Resume(t testing.TB) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
}

// stopped says whether all threads of a process stand still: they stop one after the other.
func stopped(pid int) bool {
	states, err := exec.Command("ps", "-L", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Trim(string(states), "T \n") == ""
}

// Guard starts a process that runs a script, with dir as its $1, once alive is closed or this process has ended, by
// whatever death: it waits for the end of a pipe that nobody writes to. It outlives an interrupt of the tests, in a
// process group of its own.
func Guard(dir, script string) (alive *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	cmd := exec.Command("bash", "-c", "read -r\n"+script, "guard", dir)
	cmd.Stdin, cmd.SysProcAttr = r, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return w, cmd.Process.Release()
}

func addr(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
