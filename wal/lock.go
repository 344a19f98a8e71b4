package wal

import (
	"errors"
	"fmt"
	"io"

	"github.com/gofrs/flock"
)

// ErrLocked is the error of Open on a directory that another log, of this process or another, has open.
var ErrLocked = errors.New("wal: the directory is in use")

func (osFS) Lock(name string) (io.Closer, error) {
	l := flock.New(name, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("wal: can't lock %s (put the log on a local file system that has locks): %w", name, err)
	case !ok:
		return nil, fmt.Errorf("%w: %s is locked", ErrLocked, name)
	}
	return l, nil
}
