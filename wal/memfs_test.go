package wal

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// memFS is a file system in memory that can fail any call, can hang, can crash, and records its calls: crash
// returns what a disk would hold after a power cut (only what was synced for certain, the rest at random), kill
// what it holds after a kill -9 (everything).
type memFS struct {
	mu      sync.Mutex
	hung    map[string]chan struct{} // calls that don't return until it is closed, by operation; "" is any
	record  func(op, name string)    // is told of each call that went well
	windows bool                     // an open file can't be renamed or removed
	opened  map[string]int
	files   map[string]*memData // the entries now
	durable map[string]*memData // the entries a power cut leaves
	locked  map[string]bool
	free    uint64
	// fault is asked before each call; an error is the call's result. It may count, to fail the nth.
	fault func(op, name string) error
}

type memData struct {
	b      []byte
	synced []byte // what b was at the last sync
	dirty  map[int64]bool
	forgot map[int64]bool // dirty at a sync that failed: a later one passes over them, as a kernel does
}

const memBlock = 512

func newMemFS() *memFS {
	return &memFS{
		files: map[string]*memData{}, durable: map[string]*memData{}, locked: map[string]bool{}, free: 1 << 40,
		hung: map[string]chan struct{}{}, opened: map[string]int{},
	}
}

func (m *memFS) call(op, name string) error {
	if m.fault != nil {
		if err := m.fault(op, filepath.Base(name)); err != nil {
			return &os.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

// do runs a call under the lock.
func (m *memFS) do(op, name string, f func() error) error {
	m.wait(op)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call(op, name); err != nil {
		return err
	}
	err := f()
	if err == nil && m.record != nil {
		m.record(op, filepath.Base(name))
	}
	return err
}

// wait returns when the operation doesn't hang any more.
func (m *memFS) wait(op string) {
	m.mu.Lock()
	one, all := m.hung[op], m.hung[""]
	m.mu.Unlock()
	for _, c := range []chan struct{}{one, all} {
		if c != nil {
			<-c
		}
	}
}

// hang makes calls of the operation, or all with "", not return until the function it returns is called.
func (m *memFS) hang(op string) (release func()) {
	c := make(chan struct{})
	m.mu.Lock()
	m.hung[op] = c
	m.mu.Unlock()
	return sync.OnceFunc(func() {
		m.mu.Lock()
		delete(m.hung, op)
		m.mu.Unlock()
		close(c)
	})
}

func (m *memFS) setFault(f func(op, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// kill returns the file system as another process finds it after this one was killed.
func (m *memFS) kill() *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.killed()
}

func (m *memFS) killed() *memFS {
	n := newMemFS()
	for name, d := range m.files { // what was not synced is still not
		k := &memData{b: slices.Clone(d.b), synced: slices.Clone(d.synced), dirty: maps.Clone(d.dirty), forgot: maps.Clone(d.forgot)}
		n.files[name] = k
		if m.durable[name] == d {
			n.durable[name] = k
		}
	}
	for name, d := range m.durable {
		if n.durable[name] == nil {
			n.durable[name] = &memData{b: slices.Clone(d.b), synced: slices.Clone(d.synced), dirty: maps.Clone(d.dirty), forgot: maps.Clone(d.forgot)}
		}
	}
	return n
}

// crash returns the file system as it is after a power cut. Every block that was not synced, and every
// directory entry, is the old or the new one, as keep says.
func (m *memFS) crash(keep func() bool) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crashed(keep, keep)
}

// crashed is crash for who has the lock. keepRing says it for the mapped ring's blocks, which the kernel writes
// when it likes.
func (m *memFS) crashed(keep, keepRing func() bool) *memFS {
	n := newMemFS()
	names := maps.Clone(m.durable)
	for name := range m.files {
		if keep() {
			names[name] = m.files[name]
		}
	}
	for name, d := range names {
		if _, now := m.files[name]; !now && keep() {
			continue // its removal got through
		}
		b := slices.Clone(d.synced)
		keep := keep
		if filepath.Base(name) == ringName {
			keep = keepRing
		}
		for off := range d.dirty {
			if !keep() || off >= int64(len(d.b)) {
				continue
			}
			if end := min(off+memBlock, int64(len(d.b))); int64(len(b)) < end {
				b = append(b, make([]byte, end-int64(len(b)))...)
			}
			copy(b[off:], d.b[off:min(off+memBlock, int64(len(d.b)))])
		}
		n.put(name, b)
	}
	return n
}

func (m *memFS) put(name string, b []byte) {
	d := &memData{b: b, synced: slices.Clone(b), dirty: map[int64]bool{}, forgot: map[int64]bool{}}
	m.files[name], m.durable[name] = d, d
}

func randomly(r *rand.Rand) func() bool { return func() bool { return r.IntN(2) == 0 } }

func (m *memFS) MkdirAll(dir string) error {
	return m.do("mkdir", dir, func() error { return nil })
}

func (m *memFS) ReadDir(dir string) (names []string, err error) {
	return names, m.do("readdir", dir, func() error {
		for name := range m.files {
			if filepath.Dir(name) == filepath.Clean(dir) {
				names = append(names, filepath.Base(name))
			}
		}
		return nil
	})
}

func (m *memFS) Create(name string) (f File, err error) {
	return f, m.do("create", name, func() error {
		d := &memData{dirty: map[int64]bool{}, forgot: map[int64]bool{}}
		m.files[name] = d
		f = &memFile{m, name, d, false}
		m.opened[name]++
		return nil
	})
}

func (m *memFS) Open(name string) (f File, err error) {
	return f, m.do("open", name, func() error {
		d, ok := m.files[name]
		if !ok {
			return &os.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		f = &memFile{m, name, d, false}
		m.opened[name]++
		return nil
	})
}

func (m *memFS) Rename(from, to string) error {
	return m.do("rename", from, func() error {
		d, ok := m.files[from]
		if !ok {
			return fs.ErrNotExist
		}
		if m.windows && m.opened[from]+m.opened[to] > 0 {
			return errInUse
		}
		delete(m.files, from)
		m.files[to] = d
		return nil
	})
}

func (m *memFS) Remove(name string) error {
	return m.do("remove", name, func() error {
		if _, ok := m.files[name]; !ok {
			return fs.ErrNotExist
		}
		if m.windows && m.opened[name] > 0 {
			return errInUse
		}
		delete(m.files, name)
		return nil
	})
}

func (m *memFS) SyncDir(dir string) error {
	return m.do("syncdir", dir, func() error {
		m.durable = maps.Clone(m.files)
		return nil
	})
}

func (m *memFS) Free(dir string) (n uint64, err error) {
	return n, m.do("free", dir, func() error { n = m.free; return nil })
}

type memLock struct {
	m    *memFS
	name string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locked, l.name)
	return nil
}

func (m *memFS) Lock(name string) (c io.Closer, err error) {
	return c, m.do("lock", name, func() error {
		if m.locked[name] {
			return ErrLocked
		}
		m.locked[name] = true
		c = memLock{m, name}
		return nil
	})
}

// memMapping's bytes are the file's: stores to it survive kill, and crash at random. They are outside Go's memory, as
// a file's mapping is, and as there they may be looked at in the middle of a store.
type memMapping struct {
	b    []byte
	m    *memFS
	d    *memData
	name string
}

func (m *memMapping) Bytes() []byte          { return m.b }
func (m *memMapping) NeedsWritten() bool     { return false }
func (m *memMapping) Written(int, int) error { return nil }

func (m *memMapping) Close() error {
	if m.d == nil {
		return nil
	}
	m.m.mu.Lock()
	defer m.m.mu.Unlock()
	m.d.b = slices.Clone(m.b)
	m.d = nil
	m.m.opened[m.name]--
	return unix.Munmap(m.b)
}

func (m *memFS) Map(name string, size int) (p Mapping, err error) {
	return p, m.do("map", name, func() error {
		d, ok := m.files[name]
		if !ok {
			d = &memData{dirty: map[int64]bool{}, forgot: map[int64]bool{}}
			m.files[name] = d
		}
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		copy(b, d.b)
		d.b = b
		for off := int64(0); off < int64(size); off += memBlock {
			d.dirty[off] = true
		}
		p = &memMapping{b, m, d, name}
		m.opened[name]++
		return nil
	})
}
