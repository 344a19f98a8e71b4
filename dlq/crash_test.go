package dlq

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// story is a short life of a directory with every sort of settling in it: letters delivered, refused, away
// and buried, a damaged file, and dead ones that are put.
type story struct {
	x     destination
	acked []Letter // by a Put that returned nil
}

func (s *story) run(t *testing.T, m *memFS) {
	d, err := OpenDir(DirConfig{Path: "d", MaxScans: 2, fs: m})
	if err != nil {
		return
	}
	put := func(k Kind, ls []Letter) {
		if d.Put(t.Context(), k, ls) == nil {
			s.acked = append(s.acked, ls...)
		}
	}
	put(Waiting, append(letters("a", 0, 4), letters("b", 0, 2)...))
	put(Waiting, letters("a", 4, 6))
	put(Dead, letters("c", 0, 1))
	s.x.answer = func(l Letter) Outcome {
		switch {
		case l.Tenant == "a" && l.Offset%2 == 1:
			return Refused
		case l.Tenant == "b":
			return Away
		default:
			return Delivered
		}
	}
	_, _ = d.Retry(t.Context(), s.x.deliver)
	put(Waiting, letters("a", 6, 8))
	_, _ = d.Retry(t.Context(), s.x.deliver) // a-1, a-3, a-5 are buried
	require.NoError(t, d.Close())
}

// everyOp runs the story once without a fault, to count its operations.
func everyOp(t *testing.T) []string {
	m := newMemFS()
	var s story
	s.run(t, m)
	require.Len(t, s.acked, 11)
	require.Equal(t, []string{"a-0", "a-2", "a-4", "a-6"}, sorted(s.x.ids()))
	for _, op := range []string{"create", "write", "fsync", "rename", "remove", "syncdir", "lock", "open", "list"} {
		require.Contains(t, m.ops, op)
	}
	return m.ops
}

// survivors is where everything is, after a restart with the destination back.
func (s *story) survivors(t *testing.T, m *memFS) (delivered, dead []string) {
	d, err := OpenDir(DirConfig{Path: "d", fs: m})
	require.NoError(t, err)
	s.x.answer = nil
	_, err = d.Retry(t.Context(), s.x.deliver)
	require.NoError(t, err)
	require.Zero(t, d.Stats().Waiting)
	require.Zero(t, d.Stats().DamagedFiles)
	for _, l := range stored(t, d, Dead) {
		want := letter(l.Tenant, int(l.Offset))
		require.Equal(t, want.Value, l.Value)
		dead = append(dead, l.ID)
	}
	require.NoError(t, d.Close())
	for _, l := range s.x.got {
		require.Equal(t, letter(l.Tenant, int(l.Offset)).Value, l.Value)
	}
	for path := range m.names {
		n, ok := parseFileName(filepath.Base(path))
		require.True(t, ok)
		require.Contains(t, []state{stateDead, stateTemp}, n.state, path)
	}
	return s.x.ids(), dead
}

func (s *story) nothingLost(t *testing.T, delivered, dead []string, when string) {
	t.Helper()
	for _, l := range s.acked {
		require.True(t, slices.Contains(delivered, l.ID) || slices.Contains(dead, l.ID), "%s is lost: %s", l.ID, when)
	}
}

// The power goes, or the process is killed, before each operation in turn.
func TestCrashAnywhere(t *testing.T) {
	total := len(everyOp(t))
	for n := 1; n <= total+1; n++ {
		m := newMemFS()
		m.fail = func(at int, _ string) error {
			if at >= n {
				return errPower
			}
			return nil
		}
		var s story
		s.run(t, m)
		s.check(t, m.kill(), "killed", n)
		changes := len(m.pending)
		for keep := range changes + 1 {
			s.check(t, m.powerCut(keep, -1, 0), fmt.Sprintf("power cut after %d of %d changes", keep, changes), n)
			s.check(t, m.powerCut(keep, -1, 0.5), fmt.Sprintf("power cut after %d of %d changes, half of the bytes", keep, changes), n)
		}
		for skip := range changes {
			s.check(t, m.powerCut(changes, skip, 0), fmt.Sprintf("power cut, all changes but number %d of %d", skip, changes), n)
		}
	}
}

func (s *story) check(t *testing.T, m *memFS, how string, n int) {
	t.Helper()
	after := story{acked: s.acked}
	after.x.got = slices.Clone(s.x.got)
	delivered, dead := after.survivors(t, m)
	after.nothingLost(t, delivered, dead, fmt.Sprintf("%s, before operation %d", how, n))
}

// Another process does a whole scan before each operation in turn: nothing is lost, and since nobody
// crashes, nothing is delivered or buried twice.
func TestAnotherProcessComesBetween(t *testing.T) {
	total := len(everyOp(t))
	for n := 1; n <= total; n++ {
		m := newMemFS()
		other, err := OpenDir(DirConfig{Path: "d", MaxScans: 2, fs: m})
		require.NoError(t, err)
		var s story
		var calls atomic.Int64
		m.intrude = func(string) {
			if calls.Add(1) == int64(n) {
				_, err := other.Retry(t.Context(), s.x.deliver)
				require.NoError(t, err)
				calls.Add(int64(total)) // its own don't count
			}
		}
		s.run(t, m)
		require.Len(t, s.acked, 11)
		m.intrude = nil
		require.NoError(t, other.Close())
		delivered, dead := s.survivors(t, m)
		s.nothingLost(t, delivered, dead, fmt.Sprintf("before operation %d", n))
		require.Len(t, append(delivered, dead...), len(s.acked), "twice, before operation %d", n)
	}
}

