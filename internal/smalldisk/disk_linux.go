package smalldisk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Disk is a small file system, in memory. The methods of one that is nil do nothing.
type Disk struct {
	Dir string // where it is mounted
}

// Mount mounts one of so many MiB at dir, until the test has ended. Where that isn't allowed it returns nil, and says so
// in the test's log.
func Mount(t testing.TB, dir string, mib int) *Disk {
	t.Helper()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib))
	if errors.Is(err, unix.EPERM) {
		t.Log("no disk is filled: only root may mount a small file system to fill")
		return nil
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return &Disk{dir}
}

func (d *Disk) ballast() string { return filepath.Join(d.Dir, "ballast") }

// Fill leaves no room on it, to the last byte.
func (d *Disk) Fill(t testing.TB) {
	if d == nil {
		return
	}
	t.Helper()
	f, err := os.Create(d.ballast())
	require.NoError(t, err)
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		require.ErrorIs(t, err, unix.ENOSPC)
	}
	require.NoError(t, f.Close())
}

// Empty makes the room again that Fill has taken, and reports whether it had.
func (d *Disk) Empty(t testing.TB) bool {
	if d == nil {
		return false
	}
	t.Helper()
	err := os.Remove(d.ballast())
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	return err == nil
}

// Grow makes it one of so many MiB.
func (d *Disk) Grow(t testing.TB, mib int) {
	if d == nil {
		return
	}
	t.Helper()
	require.NoError(t, unix.Mount("tmpfs", d.Dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%dm", mib)))
}
