package wal

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
)

type memFile struct {
	m      *memFS
	name   string
	d      *memData
	closed bool
}

func (f *memFile) do(op string, call func() error) error {
	return f.m.do(op, f.name, func() error {
		if f.closed {
			return os.ErrClosed
		}
		return call()
	})
}

func (f *memFile) ReadAt(b []byte, off int64) (n int, err error) {
	return n, f.do("read", func() error {
		if off >= int64(len(f.d.b)) {
			return io.EOF
		}
		if n = copy(b, f.d.b[off:]); n < len(b) {
			return io.EOF
		}
		return nil
	})
}

var errInUse = errors.New("the file is in use by a process")

var errShort = errors.New("short write")

func (f *memFile) WriteAt(b []byte, off int64) (n int, err error) {
	err = f.do("write", func() error { n = len(b); return nil })
	if errors.Is(err, errShort) {
		n = len(b) / 2
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if end := off + int64(n); int64(len(f.d.b)) < end {
		f.d.b = append(f.d.b, make([]byte, end-int64(len(f.d.b)))...)
	}
	copy(f.d.b[off:], b[:n])
	for o := off / memBlock * memBlock; o < off+int64(n); o += memBlock {
		f.d.dirty[o] = true
		delete(f.d.forgot, o)
	}
	return n, err
}

func (f *memFile) Sync() error {
	err := f.do("sync", func() error {
		was := f.d.synced
		f.d.synced = slices.Clone(f.d.b)
		for off := range f.d.forgot {
			if off < int64(len(f.d.synced)) {
				block := f.d.synced[off:min(off+memBlock, int64(len(f.d.synced)))]
				clear(block)
				if off < int64(len(was)) {
					copy(block, was[off:])
				}
			}
		}
		for off := range f.d.dirty {
			if !f.d.forgot[off] {
				delete(f.d.dirty, off)
			}
		}
		return nil
	})
	if err != nil {
		f.m.mu.Lock()
		defer f.m.mu.Unlock()
		maps.Copy(f.d.forgot, f.d.dirty)
	}
	return err
}

func (f *memFile) Truncate(size int64) error {
	return f.do("truncate", func() error { f.d.resize(size); return nil })
}

func (f *memFile) Allocate(size int64) error {
	return f.do("allocate", func() error {
		if int64(len(f.d.b)) < size {
			f.d.resize(size)
		}
		return nil
	})
}

func (d *memData) resize(size int64) {
	if size <= int64(len(d.b)) {
		d.b = d.b[:size:size]
		return
	}
	d.b = append(d.b, make([]byte, size-int64(len(d.b)))...)
}

func (f *memFile) Size() (n int64, err error) {
	return n, f.do("size", func() error { n = int64(len(f.d.b)); return nil })
}

func (f *memFile) Close() error {
	return f.m.do("close", f.name, func() error {
		if f.closed {
			return os.ErrClosed
		}
		f.closed = true
		f.m.opened[f.name]--
		return nil
	})
}
