package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// TestErasureIsGoneOnWith: one that was cut off between two of its transactions is ended by the next prune, and
// until then what it covers is refused already.
func TestErasureIsGoneOnWith(t *testing.T) {
	s := openAt(t, tempPath(t))
	rows := someRows(t, 0, 2_500)
	mustWrite(t, s, rows)
	e, err := sinkers.Erasure{Tenant: "acme"}.At(time.Now())
	require.NoError(t, err)
	_, err = s.writer.ExecContext(t.Context(), sqlstore.KeepTombstone, sqlstore.Tombstone(e, time.Now())...)
	require.NoError(t, err)
	n, err := s.deleteChunk(t.Context(), sqlstore.Erase(e), sinkers.LedgerErased)
	require.NoError(t, err)
	require.EqualValues(t, sqlstore.PruneChunk, n)
	require.NoError(t, s.Close())

	s = openAt(t, s.cfg.Path)
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.Equal(t, sinkers.Result{Erased: 1000, Duplicates: 1500}, res)
	n, err = s.Prune(t.Context(), time.Time{}, false)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, count(t, s))
	pending, err := s.pendingErasures(t.Context())
	require.NoError(t, err)
	require.Empty(t, pending)
	for entry, err := range s.ReadLedger(t.Context(), sinkers.Scan{AllTenants: true}) {
		require.NoError(t, err)
		require.Equal(t, uint64(2_500), entry.Count())
	}
}

// TestErasedBytesAreOverwritten: of what was erased nothing is left in any file.
func TestErasedBytesAreOverwritten(t *testing.T) {
	s := openAt(t, tempPath(t))
	rows := someRows(t, 0, 100)
	for i := range rows {
		rows[i].Actor.Name = fmt.Sprint("Ada Lovelace ", i)
	}
	mustWrite(t, s, rows)
	_, err := s.Erase(t.Context(), sinkers.Erasure{Tenant: "acme"})
	require.NoError(t, err)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(s.cfg.Path + suffix)
		require.NoError(t, err)
		require.False(t, bytes.Contains(b, []byte("Lovelace")), "file %q", suffix)
	}
}

// TestBeside: an erasure beside a live writer, which goes on with what it holds in memory.
func TestBeside(t *testing.T) {
	s := openAt(t, tempPath(t))
	rows := someRows(t, 0, 4_000)
	mustWrite(t, s, rows[:2_000])
	beside := openWith(t, Config{Path: s.cfg.Path, Beside: true})
	_, err := beside.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.ErrorIs(t, err, ErrBeside)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil {
			_, _ = s.Write(ctx, sinkers.Batch{Rows: rows})
		}
	})
	n, err := beside.Erase(t.Context(), sinkers.Erasure{Tenant: "acme", Before: rows[3_000].Time})
	stop()
	writing.Wait()
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, int64(2_000))
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.Equal(t, 3_000, res.Erased)
	require.Equal(t, 1_000, count(t, s))
	_, err = Open(t.Context(), Config{Path: tempPath(t), Beside: true})
	require.ErrorContains(t, err, "does not exist")
}

// TestMigratesFromFirst: a database of the first version gets what the second has, and keeps its rows.
func TestMigratesFromFirst(t *testing.T) {
	path := tempPath(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	for _, statement := range append([]string{sqlstore.CreateVersion, "INSERT INTO firetrail_schema VALUES (1, 0)"},
		sqlstore.Migrations[0].Statements...) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), `INSERT INTO audit_events (tenant_id, id, created_at, action, outcome, source, seq, truncated, hash)
		VALUES ('acme', ?1, 1700000000000000, 'a.b', 'success', 's', 1, 0, x'00')`, someRows(t, 0, 1)[0].ID[:])
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for _, cfg := range []Config{{Path: path, ReadOnly: true}, {Path: path, Beside: true}} {
		var old *sinkers.SchemaError
		_, err := Open(t.Context(), cfg)
		require.ErrorAs(t, err, &old)
		require.Equal(t, sinkers.SchemaError{Have: 1, Know: sqlstore.Latest}, *old)
	}
	s := openAt(t, path)
	require.Equal(t, 1, count(t, s))
	n, err := s.Erase(t.Context(), sinkers.Erasure{Tenant: "acme"})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

// TestRefusedRowsAreToldByIndex: conflicts keep the batch's indexes when rows before them are refused.
func TestRefusedRowsAreToldByIndex(t *testing.T) {
	s := openAt(t, tempPath(t))
	rows := someRows(t, 0, 200)
	mustWrite(t, s, rows[100:])
	_, err := s.Prune(t.Context(), rows[50].Time, false)
	require.NoError(t, err)
	_, err = s.Erase(t.Context(), sinkers.Erasure{Tenant: "acme", ActorID: "u60"})
	require.NoError(t, err)
	forged := append([]sinkers.Row(nil), rows...)
	forged[150].New = firetrail.Raw([]byte(strings.Repeat("1", 3)))
	forged[150].Hash = forged[150].ContentHash()
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: forged})
	require.NoError(t, err)
	require.Equal(t, sinkers.Result{
		Stored: 49, Duplicates: 99, Expired: 50, Erased: 1, Conflicts: []int{150},
		StoredHashes: map[int][16]byte{150: rows[150].Hash},
	}, res)
}

// TestPrunedBetweenMicrosecondsStaysAway: what a cut-off that is no whole microsecond deletes is refused from then on.
func TestPrunedBetweenMicrosecondsStaysAway(t *testing.T) {
	s := openAt(t, tempPath(t))
	rows := someRows(t, 0, 10)
	mustWrite(t, s, rows)
	n, err := s.Prune(t.Context(), rows[4].Time.Add(time.Nanosecond), false)
	require.NoError(t, err)
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.EqualValues(t, n, res.Expired)
	require.Zero(t, res.Stored)
}
