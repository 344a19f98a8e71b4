package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The child of TestKill9 is this test binary, told so by its environment.
const (
	childDir  = "FIRETRAIL_WAL_CHILD_DIR"
	childRate = "FIRETRAIL_WAL_CHILD_RATE"
	rounds    = "FIRETRAIL_KILL_ROUNDS" // how many; default 12
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		rate, _ := strconv.Atoi(os.Getenv(childRate))
		child(dir, rate)
		return
	}
	goleak.VerifyTestMain(m)
}

// witness is a counter in shared memory: the records whose Append had returned when the child was killed. It
// outlives the child as the ring does, without any of the log's code.
type witness struct {
	appended, unprotected *atomic.Uint64
	m                     Mapping
}

func openWitness(dir string) (witness, error) {
	m, err := OSFS().Map(filepath.Join(dir, "witness"), 4096)
	if err != nil {
		return witness{}, err
	}
	b := m.Bytes()
	return witness{(*atomic.Uint64)(unsafe.Pointer(&b[0])), (*atomic.Uint64)(unsafe.Pointer(&b[8])), m}, nil
}

func killConfig(dir string) Config {
	return Config{Dir: filepath.Join(dir, "log"), RingSize: 4 << 20, SegmentSize: 2 << 20, MaxBytes: -1, MinFree: -1, SyncEvery: 20 * time.Millisecond}
}

// child appends until it is killed: flat out, or at a rate.
func child(dir string, rate int) {
	w, err := openWitness(dir)
	if err == nil {
		err = appendForever(dir, rate, w)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func appendForever(dir string, rate int, w witness) error {
	l, err := Open(killConfig(dir))
	if err != nil {
		return err
	}
	next := l.Stats().Next
	fmt.Println("open") // the parent begins to count down
	for begun, n := time.Now(), 0; ; n++ {
		if rate > 0 {
			for time.Since(begun) < time.Duration(n)*time.Second/time.Duration(rate) {
				<-time.After(50 * time.Microsecond)
			}
		}
		seq, safe, err := l.Append(byte(next), payload(next))
		if err != nil {
			if errors.Is(err, ErrFull) {
				continue
			}
			return err
		}
		if !safe {
			w.unprotected.Add(1)
		}
		w.appended.Store(seq)
		next = seq + 1
	}
}

// TestKill9 kills a process that appends, at random moments, and opens its log: every record whose Append had
// returned is there, unless it was said to be unprotected.
func TestKill9(t *testing.T) {
	n := 12
	if s := os.Getenv(rounds); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	for _, rate := range []int{0, 20_000} {
		t.Run(fmt.Sprint("rate ", rate), func(t *testing.T) {
			dir := t.TempDir()
			w, err := openWitness(dir)
			require.NoError(t, err)
			defer func() { require.NoError(t, w.m.Close()) }()
			var next uint64 = 1
			for round := range n / 2 {
				w.unprotected.Store(0)
				w.appended.Store(next - 1)
				killChild(t, dir, rate, time.Duration(rand.IntN(60))*time.Millisecond)
				returned, unprotected := w.appended.Load(), w.unprotected.Load()
				if rate > 0 {
					require.Zero(t, unprotected, "round %d", round)
				}
				next = checkKilled(t, dir, next, returned, unprotected)
			}
			require.Greater(t, next, uint64(1))
		})
	}
}

func killChild(t *testing.T, dir string, rate int, after time.Duration) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childRate+"="+strconv.Itoa(rate))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 5))
	require.NoError(t, err)
	<-time.After(after)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
}

// checkKilled reads what the killed process left, from the record next on, releases it, and returns the sequence
// that the next process begins with.
func checkKilled(t *testing.T, dir string, next, returned, unprotected uint64) uint64 {
	l := open(t, killConfig(dir))
	last := l.Stats().Next - 1
	require.GreaterOrEqual(t, last+unprotected, returned, "the log ends before what was appended")
	if last >= next {
		require.Equal(t, sequence(next, last), readAll(t, l, last))
	}
	require.Zero(t, l.Stats().Lost)
	l.Release(last)
	require.NoError(t, closeLog(l))
	return last + 1
}
