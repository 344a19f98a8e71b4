package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	lib "modernc.org/sqlite/lib"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// lockRetry is how often a Sink that stands by tries the lock.
const lockRetry = 250 * time.Millisecond

// Open opens the database, makes it where there is none, and brings its schema up to date. ctx bounds
// the opening, not the Sink's life. Errors name the file: [ErrLocked], a *sinkers.SchemaError for a
// database of a newer program, one that [sinkers.IsUnavailable] tells for a database that another program keeps locked
// and for a disk that is full or fails, and plain ones for what isn't a database of this module.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: path: %w", err)
	}
	cfg.Path = path
	s := newSink(cfg.withDefaults())
	if err := s.open(ctx); err != nil {
		_ = s.Close()
		if isOutage(err) {
			err = sinkers.Unavailable(err)
		}
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	return s, nil
}

func (s *Sink) open(ctx context.Context) error {
	if err := checkPath(s.cfg); err != nil {
		return err
	}
	if s.cfg.ReadOnly {
		return s.openReaders(ctx)
	}
	if !s.cfg.Beside {
		var err error
		if s.lock, err = takeLock(ctx, s.cfg.Path, s.cfg.WaitForLock); err != nil {
			return err
		}
		if err := create(s.cfg.Path); err != nil {
			return err
		}
	}
	if err := s.openWriter(ctx); err != nil {
		return err
	}
	return s.openReaders(ctx)
}

// checkPath finds the usual mistakes early, since SQLite's words for all of them are "unable to open".
func checkPath(cfg Config) error {
	dir := filepath.Dir(cfg.Path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("directory %s does not exist; make it, or correct the path", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	}
	switch info, err := os.Stat(cfg.Path); {
	case errors.Is(err, fs.ErrNotExist):
		if cfg.ReadOnly || cfg.Beside {
			return errors.New("does not exist; correct the path, or let a worker make it")
		}
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("is a directory; want a file")
	}
	return nil
}

// takeLock takes the lock beside a path.
func takeLock(ctx context.Context, path string, wait bool) (*flock.Flock, error) {
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err == nil && !locked && wait {
		locked, err = lock.TryLockContext(ctx, lockRetry)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("%w (lock %s.lock): %w", ErrLocked, path, ctx.Err())
	case err != nil:
		err = fmt.Errorf("lock: %w", err)
	case !locked:
		err = fmt.Errorf("%w (lock %s.lock); stop that one, or wait for its lock", ErrLocked, path)
	default:
		return lock, nil
	}
	_ = lock.Close()
	return nil, err
}

// create makes the file with the mode it is to have; SQLite gives its other files the same. A file that is
// there must not be opened and closed here: that would end the POSIX locks that SQLite holds on it
// elsewhere in this process.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (s *Sink) openWriter(ctx context.Context) error {
	// Without the settings below first: they would turn another program's database into a WAL one.
	plain, err := sql.Open("sqlite", dsn(s.cfg, "rw", nil))
	if err != nil {
		return err
	}
	_, err = sqlstore.SchemaVersion(ctx, plain)
	if err := errors.Join(err, plain.Close()); err != nil {
		return explain(err)
	}
	s.writer, err = sql.Open("sqlite", dsn(s.cfg, "rw", url.Values{
		// By this key and not as a _pragma: those run in alphabetical order, and the page size must
		// come before the journal mode.
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_txlock":       {"immediate"},
		"_pragma": {
			"page_size(8192)", "wal_autocheckpoint(5000)", "secure_delete(1)", // what is erased is overwritten
			"cache_size(" + kibibytes(s.cfg.CacheBytes) + ")",
		},
	}))
	if err != nil {
		return err
	}
	s.writer.SetMaxOpenConns(1)
	if s.cfg.Beside {
		return explain(sqlstore.CheckVersion(ctx, s.writer))
	}
	if err := sqlstore.Migrate(ctx, s.writer); err != nil {
		return explain(err)
	}
	return s.prepare(ctx)
}

func (s *Sink) prepare(ctx context.Context) (err error) {
	for _, p := range [...]struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.insertChunk, sqlstore.Insert(chunkRows)},
		{&s.insertOne, sqlstore.Insert(1)},
		{&s.insertGuarded, sqlstore.InsertGuarded()},
		{&s.selectHash, sqlstore.SelectHash},
	} {
		if *p.stmt, err = s.writer.PrepareContext(ctx, p.text); err != nil { //nolint:sqlclosecheck // Close closes it
			return err
		}
	}
	return nil
}

func (s *Sink) openReaders(ctx context.Context) (err error) {
	s.readers, err = sql.Open("sqlite", dsn(s.cfg, "ro", url.Values{
		"_query_only": {"1"},
		"_pragma":     {"cache_size(" + kibibytes(s.cfg.ReaderCacheBytes) + ")"},
	}))
	if err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(s.cfg.Readers)
	s.readers.SetMaxIdleConns(s.cfg.Readers)
	s.readers.SetConnMaxIdleTime(5 * time.Minute)
	return explain(sqlstore.CheckVersion(ctx, s.readers))
}

func dsn(cfg Config, mode string, settings url.Values) string {
	path := filepath.ToSlash(cfg.Path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/audit.db
	}
	q := url.Values{
		"mode": {mode}, "_busy_timeout": {strconv.FormatInt(cfg.BusyTimeout.Milliseconds(), 10)},
		"_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"},
	}
	for k, v := range settings {
		q[k] = v
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// kibibytes is a cache_size in bytes rather than pages, which SQLite writes as negative KiB.
func kibibytes(n int) string { return strconv.Itoa(-max(n>>10, 1)) }

// explain says in this module's terms what SQLite says of a file that isn't a database.
func explain(err error) error {
	if code(err)&0xff == lib.SQLITE_NOTADB {
		return fmt.Errorf("is not a SQLite database; correct the path: %w", err)
	}
	return err
}
