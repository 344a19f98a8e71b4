package wal

import "io"

// watchedFS tells the watch of each call.
type watchedFS struct {
	fs FS
	w  *watch
}

func (f watchedFS) MkdirAll(dir string) error {
	f.w.enter("mkdir", dir)
	defer f.w.leave()
	return f.fs.MkdirAll(dir)
}

func (f watchedFS) ReadDir(dir string) ([]string, error) {
	f.w.enter("readdir", dir)
	defer f.w.leave()
	return f.fs.ReadDir(dir)
}

func (f watchedFS) Create(name string) (File, error) {
	f.w.enter("create", name)
	defer f.w.leave()
	file, err := f.fs.Create(name)
	return f.watched(name, file, err)
}

func (f watchedFS) Open(name string) (File, error) {
	f.w.enter("open", name)
	defer f.w.leave()
	file, err := f.fs.Open(name)
	return f.watched(name, file, err)
}

func (f watchedFS) watched(name string, file File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return watchedFile{file, f.w, name}, nil
}

func (f watchedFS) Rename(from, to string) error {
	f.w.enter("rename", to)
	defer f.w.leave()
	return f.fs.Rename(from, to)
}

func (f watchedFS) Remove(name string) error {
	f.w.enter("unlink", name)
	defer f.w.leave()
	return f.fs.Remove(name)
}

func (f watchedFS) SyncDir(dir string) error {
	f.w.enter("fsync", dir)
	defer f.w.leave()
	return f.fs.SyncDir(dir)
}

func (f watchedFS) Free(dir string) (uint64, error) {
	f.w.enter("statfs", dir)
	defer f.w.leave()
	return f.fs.Free(dir)
}

func (f watchedFS) Map(name string, size int) (Mapping, error) {
	f.w.enter("mmap", name)
	defer f.w.leave()
	return f.fs.Map(name, size)
}

func (f watchedFS) Lock(name string) (io.Closer, error) { return f.fs.Lock(name) }

type watchedFile struct {
	File
	w    *watch
	name string
}

func (f watchedFile) ReadAt(b []byte, off int64) (int, error) {
	f.w.enter("read", f.name)
	defer f.w.leave()
	return f.File.ReadAt(b, off)
}

func (f watchedFile) WriteAt(b []byte, off int64) (int, error) {
	f.w.enter("write", f.name)
	defer f.w.leave()
	return f.File.WriteAt(b, off)
}

func (f watchedFile) Sync() error {
	f.w.enter("fsync", f.name)
	defer f.w.leave()
	return f.File.Sync()
}

func (f watchedFile) Truncate(size int64) error {
	f.w.enter("truncate", f.name)
	defer f.w.leave()
	return f.File.Truncate(size)
}

func (f watchedFile) Allocate(size int64) error {
	f.w.enter("fallocate", f.name)
	defer f.w.leave()
	return f.File.Allocate(size)
}

func (f watchedFile) Close() error {
	f.w.enter("close", f.name)
	defer f.w.leave()
	return f.File.Close()
}
