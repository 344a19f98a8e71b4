//go:build integration && unix

package chaos

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
)

// target is what faults are done to. All but restart return soon.
type target interface {
	kill(t *testing.T)
	stop(t *testing.T)
	goOn(t *testing.T)
	// restart starts it after kill, and returns when it is up. It may run on a goroutine of its own.
	restart() error
}

// broker is one of a cluster's.
type broker struct {
	*testenv.Kafka
	i int
}

func (b broker) kill(t *testing.T) { b.Kill(t, b.i) }
func (b broker) stop(t *testing.T) { b.Pause(t, b.i) }
func (b broker) goOn(t *testing.T) { b.Resume(t, b.i) }
func (b broker) restart() error    { return b.Restart(b.i) }

// program is a worker or a producer.
type program struct {
	name    string
	command func() (*exec.Cmd, error)
	dir     string // of its log, and of its pid while it runs
	*exec.Cmd
	ended chan error // its end
}

// guardPrograms kills the programs whose pids are in dir when this process has ended.
func guardPrograms(t *testing.T, dir string) {
	require.NoError(t, os.MkdirAll(dir, 0o755))
	alive, err := testenv.Guard(dir, `cat "$1"/*.pid | xargs -r kill -9`)
	require.NoError(t, err)
	t.Cleanup(func() { _ = alive.Close() })
}

func (p *program) pid() string { return filepath.Join(p.dir, p.name+".pid") }
func (p *program) log() string { return filepath.Join(p.dir, p.name+".log") }

// restart begins it. What it says goes to the end of its log.
func (p *program) restart() (err error) {
	if p.Cmd, err = p.command(); err != nil {
		return err
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.Stdout, p.Stderr = log, log
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Start(); err != nil {
		return err
	}
	ended, cmd := make(chan error, 1), p.Cmd
	p.ended = ended
	go func() { ended <- cmd.Wait() }()
	return os.WriteFile(p.pid(), []byte(strconv.Itoa(p.Process.Pid)+"\n"), 0o600)
}

// signal may come too late: then it has ended, and the run looks into that.
func (p *program) signal(t *testing.T, s syscall.Signal) {
	if err := p.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
}

func (p *program) kill(t *testing.T) {
	p.signal(t, syscall.SIGKILL)
	p.await(t, time.Minute) //nolint:errcheck // it was killed
}

func (p *program) stop(t *testing.T) { p.signal(t, syscall.SIGSTOP) }
func (p *program) goOn(t *testing.T) { p.signal(t, syscall.SIGCONT) }

// await waits for its end.
func (p *program) await(t *testing.T, most time.Duration) error {
	select {
	case err := <-p.ended:
		require.NoError(t, os.Remove(p.pid()))
		return err
	case <-time.After(most):
		require.Fail(t, p.name+" does not end", "%s", p.tail())
		return nil
	}
}

// terminated says whether SIGTERM itself ended it.
func (p *program) terminated() bool {
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// over says whether it has ended.
func (p *program) over() (bool, error) {
	select {
	case err := <-p.ended:
		return true, errors.Join(err, os.Remove(p.pid()))
	default:
		return false, nil
	}
}

// tail is the end of its log.
func (p *program) tail() string {
	b, _ := os.ReadFile(p.log())
	return string(b[max(0, len(b)-2000):])
}
