package dlq

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The lock of a file that has lost its name in the meantime is worth nothing, and isn't given out.
func TestLockIsOfTheName(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "f"), filepath.Join(dir, "g")
	for name, between := range map[string]func() error{
		"replaced": func() error { return os.Rename(other, path) },
		"removed":  func() error { return os.Remove(path) },
		"moved":    func() error { return os.Rename(path, path+".processing") },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.WriteFile(other, nil, 0o600))
			_, err := lockFile(path, func() { require.NoError(t, between()) })
			require.ErrorIs(t, err, fs.ErrNotExist)
		})
	}
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	lock, err := diskFS{}.Lock(path)
	require.NoError(t, err)
	_, err = diskFS{}.Lock(path)
	require.ErrorIs(t, err, errLocked)
	require.NoError(t, os.Rename(path, other)) // it goes with the file
	_, err = diskFS{}.Lock(other)
	require.ErrorIs(t, err, errLocked)
	require.NoError(t, lock.Close())
	lock, err = diskFS{}.Lock(other)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

func TestLockMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone")
	_, err := diskFS{}.Lock(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoFileExists(t, path)
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	require.NoError(t, diskFS{}.MkdirAll(deep))
	require.NoError(t, diskFS{}.MkdirAll(deep))
	require.DirExists(t, deep)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := OpenDir(DirConfig{Path: file})
	require.ErrorContains(t, err, "path")
}
