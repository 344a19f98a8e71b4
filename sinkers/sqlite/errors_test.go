package sqlite

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/firetrail/firetrail/sinkers"
)

func TestKindsOfCodes(t *testing.T) {
	for _, code := range []int{
		lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_IOERR_FSYNC, lib.SQLITE_IOERR_WRITE, lib.SQLITE_BUSY, lib.SQLITE_BUSY_SNAPSHOT,
		lib.SQLITE_LOCKED, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY, lib.SQLITE_READONLY_DBMOVED, lib.SQLITE_NOMEM, lib.SQLITE_INTERRUPT,
		lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_ERROR, lib.SQLITE_INTERNAL, lib.SQLITE_MISUSE, lib.SQLITE_SCHEMA,
		lib.SQLITE_PROTOCOL, lib.SQLITE_PERM, lib.SQLITE_AUTH, lib.SQLITE_ABORT, 0, 9999,
	} {
		require.False(t, isDataCode(code), "code %d", code)
	}
	for _, code := range []int{
		lib.SQLITE_CONSTRAINT, lib.SQLITE_CONSTRAINT_NOTNULL, lib.SQLITE_CONSTRAINT_CHECK, lib.SQLITE_CONSTRAINT_DATATYPE,
		lib.SQLITE_CONSTRAINT_TRIGGER, lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG,
	} {
		require.True(t, isDataCode(code), "code %d", code)
	}
	require.False(t, isData(nil))
	require.False(t, isData(context.Canceled))
}

// poisoned returns rows of which SQLite refuses two, by a trigger that fails as the given word says.
func poisoned(t *testing.T, s *Sink, how string) []sinkers.Row {
	_, err := s.writer.ExecContext(t.Context(), fmt.Sprintf(
		"CREATE TRIGGER t BEFORE INSERT ON audit_events WHEN NEW.actor_name = 'poison' BEGIN SELECT RAISE(%s, 'no such actor'); END", how))
	require.NoError(t, err)
	rows := someRows(t, 0, 230)
	rows[77].Actor.Name, rows[219].Actor.Name = "poison", "poison"
	return rows
}

// TestPoisonIsNamed: the rows that SQLite refuses are named, in whatever chunk they are and whatever the
// refusal did to the transaction; nothing is stored; without them the rest is.
func TestPoisonIsNamed(t *testing.T) {
	for _, how := range []string{"ABORT", "FAIL", "ROLLBACK"} {
		t.Run(how, func(t *testing.T) {
			s := openAt(t, tempPath(t))
			rows := poisoned(t, s, how)
			for range 2 {
				_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
				var batch *sinkers.BatchError
				require.ErrorAs(t, err, &batch)
				require.True(t, sinkers.IsPermanent(err))
				var named []int
				for _, r := range batch.Rows {
					named = append(named, r.Index)
					require.ErrorContains(t, r.Err, "no such actor")
				}
				// The first chunk with such a row is the last that SQLite is asked about.
				require.Equal(t, []int{77}, named)
				require.Zero(t, count(t, s))
			}
			rows = append(rows[:77:77], rows[78:]...)
			_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
			require.ErrorContains(t, err, "row 218")
			rows = append(rows[:218:218], rows[219:]...)
			mustWrite(t, s, rows)
			require.Equal(t, 228, count(t, s))
		})
	}
}

func TestTooBigIsNamed(t *testing.T) {
	s := openAt(t, tempPath(t))
	c, err := s.writer.Conn(t.Context())
	require.NoError(t, err)
	_, err = driver.Limit(c, lib.SQLITE_LIMIT_LENGTH, 20_000) // instead of 1,000,000,000
	require.NoError(t, err)
	require.NoError(t, c.Close())
	rows := someRows(t, 0, 120)
	rows[61].Request.UserAgent = string(make([]byte, 30_000))
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: rows})
	var batch *sinkers.BatchError
	require.ErrorAs(t, err, &batch)
	require.Len(t, batch.Rows, 1)
	require.Equal(t, 61, batch.Rows[0].Index)
	require.Zero(t, count(t, s))
}

// TestFullIsAnOutage: a full disk is no row's fault, stores nothing, and passes.
func TestFullIsAnOutage(t *testing.T) {
	s := openAt(t, tempPath(t))
	var pages int
	require.NoError(t, s.writer.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages))
	_, err := s.writer.ExecContext(t.Context(), fmt.Sprint("PRAGMA max_page_count = ", pages+10))
	require.NoError(t, err)
	rows := someRows(t, 0, 5_000)
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.Equal(t, lib.SQLITE_FULL, code(err)&0xff, "%v", err)
	require.False(t, sinkers.IsPermanent(err))
	require.Zero(t, count(t, s))
	require.Error(t, s.Probe(t.Context(), 1<<20), "the probe finds out too")

	_, err = s.writer.ExecContext(t.Context(), "PRAGMA max_page_count = 1000000")
	require.NoError(t, err)
	mustWrite(t, s, rows)
	require.NoError(t, s.Probe(t.Context(), 1<<20))
}

// TestBusyIsAnOutage: another program holds SQLite's own lock.
func TestBusyIsAnOutage(t *testing.T) {
	s := openWith(t, Config{Path: tempPath(t), BusyTimeout: -1})
	other, err := s.readers.Conn(t.Context())
	require.NoError(t, err)
	require.NoError(t, other.Close())
	shell := openShell(t, s.cfg.Path)
	tx, err := shell.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "DELETE FROM audit_probes")
	require.NoError(t, err)
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 0, 3)})
	require.Equal(t, lib.SQLITE_BUSY, code(err)&0xff, "%v", err)
	require.False(t, sinkers.IsPermanent(err))
	require.NoError(t, tx.Rollback())
	mustWrite(t, s, someRows(t, 0, 3))
}

// TestCorruptIsAnOutage: no letter for good rows because a file is damaged.
func TestCorruptIsAnOutage(t *testing.T) {
	path := tempPath(t)
	s := openAt(t, path)
	mustWrite(t, s, someRows(t, 0, 2_000))
	require.NoError(t, s.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, info.Size()-3*8192), 3*8192) // all but the schema
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s = openAt(t, path)
	_, err = s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 1_000, 3_000)})
	require.Error(t, err)
	require.False(t, sinkers.IsPermanent(err), "%v", err)
}
