package wal

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/firetrail/firetrail/internal/smalldisk"
)

// TestDiskFull fills a real file system, and empties it again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	disk := smalldisk.Mount(t, dir, 16)
	if disk == nil {
		return
	}

	cfg := small(OSFS())
	cfg.Dir = filepath.Join(dir, "log")
	cfg.RingSize, cfg.SegmentSize, cfg.MinFree, cfg.MaxBytes = 256<<10, 256<<10, -1, -1
	l := open(t, cfg)
	appendN(t, l, 1000)
	require.NoError(t, l.Sync(timeout(t)))
	disk.Fill(t)
	last := appendN(t, l, 50_000) // some 4 MB
	require.Eventually(t, func() bool { return l.Stats().State == Degraded }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, l.Stats().Reason, unix.ENOSPC)
	require.True(t, slices.Equal(sequence(1, last), readAll(t, l, last)), "readable while the disk is full")
	require.True(t, disk.Empty(t))
	require.Eventually(t, func() bool { s := l.Stats(); return s.State == Healthy && s.Overflow == 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, closeLog(l))
	l = open(t, cfg)
	require.True(t, slices.Equal(sequence(1, last), readAll(t, l, last)))
	require.Zero(t, l.Stats().Lost)
}
