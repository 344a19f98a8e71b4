package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

func TestConfigNamesEveryProblem(t *testing.T) {
	_, err := Open(t.Context(), Config{Readers: -1, CacheBytes: -1, ReaderCacheBytes: -1, ReadOnly: true, WaitForLock: true})
	for _, field := range []string{"path:", "readers:", "cache bytes:", "reader cache bytes:", "wait for lock:"} {
		require.ErrorContains(t, err, field)
	}
	for _, path := range []string{":memory:", "file:x.db", "a\x00b"} {
		_, err := Open(t.Context(), Config{Path: path})
		require.ErrorContains(t, err, "path:", path)
	}
}

func TestReopen(t *testing.T) {
	path := tempPath(t)
	for n := range 3 {
		s := openAt(t, path)
		mustWrite(t, s, someRows(t, n*10, n*10+10))
		require.NoError(t, s.Close())
	}
	require.Equal(t, 30, count(t, openAt(t, path)))
}

func TestPathsThatLookLikeURIs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"what?.db", "50%25.db", "a#b.db", "white space.db", "ü&x=1.db", "-x.db"} {
		s := openAt(t, name)
		mustWrite(t, s, someRows(t, 0, 1))
		require.NoError(t, s.Close())
		require.FileExists(t, filepath.Join(dir, name))
	}
}

func TestSettings(t *testing.T) {
	s := openAt(t, tempPath(t))
	for pragma, want := range map[string]string{
		"page_size": "8192", "journal_mode": "wal", "synchronous": "2", "cache_size": "-65536",
		"wal_autocheckpoint": "5000", "busy_timeout": "5000",
	} {
		var got string
		require.NoError(t, s.writer.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		require.Equal(t, want, got, pragma)
	}
	_, err := s.readers.ExecContext(t.Context(), "DELETE FROM audit_events")
	require.Error(t, err, "a reader can write")
}

func TestFileModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it has no such modes
	}
	s := openAt(t, tempPath(t))
	mustWrite(t, s, someRows(t, 0, 1))
	files, err := filepath.Glob(s.cfg.Path + "*")
	require.NoError(t, err)
	require.Len(t, files, 4, "database, write-ahead log, its index, lock")
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), f)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "text.db")
	require.NoError(t, os.WriteFile(file, []byte("these are words, and no database, whatever the name says\n"), 0o600))
	foreign := filepath.Join(dir, "foreign.db")
	require.NoError(t, makeForeign(t, foreign))
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no directory":           {Config{Path: filepath.Join(dir, "none", "audit.db")}, "does not exist; make it"},
		"directory is a file":    {Config{Path: filepath.Join(file, "audit.db")}, "not a directory"},
		"path is a directory":    {Config{Path: dir}, "is a directory"},
		"no database":            {Config{Path: file}, "not a SQLite database"},
		"no database, reading":   {Config{Path: file, ReadOnly: true}, "not a SQLite database"},
		"another's":              {Config{Path: foreign}, `another program's database (it has a table "recipes")`},
		"another's, reading":     {Config{Path: foreign, ReadOnly: true}, `another program's database (it has a table "recipes")`},
		"reading what isn't":     {Config{Path: filepath.Join(dir, "none.db"), ReadOnly: true}, "does not exist"},
		"reading without tables": {Config{Path: emptyFile(t, dir), ReadOnly: true}, "is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, c.cfg.Path)
			_, err := Open(t.Context(), c.cfg)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, c.cfg.Path, "the error names the file")
			require.Equal(t, before, contents(t, c.cfg.Path), "what isn't ours was changed")
		})
	}
	require.NoFileExists(t, filepath.Join(dir, "none.db"))
}

