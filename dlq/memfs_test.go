package dlq

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// memFS is a file system in memory that can fail at any operation, and whose power can be cut. What
// survives a cut: of a file the bytes that were synced, of the directory its names as of the last sync and
// some of the changes since.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode
	pending []func(map[string]*inode)
	ops     []string
	// fail is asked before each operation that changes something; what it returns is the result. An error
	// from a write may come after half of it.
	fail func(n int, op string) error
	// intrude is called before each operation, with nothing held, for others to come in between.
	intrude func(op string)
}

type inode struct {
	data, synced []byte
	locked       bool
	modified     time.Time
}

var errPower = errors.New("the power is off")

func newMemFS() *memFS {
	return &memFS{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// powerCut returns the file system as found after one: with the first keep of the directory's unsynced
// changes but for the one numbered skip, and the unsynced bytes of files there, half there or not.
func (m *memFS) powerCut(keep, skip int, unsynced float64) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := maps.Clone(m.durable)
	for i, change := range m.pending[:keep] {
		if i != skip {
			change(names)
		}
	}
	after := newMemFS()
	for name, i := range names {
		data := slices.Clone(i.synced)
		if rest := len(i.data) - len(data); rest > 0 {
			data = append(data, i.data[len(data):len(data)+int(float64(rest)*unsynced)]...)
		}
		c := &inode{data: data, synced: slices.Clone(data), modified: i.modified}
		after.names[name], after.durable[name] = c, c
	}
	return after
}

// kill returns the file system as found after kill -9: nothing is missing, and no lock is held.
func (m *memFS) kill() *memFS { return m.powerCut(len(m.pending), -1, 1) }

// begin locks the file system, counts an operation and returns its injected error.
func (m *memFS) begin(op string) error {
	if m.intrude != nil {
		m.intrude(op)
	}
	m.mu.Lock()
	m.ops = append(m.ops, op)
	if m.fail == nil {
		return nil
	}
	return m.fail(len(m.ops), op)
}

func (m *memFS) change(f func(map[string]*inode)) {
	f(m.names)
	m.pending = append(m.pending, f)
}

func (m *memFS) MkdirAll(string) error {
	defer m.mu.Unlock()
	return m.begin("mkdir")
}

func (m *memFS) Create(path string) (writeFile, error) {
	defer m.mu.Unlock()
	if err := m.begin("create"); err != nil {
		return nil, err
	}
	if m.names[path] != nil {
		return nil, fs.ErrExist
	}
	i := &inode{modified: time.Now()}
	m.change(func(names map[string]*inode) { names[path] = i })
	return &memFile{m: m, i: i}, nil
}

func (m *memFS) Open(path string) (io.ReadCloser, error) {
	defer m.mu.Unlock()
	if err := m.begin("open"); err != nil {
		return nil, err
	}
	i := m.names[path]
	if i == nil {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(i.data)), nil
}

func (m *memFS) Rename(from, to string) error {
	defer m.mu.Unlock()
	if err := m.begin("rename"); err != nil {
		return err
	}
	if m.names[from] == nil {
		return fs.ErrNotExist
	}
	m.change(func(names map[string]*inode) {
		if i := names[from]; i != nil {
			delete(names, from)
			names[to] = i
		}
	})
	return nil
}

func (m *memFS) Remove(path string) error {
	defer m.mu.Unlock()
	if err := m.begin("remove"); err != nil {
		return err
	}
	if m.names[path] == nil {
		return fs.ErrNotExist
	}
	m.change(func(names map[string]*inode) { delete(names, path) })
	return nil
}

func (m *memFS) List(string) ([]fileInfo, error) {
	defer m.mu.Unlock()
	if err := m.begin("list"); err != nil {
		return nil, err
	}
	var out []fileInfo
	for _, path := range slices.Sorted(maps.Keys(m.names)) {
		i := m.names[path]
		out = append(out, fileInfo{name: filepath.Base(path), bytes: int64(len(i.data)), modified: i.modified})
	}
	return out, nil
}

func (m *memFS) SyncDir(string) error {
	defer m.mu.Unlock()
	if err := m.begin("syncdir"); err != nil {
		return err
	}
	m.durable, m.pending = maps.Clone(m.names), nil
	return nil
}

func (m *memFS) Lock(path string) (io.Closer, error) {
	defer m.mu.Unlock()
	if err := m.begin("lock"); err != nil {
		return nil, err
	}
	i := m.names[path]
	if i == nil {
		return nil, fs.ErrNotExist
	}
	if i.locked {
		return nil, errLocked
	}
	i.locked = true
	return memLock{m, i}, nil
}

type memLock struct {
	m *memFS
	i *inode
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.i.locked = false
	return nil
}

type memFile struct {
	m *memFS
	i *inode
}

func (f *memFile) Write(b []byte) (int, error) {
	defer f.m.mu.Unlock()
	if err := f.m.begin("write"); err != nil {
		half := len(b) / 2
		if !errors.Is(err, errPower) {
			f.i.data = append(f.i.data, b[:half]...)
		}
		return half, err
	}
	f.i.data = append(f.i.data, b...)
	return len(b), nil
}

func (f *memFile) Sync() error {
	defer f.m.mu.Unlock()
	if err := f.m.begin("fsync"); err != nil {
		return err
	}
	f.i.synced = slices.Clone(f.i.data)
	return nil
}

func (f *memFile) Close() error { return nil }
