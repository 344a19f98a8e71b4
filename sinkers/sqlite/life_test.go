package sqlite

import (
	"context"
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

func openShell(t *testing.T, path string) *sql.DB {
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// TestCloseCutsOff: Close doesn't wait for its turn; what it cuts off has stored nothing.
func TestCloseCutsOff(t *testing.T) {
	s := openAt(t, tempPath(t))
	tx, err := s.writer.BeginTx(t.Context(), nil) // the one connection is taken
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, 0, 10)})
		done <- err
	}()
	require.Eventually(t, func() bool { return s.writer.Stats().WaitCount > 0 }, time.Minute, time.Millisecond)
	var closing sync.WaitGroup
	closing.Go(func() { _ = s.Close() })
	err = <-done
	require.ErrorIs(t, err, ErrClosed)
	require.False(t, sinkers.IsPermanent(err))
	require.NoError(t, tx.Rollback())
	closing.Wait()
	require.Zero(t, count(t, openAt(t, s.cfg.Path)))
}

func TestAfterClose(t *testing.T) {
	s := openAt(t, tempPath(t))
	require.NoError(t, s.Close())
	_, err := s.Query(t.Context(), sinkers.Query{})
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Prune(t.Context(), time.Now(), false)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Probe(t.Context(), 1), ErrClosed)
	for _, err := range s.Tenants(t.Context()) {
		require.ErrorIs(t, err, ErrClosed)
	}
	for _, err := range s.Scan(t.Context(), sinkers.Scan{AllTenants: true}) {
		require.ErrorIs(t, err, ErrClosed)
	}
}

// TestIteratorsEndWithTheContext: the error comes once, last.
func TestIteratorsEndWithTheContext(t *testing.T) {
	s := openAt(t, tempPath(t))
	mustWrite(t, s, someRows(t, 0, 500))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs []error
	n := 0
	for _, err := range s.Scan(ctx, sinkers.Scan{AllTenants: true}) {
		if err != nil {
			errs = append(errs, err)
		}
		n++
		cancel()
	}
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], context.Canceled)
	require.Less(t, n, 500)
}

func TestReadersDontWaitForTheWriter(t *testing.T) {
	s := openAt(t, tempPath(t))
	mustWrite(t, s, someRows(t, 0, 10))
	tx, err := s.writer.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "DELETE FROM audit_events")
	require.NoError(t, err)
	page, err := s.Query(t.Context(), sinkers.Query{Tenant: "acme"})
	require.NoError(t, err)
	require.Len(t, page.Events, 10)
	require.NoError(t, tx.Rollback())
}

func TestPruneInChunks(t *testing.T) {
	s := openAt(t, tempPath(t))
	mustWrite(t, s, someRows(t, 0, 3_456))
	before := someRows(t, 3_000, 3_001)[0].Time
	n, err := s.Prune(t.Context(), before, false)
	require.NoError(t, err)
	require.EqualValues(t, 3_000, n)
	require.Equal(t, 456, count(t, s))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Prune(ctx, time.Now(), false)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 456, count(t, s))
}

func TestProbeLeavesNothing(t *testing.T) {
	s := openAt(t, tempPath(t))
	_, err := s.writer.ExecContext(t.Context(), "INSERT INTO audit_probes (body) VALUES (x'00')") // an earlier one's, cut off
	require.NoError(t, err)
	require.NoError(t, s.Probe(t.Context(), 1000))
	var n int
	require.NoError(t, s.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM audit_probes").Scan(&n))
	require.Zero(t, n)
}
