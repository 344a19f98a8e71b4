//go:build integration && unix

package testenv

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// ClickHouse is a real ClickHouse server on loopback, a process of its own. A test calls its methods one at
// a time.
type ClickHouse struct {
	process
	dir, lib string
	port     int      // native; HTTP is the next one
	alive    *os.File // the server's stdin, closed by the end of this process
	said     *os.File // its stdout
}

// The users that ClickHouse servers know beside "default".
const (
	ClickHouseUser     = "audit"
	ClickHousePassword = "s&cret"
	// ClickHouseReader may set and write nothing, and ClickHouseLimited may do 5 inserts in 5 seconds. They have no
	// password.
	ClickHouseReader  = "reader"
	ClickHouseLimited = "limited"
)

// StartClickHouse starts a server of its own for this test, and kills it when the test ends. It takes
// about a second and 300 MB of memory: use [SharedClickHouse] where nothing is broken.
func StartClickHouse(t testing.TB) *ClickHouse {
	t.Helper()
	c, err := startClickHouse()
	require.NoError(t, err)
	t.Cleanup(c.remove)
	return c
}

var sharedClickHouse struct {
	once   sync.Once
	server *ClickHouse
	err    error
}

// SharedClickHouse returns the server that the tests of this binary share. It is started by the first to ask,
// and goes when the binary ends, however that ends.
func SharedClickHouse(t testing.TB) *ClickHouse {
	t.Helper()
	s := &sharedClickHouse
	s.once.Do(func() { s.server, s.err = startClickHouse() })
	require.NoError(t, s.err)
	return s.server
}

// Addr returns the address of the native protocol, as host:port.
func (c *ClickHouse) Addr() string { return addr(c.port) }

// HTTPAddr returns the address of the HTTP interface, as host:port.
func (c *ClickHouse) HTTPAddr() string { return addr(c.port + 1) }

// Database makes a database of its own for this test and returns its name. It stays when the test ends: a
// server goes with the test binary.
func (c *ClickHouse) Database(t testing.TB) string {
	t.Helper()
	name := strings.ReplaceAll(Unique(t), "-", "_")
	c.Exec(t, "CREATE DATABASE "+name)
	return name
}

// Kill ends the server with SIGKILL.
func (c *ClickHouse) Kill(t testing.TB) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Kill(), "the server isn't running")
	c.ended()
}

// StartAgain starts the server after [ClickHouse.Kill], on the data and the ports it had, and returns when
// it answers.
func (c *ClickHouse) StartAgain(t testing.TB) {
	t.Helper()
	require.NoError(t, c.Restart())
}

// Restart is [ClickHouse.StartAgain] for a goroutine of its own.
func (c *ClickHouse) Restart() error { return c.start() }
