//go:build unix

package wal

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Free(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil
}

func (osFS) Map(name string, size int) (Mapping, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the mapping keeps the file
	if err := writeOut(f, size); err != nil {
		return nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|mapPopulate)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: name, Err: err}
	}
	return &mapping{b: b}, nil
}

type mapping struct {
	b    []byte
	once sync.Once
	err  error
}

func (m *mapping) Bytes() []byte          { return m.b }
func (m *mapping) NeedsWritten() bool     { return false }
func (m *mapping) Written(int, int) error { return nil }

func (m *mapping) Close() error {
	m.once.Do(func() { m.err = unix.Munmap(m.b) })
	return m.err
}