// The same, but the other process stands still in its first delivery until this one's story is over.
func TestAnotherProcessIsAtWork(t *testing.T) {
	total := len(everyOp(t))
	for n := 1; n <= total; n++ {
		m := newMemFS()
		other, err := OpenDir(DirConfig{Path: "d", MaxScans: 2, fs: m})
		require.NoError(t, err)
		var s story
		var calls atomic.Int64
		started, release, done := make(chan struct{}, 99), make(chan struct{}), make(chan error, 1)
		m.intrude = func(string) {
			if calls.Add(1) != int64(n) {
				return
			}
			go func() {
				_, err := other.Retry(t.Context(), func(ctx context.Context, ls []Letter) []Outcome {
					started <- struct{}{}
					<-release
					return s.x.deliver(ctx, ls)
				})
				started <- struct{}{}
				done <- err
			}()
			<-started
		}
		s.run(t, m)
		close(release)
		require.NoError(t, <-done)
		m.intrude = nil
		require.NoError(t, other.Close())
		delivered, dead := s.survivors(t, m)
		s.nothingLost(t, delivered, dead, fmt.Sprintf("before operation %d", n))
		require.Len(t, append(delivered, dead...), len(s.acked), "twice, before operation %d", n)
	}
}

// Each operation fails, once or for good, and the process lives on.
func TestEveryFault(t *testing.T) {
	ops := everyOp(t)
	for n := 1; n <= len(ops); n++ {
		for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
			for _, lasting := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %s %v %v", n, ops[n-1], fault, lasting), func(t *testing.T) {
					m := newMemFS()
					m.fail = func(at int, _ string) error {
						if at == n || lasting && at > n {
							return fault
						}
						return nil
					}
					var s story
					s.run(t, m)
					m.fail = nil
					delivered, dead := s.survivors(t, m)
					s.nothingLost(t, delivered, dead, "fault")
				})
			}
		}
	}
}

// A full disk makes a Put fail whole, and leaves nothing behind.
func TestPutOnAFullDisk(t *testing.T) {
	for _, op := range []string{"create", "write", "fsync", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			m := newMemFS()
			d, err := OpenDir(DirConfig{Path: "d", fs: m})
			require.NoError(t, err)
			nth := 0
			m.fail = func(_ int, o string) error {
				if o == op {
					nth++
				}
				if o == op && (op == "syncdir" || nth == 2) {
					return syscall.ENOSPC
				}
				return nil
			}
			err = d.Put(t.Context(), Waiting, append(letters("a", 0, 2), letters("b", 0, 2)...))
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.Empty(t, m.names)
			require.Zero(t, d.Stats().Waiting)
			require.Zero(t, d.index.reserved)
			m.fail = nil
			require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 2)))
			require.NoError(t, d.Close())
		})
	}
}

// A disk that takes no new names doesn't fill with copies of the same poison.
func TestFailingSettleLeavesNoCopies(t *testing.T) {
	m := newMemFS()
	d, err := OpenDir(DirConfig{Path: "d", MaxScans: 1, fs: m})
	require.NoError(t, err)
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 2)))
	x := destination{answer: always(Refused)}
	m.fail = func(_ int, op string) error {
		if op == "syncdir" {
			return syscall.EIO
		}
		return nil
	}
	for range 3 {
		_, err := d.Retry(t.Context(), x.deliver)
		require.ErrorIs(t, err, syscall.EIO)
		require.Len(t, m.names, 1)
	}
	m.fail = nil
	res, err := d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, 2, res.Buried)
	require.Len(t, m.names, 1)
	require.NoError(t, d.Close())
}

func TestUnwritableDirectory(t *testing.T) {
	for _, fault := range []error{syscall.EACCES, syscall.EROFS} {
		m := newMemFS()
		m.fail = func(_ int, op string) error {
			if op == "create" {
				return fault
			}
			return nil
		}
		_, err := OpenDir(DirConfig{Path: "d", fs: m})
		require.ErrorIs(t, err, fault)
		require.ErrorContains(t, err, "can't be written to")
	}
	m := newMemFS()
	m.fail = func(_ int, op string) error {
		if op == "create" {
			return syscall.ENOSPC
		}
		return nil
	}
	d, err := OpenDir(DirConfig{Path: "d", fs: m})
	require.NoError(t, err, "a full disk may pass")
	require.NoError(t, d.Close())
	_, err = OpenDir(DirConfig{ScanInterval: 1})
	require.ErrorContains(t, err, "path: missing")
	require.ErrorContains(t, err, "scan interval: 1ns")
	require.True(t, strings.HasPrefix(err.Error(), "dlq: ") && !errors.Is(err, ErrClosed))
}
