package wal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// FS is what a log needs of a file system: a port, so that tests can make any call of it fail and can
// take away what was not synced. Names are full paths.
type FS interface {
	// MkdirAll makes a directory and those above it, mode 0700.
	MkdirAll(dir string) error
	// ReadDir returns the names of dir's entries, in any order.
	ReadDir(dir string) ([]string, error)
	// Create makes an empty file for reading and writing, mode 0600; it truncates one that is there.
	Create(name string) (File, error)
	// Open opens a file that is there for reading and writing. The error is fs.ErrNotExist where there
	// is none.
	Open(name string) (File, error)
	// Rename gives a file another name, replacing what had it.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(name string) error
	// SyncDir makes the directory's entries durable.
	SyncDir(dir string) error
	// Free returns how many bytes an unprivileged process may still write to dir's file system.
	Free(dir string) (uint64, error)
	// Map maps a file shared, size bytes from its beginning, read and write. The file is made, or
	// written out to that size, so that no store to the mapping needs a new block.
	Map(name string, size int) (Mapping, error)
	// Lock takes the exclusive lock of a file, making it, without waiting. The lock ends with the
	// closer, or with the process. ErrLocked where somebody else has it, ErrNoLocks where there are none.
	Lock(name string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the file's data, and what is needed to read it, durable: fdatasync.
	Sync() error
	// Truncate sets the file's size.
	Truncate(size int64) error
	// Allocate reserves blocks for the first size bytes and makes the file that long. Where the file
	// system can't, it returns errors.ErrUnsupported.
	Allocate(size int64) error
	// Size returns the file's size.
	Size() (int64, error)
}

// Mapping is a mapped file.
type Mapping interface {
	// Bytes is the mapped memory. A store to it survives the process, unless Written has to be called.
	Bytes() []byte
	// Written is called after a store to [off, off+n) where the system has no shared mappings and the
	// bytes must be written out; NeedsWritten says so, once and for all.
	Written(off, n int) error
	NeedsWritten() bool
	// Close ends the mapping. It is idempotent.
	Close() error
}

// OSFS returns the operating system's file system.
func OSFS() FS { return osFS{} }

type osFS struct{}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFS) ReadDir(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

func (osFS) Create(name string) (File, error) {
	return openFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}
func (osFS) Open(name string) (File, error) { return openFile(name, os.O_RDWR) }
func (osFS) Rename(from, to string) error   { return os.Rename(from, to) }
func (osFS) Remove(name string) error       { return os.Remove(name) }

func openFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.Clean(name), flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

// writeOut makes f size bytes long with every block written, keeping what it has.
func writeOut(f *os.File, size int) error {
	i, err := f.Stat()
	if err != nil {
		return err
	}
	have := i.Size()
	if have > int64(size) {
		return f.Truncate(int64(size))
	}
	zeros := make([]byte, 1<<20)
	for have < int64(size) {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), int64(size)-have)], have)
		if err != nil {
			return err
		}
		have += int64(n)
	}
	return nil
}
