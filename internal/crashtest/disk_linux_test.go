package crashtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// disk is a small file system, and a file that fills it. Where it may not be mounted there is none, and
// nothing fills up.
type disk struct{ ballast string }

func smallDisk(t *testing.T, dir string) disk {
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m")
	if errors.Is(err, unix.EPERM) {
		t.Log("the disk is not full: only root may mount a small file system to fill")
		return disk{}
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return disk{filepath.Join(dir, "ballast")}
}

// toggle fills the disk, or empties it.
func (d disk) toggle(t *testing.T) {
	if d.ballast == "" {
		return
	}
	if err := os.Remove(d.ballast); err == nil {
		return
	}
	f, err := os.Create(d.ballast)
	require.NoError(t, err)
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
}

// free makes room for all that is there, and as much again.
func (d disk) free(t *testing.T) {
	if d.ballast == "" {
		return
	}
	if err := os.Remove(d.ballast); err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	require.NoError(t, unix.Mount("tmpfs", filepath.Dir(d.ballast), "tmpfs", unix.MS_REMOUNT, fmt.Sprint("size=", 256<<20)))
}
