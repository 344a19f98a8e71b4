package wal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const mapPopulate = unix.MAP_POPULATE

func (f osFile) Sync() error {
	return retryInterrupted("fdatasync", f.Name(), func() error { return unix.Fdatasync(int(f.Fd())) })
}

func (f osFile) Allocate(size int64) error {
	err := retryInterrupted("fallocate", f.Name(), func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}

func retryInterrupted(op, path string, call func() error) error {
	for {
		switch err := call(); {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return &os.PathError{Op: op, Path: path, Err: err}
		}
	}
}
