package dlq

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever has the lock has the file of that name, however often the name goes to another file.
func TestLockIsOfTheName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	var serial, taken atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for taken.Load() < 2000 && !t.Failed() {
				lock, err := diskFS{}.Lock(path)
				if err != nil {
					if !errors.Is(err, errLocked) && !errors.Is(err, fs.ErrNotExist) {
						t.Error(err)
					}
					continue
				}
				taken.Add(1)
				mine := strconv.FormatInt(serial.Add(1), 10)
				next := path + mine
				// A new file takes the name, locked before it does, as settle does it.
				err = os.WriteFile(next, []byte(mine), 0o600)
				nextLock, errLock := diskFS{}.Lock(next)
				err = errors.Join(err, errLock, os.Rename(next, path))
				got, errRead := os.ReadFile(path)
				if err = errors.Join(err, errRead); err != nil || string(got) != mine {
					t.Errorf("%s is in the file of %s, which has the lock: %v", got, mine, err)
				}
				if err := errors.Join(lock.Close(), nextLock.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
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
