package sqlite

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// Config says which database to open, and how. Only Path is required.
type Config struct {
	// Path of the database file. It is made if it isn't there; its directory is not.
	Path string
	// ReadOnly opens what is there for queries alone, beside a live worker too. It takes no lock, makes no
	// database and migrates none; Write, Prune and Probe return an error. Where no worker is running, SQLite
	// makes its two companion files (-wal and -shm) and leaves them.
	ReadOnly bool
	// Beside opens what is there to Erase, Prune and AppendLedger beside a live worker: it takes no lock, makes
	// no database and migrates none, and each of its short transactions takes its turn by SQLite's own locks. Write
	// returns an error.
	Beside bool
	// WaitForLock makes Open wait until the lock is free or its context ends, rather than return ErrLocked
	// at once: the way to stand by for another process.
	WaitForLock bool
	// Retention says which events are too old to be stored; Prune is the caller's business. Default: none is.
	Retention sinkers.Retention
	// Readers is the most queries at a time, each with a connection of its own. Default 4.
	Readers int
	// CacheBytes is the writer's page cache. Default 64 MiB; 2 MiB does where there are many databases.
	CacheBytes int
	// ReaderCacheBytes is the page cache of each reader. Default 8 MiB.
	ReaderCacheBytes int
	// BusyTimeout is how long a statement waits for SQLite's own locks, which only other programs hold for
	// long. Default 5 s; negative doesn't wait.
	BusyTimeout time.Duration
}

func (c Config) withDefaults() Config {
	c.Readers = cmp.Or(c.Readers, 4)
	c.CacheBytes = cmp.Or(c.CacheBytes, 64<<20)
	c.ReaderCacheBytes = cmp.Or(c.ReaderCacheBytes, 8<<20)
	c.BusyTimeout = max(cmp.Or(c.BusyTimeout, 5*time.Second), 0)
	return c
}

// Validate reports everything that is wrong with the settings, each problem naming its field.
func (c Config) Validate() error {
	var errs []error
	switch {
	case c.Path == "":
		errs = append(errs, errors.New("path: missing; want a file's name, such as audit.db"))
	case strings.HasPrefix(c.Path, "file:") || c.Path == ":memory:":
		errs = append(errs, fmt.Errorf("path: %q is not a file's name; want one such as audit.db", c.Path))
	case strings.ContainsRune(c.Path, 0):
		errs = append(errs, fmt.Errorf("path: %q has a zero byte", c.Path))
	}
	for _, f := range [...]struct {
		name  string
		value int
	}{{"readers", c.Readers}, {"cache bytes", c.CacheBytes}, {"reader cache bytes", c.ReaderCacheBytes}} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %d is negative; 0 is the default", f.name, f.value))
		}
	}
	if err := c.Retention.Validate(); err != nil {
		errs = append(errs, err)
	}
	switch {
	case c.ReadOnly && c.Beside:
		errs = append(errs, errors.New("beside: it is for changing the database, and read only is set; choose one"))
	case c.ReadOnly && c.WaitForLock:
		errs = append(errs, errors.New("wait for lock: a read-only sink takes no lock; leave it off"))
	case c.Beside && c.WaitForLock:
		errs = append(errs, errors.New("wait for lock: a sink beside another takes no lock; leave it off"))
	}
	return errors.Join(errs...)
}
