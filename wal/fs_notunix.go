//go:build !unix

package wal

import (
	"math"
	"os"
)

// SyncDir does nothing: a directory can't be synced here.
func (osFS) SyncDir(string) error { return nil }

// Free knows nothing here, so there is no floor.
func (osFS) Free(string) (uint64, error) { return math.MaxUint64, nil }

// Map keeps the bytes in memory and writes each store out with write(2), in place of a shared mapping.
func (osFS) Map(name string, size int) (Mapping, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if err = writeOut(f, size); err == nil {
		_, err = f.ReadAt(b, 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &writtenMapping{b, f}, nil
}

type writtenMapping struct {
	b []byte
	f *os.File
}

func (m *writtenMapping) Bytes() []byte      { return m.b }
func (m *writtenMapping) NeedsWritten() bool { return true }

func (m *writtenMapping) Written(off, n int) error {
	_, err := m.f.WriteAt(m.b[off:off+n], int64(off))
	return err
}

func (m *writtenMapping) Close() error {
	if m.f == nil {
		return nil
	}
	err := m.f.Close()
	m.f = nil
	return err
}
