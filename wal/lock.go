package wal

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/gofrs/flock"
)

// ErrLocked is the error of Open on a directory that another log, of this process or another, has open.
var ErrLocked = errors.New("wal: the directory is in use")

// ErrNoLocks is the error of Open on a file system that has no locks, as some that are mounted over a network: two
// processes could write the same log.
var ErrNoLocks = errors.New("wal: the file system has no locks; put the log on a local one")

func (osFS) Lock(name string) (io.Closer, error) {
	l := flock.New(name, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	switch {
	case noLocks(err):
		return nil, fmt.Errorf("%w: locking %s: %w", ErrNoLocks, name, err)
	case err != nil:
		return nil, fmt.Errorf("wal: locking %s: %w", name, err)
	case !ok:
		return nil, fmt.Errorf("%w: %s is locked", ErrLocked, name)
	}
	return l, nil
}

func noLocks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.ENOLCK)
}
