package wal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestDiskFull fills a real file system, and empties it again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m")
	if errors.Is(err, unix.EPERM) {
		t.Log("not tried: only root may mount a small file system to fill")
		return
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })

	cfg := small(OSFS())
	cfg.Dir = filepath.Join(dir, "log")
	cfg.RingSize, cfg.SegmentSize, cfg.MinFree, cfg.MaxBytes = 256<<10, 256<<10, -1, -1
	l := open(t, cfg)
	appendN(t, l, 1000)
	require.NoError(t, l.Sync(timeout(t)))
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	last := appendN(t, l, 50_000) // some 4 MB
	require.Eventually(t, func() bool { return l.Stats().State == Degraded }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, l.Stats().Reason, unix.ENOSPC)
	require.True(t, slices.Equal(sequence(1, last), readAll(t, l, last)), "readable while the disk is full")
	require.NoError(t, os.Remove(ballast))
	require.Eventually(t, func() bool { s := l.Stats(); return s.State == Healthy && s.Overflow == 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, closeLog(l))
	l = open(t, cfg)
	require.True(t, slices.Equal(sequence(1, last), readAll(t, l, last)))
	require.Zero(t, l.Stats().Lost)
}

// fill writes a file until there is no room for more.
func fill(t *testing.T, name string) {
	f, err := os.Create(name)
	require.NoError(t, err)
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
}
