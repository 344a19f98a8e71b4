package dlq

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// fileSystem is all that this package does with files, so that tests can fail any of it and cut the
// power in between.
type fileSystem interface {
	// MkdirAll makes a directory and those above it, durably, 0700.
	MkdirAll(dir string) error
	// Create makes a file that must not exist, 0600.
	Create(path string) (writeFile, error)
	Open(path string) (io.ReadCloser, error)
	Rename(from, to string) error
	Remove(path string) error
	List(dir string) ([]fileInfo, error)
	// SyncDir makes durable what was created, renamed and removed in dir.
	SyncDir(dir string) error
	// Lock takes the lock on an existing file, which goes with it when it is renamed and ends with the
	// process. errLocked says that somebody holds it, fs.ErrNotExist that the file is gone or is
	// another one by now.
	Lock(path string) (io.Closer, error)
}

type writeFile interface {
	io.WriteCloser
	Sync() error
}

type fileInfo struct {
	name     string
	bytes    int64
	modified time.Time
}

var errLocked = errors.New("locked by another process")

// diskFS is the operating system's file system.
type diskFS struct{}

func (diskFS) MkdirAll(dir string) error {
	var made []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range made {
		if err := (diskFS{}).SyncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	return nil
}

func (diskFS) Create(path string) (writeFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (diskFS) Open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (diskFS) Rename(from, to string) error { return os.Rename(from, to) }
func (diskFS) Remove(path string) error     { return os.Remove(path) }

func (diskFS) List(dir string) ([]fileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make([]fileInfo, 0, len(entries))
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		files = append(files, fileInfo{name: e.Name(), bytes: info.Size(), modified: info.ModTime()})
	}
	return files, nil
}

func (diskFS) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory can't be synced there; NTFS journals its entries itself
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (diskFS) Lock(path string) (io.Closer, error) { return lockFile(path, func() {}) }

// lockFile locks the file of a name. Tests come in between.
func lockFile(path string, between func()) (io.Closer, error) {
	l := flock.New(path, flock.SetFlag(os.O_RDWR)) // without O_CREATE: a file that is gone stays so
	ok, err := l.TryLock()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if !ok {
		return nil, errors.Join(errLocked, l.Close())
	}
	between()
	// Since it was opened the name may have gone to another file, whose lock this isn't.
	held, errHeld := l.Stat()
	named, errNamed := os.Stat(path)
	if err := errors.Join(errHeld, errNamed); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if !os.SameFile(held, named) {
		return nil, errors.Join(fs.ErrNotExist, l.Close())
	}
	return l, nil
}
