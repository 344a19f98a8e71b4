//go:build integration && unix

package testenv

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"
)

// clickhouseVersion is that of the package chdb-core, which has the server's engine in it.
const clickhouseVersion = "26.9.0"

//go:embed clickhouse/clickhouse.py
var clickhouseScript []byte

func installClickHouse() (lib string, err error) {
	if _, err := exec.LookPath("python3"); err != nil {
		return "", errors.New("the integration tests need Python 3.9 or later with pip for ClickHouse: install it, " +
			"or run the tests without -tags integration")
	}
	return cached("clickhouse-"+clickhouseVersion, func(lib string) error {
		out, err := exec.Command("python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--no-deps", "--target", lib, "chdb-core=="+clickhouseVersion).CombinedOutput()
		if err != nil {
			return fmt.Errorf("pip install chdb-core: %w: %s", err, out)
		}
		return nil
	})
}

func startClickHouse() (*ClickHouse, error) {
	lib, err := installClickHouse()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "firetrail-clickhouse-")
	if err != nil {
		return nil, err
	}
	c := &ClickHouse{dir: dir, lib: lib}
	if err := os.WriteFile(c.script(), clickhouseScript, 0o600); err != nil {
		return nil, err
	}
	for range 3 { // another process may take a port in between
		if c.port, err = freePorts(2); err != nil {
			break
		}
		if err = c.start(); err == nil {
			return c, nil
		}
	}
	c.remove()
	return nil, err
}

// start runs the server and returns when it is ready.
func (c *ClickHouse) start() (err error) {
	in, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	said, out, err := os.Pipe()
	if err != nil {
		return err
	}
	logs, err := os.OpenFile(filepath.Join(c.dir, "stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command("python3", c.script(), "--lib", c.lib, "--path", filepath.Join(c.dir, "data"), "--remove",
		"--tcp-port", strconv.Itoa(c.port), "--http-port", strconv.Itoa(c.port+1),
		"--user", ClickHouseUser, "--password", ClickHousePassword)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the tests is not for it
	err = cmd.Start()
	err = errors.Join(err, in.Close(), out.Close(), logs.Close())
	c.cmd, c.alive, c.said = cmd, alive, said
	if err == nil {
		err = c.ready()
	}
	if err != nil {
		c.end()
	}
	return err
}

// ready reads the line that the server says when its ports are open.
func (c *ClickHouse) ready() error {
	if err := c.said.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	for lines := bufio.NewScanner(c.said); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "ready ") {
			return nil
		}
	}
	tail, _ := os.ReadFile(filepath.Join(c.dir, "stderr"))
	return fmt.Errorf("ClickHouse did not start: %s", tail[max(0, len(tail)-2000):])
}

// end kills the server, if there is one.
func (c *ClickHouse) end() {
	if c.cmd.Process != nil {
		_ = c.cmd.Process.Kill()
	}
	c.ended()
}

func (c *ClickHouse) ended() {
	_ = c.cmd.Wait() // killed: it says so
	_ = c.alive.Close()
	_ = c.said.Close()
}

func (c *ClickHouse) remove() {
	if c.cmd != nil {
		c.end()
	}
	_ = os.RemoveAll(c.dir)
}

func (c *ClickHouse) script() string { return filepath.Join(c.dir, "clickhouse.py") }

// Exec runs a statement as the user "default".
func (c *ClickHouse) Exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{c.Addr()}})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.Exec(ctx, statement, args...))
}
