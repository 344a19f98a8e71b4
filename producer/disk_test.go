package producer

import (
	"io"
	"sync"
	"syscall"

	"github.com/firetrail/firetrail/wal"
)

// disk is a file system whose files do as they are told when they are written to or synced.
type disk struct {
	wal.FS
	mu   sync.Mutex
	cond *sync.Cond
	mood mood
}

type mood int

const (
	working mood = iota
	failing      // EIO
	hanging      // until the mood changes
	full         // ENOSPC, of what is written
)

func newDisk(m mood) *disk {
	d := &disk{FS: wal.OSFS(), mood: m}
	d.cond = sync.NewCond(&d.mu)
	return d
}

func (d *disk) set(m mood) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mood = m
	d.cond.Broadcast()
}

func (d *disk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.mood == hanging {
		d.cond.Wait()
	}
	if d.mood == failing {
		return syscall.EIO
	}
	return nil
}

func (d *disk) Open(name string) (wal.File, error)   { return d.file(d.FS.Open(name)) }
func (d *disk) Create(name string) (wal.File, error) { return d.file(d.FS.Create(name)) }

func (d *disk) file(f wal.File, err error) (wal.File, error) {
	if err != nil {
		return nil, err
	}
	return diskFile{f, d}, nil
}

type diskFile struct {
	wal.File
	d *disk
}

func (f diskFile) Sync() error {
	if err := f.d.sync(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (d *disk) room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mood == full {
		return syscall.ENOSPC
	}
	return nil
}

func (f diskFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.d.room(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, off)
}

func (f diskFile) Allocate(size int64) error {
	if err := f.d.room(); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

// lockless is a file system that has no locks.
type lockless struct{ wal.FS }

func (lockless) Lock(string) (io.Closer, error) { return nil, wal.ErrNoLocks }
