//go:build integration && unix

package libsql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// ttl of the leases here: short, since the tests wait for them.
const ttl = minLeaseTTL

func TestOneWriter(t *testing.T) {
	cfg := namespaceConfig(t)
	first := openWith(t, cfg)
	_, err := Open(t.Context(), cfg)
	require.ErrorIs(t, err, ErrLeased)
	require.ErrorContains(t, err, fmt.Sprint("process ", os.Getpid()), "it says who")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg.WaitForLease = true
	_, err = Open(ctx, cfg)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, first.Close())
	second := openWith(t, cfg) // at once: the first gave it up
	mustWrite(t, second, someRows(t, 0, 10))
}

// TestFence: whoever has lost the lease without knowing it stores nothing, by whichever way a batch goes in.
func TestFence(t *testing.T) {
	var lost error
	cfg := namespaceConfig(t)
	cfg.OnLeaseLost = func(err error) { lost = err }
	s := openWith(t, cfg)
	rows := someRows(t, 0, 20)
	mustWrite(t, s, rows[:10])
	_, err := s.writer.ExecContext(t.Context(), "UPDATE firetrail_lease SET owner = 'another'")
	require.NoError(t, err)
	for _, batch := range [][]sinkers.Row{rows, rows[:10], rows[10:]} { // what is new, known, and both
		s.lease.lost.Store(false)
		_, err = s.Write(t.Context(), sinkers.Batch{Rows: batch})
		require.ErrorIs(t, err, ErrLeaseLost)
		require.False(t, sinkers.IsPermanent(err))
	}
	require.ErrorIs(t, lost, ErrLeaseLost)
	require.Equal(t, 10, count(t, s))
	require.NoError(t, s.Close())
	var owner string
	reader := openWith(t, Config{URL: cfg.URL, Proxy: cfg.Proxy, ReadOnly: true})
	require.NoError(t, reader.readers.QueryRowContext(t.Context(), "SELECT owner FROM "+sqlstore.LeaseTable).Scan(&owner))
	require.Equal(t, "another", owner, "it gives up its own alone")
}

const (
	writerURL   = "FIRETRAIL_TEST_URL"
	writerProxy = "FIRETRAIL_TEST_PROXY"
)

// TestWriterProcess is the process that the tests below kill and stop: for each line that it reads it writes ten rows and
// says what came of it.
func TestWriterProcess(t *testing.T) {
	if os.Getenv(writerURL) == "" {
		return // not asked for
	}
	s, err := Open(t.Context(), Config{URL: os.Getenv(writerURL), Proxy: os.Getenv(writerProxy), LeaseTTL: ttl})
	require.NoError(t, err)
	lines := bufio.NewScanner(os.Stdin)
	for fmt.Println("open"); lines.Scan(); {
		var from int
		_, err := fmt.Sscan(lines.Text(), &from)
		require.NoError(t, err)
		res, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, from, from+10)})
		fmt.Println("result", res.Stored, res.Duplicates, errors.Is(err, ErrLeaseLost), err)
	}
}

// writerProcess starts it. write has it write ten rows and returns what it says.
func writerProcess(t *testing.T, cfg Config) (p *os.Process, write func(from int) string) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriterProcess$")
	cmd.Env = append(os.Environ(), writerURL+"="+cfg.URL, writerProxy+"="+cfg.Proxy)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "open", lines.Text())
	return cmd.Process, func(from int) string {
		_, err := fmt.Fprintln(in, from)
		require.NoError(t, err)
		require.True(t, lines.Scan())
		return lines.Text()
	}
}

// TestStalledWriterAndErasure: a writer stands still with rows in hand, an erasure covers them, and the writer goes
// on: they stay gone, those that it had stored and those that it had not.
func TestStalledWriterAndErasure(t *testing.T) {
	cfg := namespaceConfig(t)
	owner, write := writerProcess(t, cfg)
	require.Equal(t, "result 10 0 false <nil>", write(0))
	require.NoError(t, owner.Signal(syscall.SIGSTOP))
	beside := openWith(t, Config{URL: cfg.URL, Proxy: cfg.Proxy, Beside: true})
	n, err := beside.Erase(t.Context(), sinkers.Erasure{Tenant: "acme"})
	require.NoError(t, err)
	require.EqualValues(t, 10, n)
	require.NoError(t, owner.Signal(syscall.SIGCONT))
	for _, from := range []int{0, 10} {
		require.Equal(t, "result 0 0 false <nil>", write(from))
	}
	require.Zero(t, count(t, beside))
	for e, err := range beside.ReadLedger(t.Context(), sinkers.Scan{Tenant: "acme"}) {
		require.NoError(t, err)
		require.Equal(t, sinkers.LedgerErased, e.Reason)
		require.EqualValues(t, 20, e.Count())
	}
}