// A database that another program keeps locked may be had later; one that isn't ours never will.
func TestLockedAtOpen(t *testing.T) {
	path := tempPath(t)
	require.NoError(t, openWith(t, Config{Path: path}).Close())
	tx, err := openShell(t, path).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "DELETE FROM audit_probes")
	require.NoError(t, err)
	_, err = Open(t.Context(), Config{Path: path, BusyTimeout: -1})
	require.True(t, sinkers.IsUnavailable(err), "%v", err)
	require.ErrorContains(t, err, path+": database is locked")
	require.NoError(t, tx.Rollback())
	require.NoError(t, openWith(t, Config{Path: path, BusyTimeout: -1}).Close())

	other := tempPath(t)
	require.NoError(t, makeForeign(t, other))
	_, err = Open(t.Context(), Config{Path: other})
	require.Error(t, err)
	require.False(t, sinkers.IsUnavailable(err), "%v", err)
}

func makeForeign(t *testing.T, path string) error {
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "CREATE TABLE recipes (dish TEXT)")
	return errors.Join(err, db.Close())
}

func emptyFile(t *testing.T, dir string) string {
	path := filepath.Join(dir, "empty.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	return path
}

func contents(t *testing.T, path string) string {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return ""
	}
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := tempPath(t)
	s := openAt(t, path)
	mustWrite(t, s, someRows(t, 0, 3))
	_, err := s.writer.ExecContext(t.Context(), "INSERT INTO firetrail_schema VALUES (7, 0)")
	require.NoError(t, err)
	var newer *sinkers.SchemaError
	require.ErrorAs(t, s.Ping(t.Context()), &newer, "a newer program has migrated it meanwhile")
	require.NoError(t, s.Close())
	for _, cfg := range []Config{{Path: path}, {Path: path, ReadOnly: true}} {
		_, err := Open(t.Context(), cfg)
		require.ErrorAs(t, err, &newer)
		require.Equal(t, sinkers.SchemaError{Have: 7, Know: sqlstore.Latest}, *newer)
		require.ErrorContains(t, err, "schema version 7, and this program knows up to 2")
	}
}

func TestLock(t *testing.T) {
	path := tempPath(t)
	first := openAt(t, path)
	_, err := Open(t.Context(), Config{Path: path})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, path+".lock")

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = Open(ctx, Config{Path: path, WaitForLock: true})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	mustWrite(t, first, someRows(t, 0, 5))
	second := make(chan *Sink)
	go func() {
		s, err := Open(t.Context(), Config{Path: path, WaitForLock: true})
		if err != nil {
			t.Errorf("standing by: %v", err)
		}
		second <- s
	}()
	require.NoError(t, first.Close())
	s := <-second
	require.Equal(t, 5, count(t, s))
	require.NoError(t, s.Close())
}

func TestReadOnly(t *testing.T) {
	path := tempPath(t)
	writer := openAt(t, path)
	mustWrite(t, writer, someRows(t, 0, 5))
	reader := openWith(t, Config{Path: path, ReadOnly: true})
	mustWrite(t, writer, someRows(t, 5, 10))
	page, err := reader.Query(t.Context(), sinkers.Query{Tenant: "acme"})
	require.NoError(t, err)
	require.Len(t, page.Events, 10)
	require.NoError(t, reader.Ping(t.Context()))
	n, err := reader.Prune(t.Context(), time.Now(), true)
	require.NoError(t, err)
	require.EqualValues(t, 10, n, "counting changes nothing")

	_, err = reader.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 20, 21)})
	require.ErrorIs(t, err, ErrReadOnly)
	require.False(t, sinkers.IsPermanent(err), "the rows are not at fault")
	_, err = reader.Prune(t.Context(), time.Now(), false)
	require.ErrorIs(t, err, ErrReadOnly)
	require.ErrorIs(t, reader.Probe(t.Context(), 1), ErrReadOnly)

	// After the writer's clean end too.
	require.NoError(t, reader.Close())
	require.NoError(t, writer.Close())
	reader = openWith(t, Config{Path: path, ReadOnly: true})
	require.Equal(t, 10, count(t, reader))
	require.NoError(t, reader.Close())
	mustWrite(t, openAt(t, path), someRows(t, 10, 20))
}