// TestStandbyTakesOver when the writer is killed.
func TestStandbyTakesOver(t *testing.T) {
	cfg := namespaceConfig(t)
	cfg.LeaseTTL = ttl
	owner, write := writerProcess(t, cfg)
	require.Equal(t, "result 10 0 false <nil>", write(0))
	_, err := Open(t.Context(), cfg)
	require.ErrorIs(t, err, ErrLeased)
	require.ErrorContains(t, err, fmt.Sprint("process ", owner.Pid))
	cfg.WaitForLease = true
	opened := make(chan *Sink, 1)
	go func() {
		s, _ := Open(t.Context(), cfg)
		opened <- s
	}()
	require.Equal(t, "result 10 0 false <nil>", write(10))
	require.Empty(t, opened, "nobody waits for a lease that is renewed for nothing")
	require.NoError(t, owner.Kill())
	s := <-opened
	require.NotNil(t, s)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 0, 30)})
	require.NoError(t, err)
	require.Equal(t, sinkers.Result{Stored: 10, Duplicates: 20}, res)
}

// TestStalledWriter: one that stood still until a standby has taken over stores nothing when it goes on.
func TestStalledWriter(t *testing.T) {
	cfg := namespaceConfig(t)
	cfg.LeaseTTL = ttl
	owner, write := writerProcess(t, cfg)
	require.Equal(t, "result 10 0 false <nil>", write(0))
	require.NoError(t, owner.Signal(syscall.SIGSTOP))
	cfg.WaitForLease = true
	s := openWith(t, cfg)
	require.NoError(t, owner.Signal(syscall.SIGCONT))
	require.True(t, strings.HasPrefix(write(10), "result 0 0 true "), "it has lost the lease and says so")
	require.Equal(t, 10, count(t, s))
	mustWrite(t, s, someRows(t, 20, 30))
}

// TestLeaseOutlivesTheServer: a writer whose server was away for longer than the lease goes on, when nobody took it.
func TestLeaseOutlivesTheServer(t *testing.T) {
	server := testenv.StartLibSQL(t, testenv.LibSQLOptions{})
	s := openWith(t, Config{URL: server.URL("http"), LeaseTTL: ttl, OnLeaseLost: func(err error) { t.Error(err) }})
	server.Kill(t)
	_, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 0, 10)})
	require.Error(t, err)
	server.StartAgain(t)
	_, err = s.writer.ExecContext(t.Context(), "UPDATE firetrail_lease SET expires_at = 0")
	require.NoError(t, err)
	mustWrite(t, s, someRows(t, 0, 10))
	require.Eventually(t, func() bool {
		var expires int64
		require.NoError(t, s.readers.QueryRowContext(t.Context(), "SELECT expires_at FROM "+sqlstore.LeaseTable).Scan(&expires))
		return expires > 0
	}, 30*time.Second, 20*time.Millisecond, "it isn't renewed")
}

// TestBeside: an erasure beside a live writer, which goes on meanwhile.
func TestBeside(t *testing.T) {
	cfg := namespaceConfig(t)
	s := openWith(t, cfg)
	rows := someRows(t, 0, 4_000)
	mustWrite(t, s, rows[:2_000])
	beside := openWith(t, Config{URL: cfg.URL, Proxy: cfg.Proxy, Beside: true})
	_, err := beside.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.ErrorIs(t, err, ErrBeside)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil {
			_, _ = s.Write(ctx, sinkers.Batch{Rows: rows})
		}
	})
	n, err := beside.Erase(t.Context(), sinkers.Erasure{Tenant: "acme", Before: rows[3_000].Time})
	stop()
	writing.Wait()
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, int64(2_000))
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.Equal(t, 3_000, res.Erased)
	require.Equal(t, 1_000, count(t, s))
}

// TestTurnsAreGivenUp: whoever waits for another write waits no longer than its context.
func TestTurnsAreGivenUp(t *testing.T) {
	s := openWith(t, namespaceConfig(t))
	require.NoError(t, s.takeTurn(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := s.Write(ctx, sinkers.Batch{Rows: someRows(t, 0, 1)})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.endTurn()
	mustWrite(t, s, someRows(t, 0, 1))
}
