package libsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fake is a client library's connection.
type fake struct {
	exec   func(ctx context.Context, query string) error
	mu     sync.Mutex
	said   []string
	closed chan struct{}
}

func (f *fake) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	f.mu.Lock()
	f.said = append(f.said, query)
	f.mu.Unlock()
	return driver.RowsAffected(1), f.exec(ctx, query)
}

func (f *fake) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	panic("interface conversion: interface {} is nil")
}

func (f *fake) Close() error {
	close(f.closed)
	return nil
}

func fakeDB(t *testing.T, cfg Config, dial func() (remote, error)) *sql.DB {
	db := sql.OpenDB(connector{cfg.withDefaults(), func(Config, string) (remote, error) { return dial() }})
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func newFake(exec func(ctx context.Context, query string) error) *fake {
	return &fake{exec: exec, closed: make(chan struct{})}
}

func TestPanicOfTheLibraryIsAnError(t *testing.T) {
	db := fakeDB(t, Config{URL: "http://h"}, func() (remote, error) { return newFake(nil), nil })
	require.ErrorContains(t, db.QueryRowContext(t.Context(), "SELECT 1").Scan(), "the server's answer isn't understood")
	_, err := db.ExecContext(t.Context(), "SELECT 1") // calls nil
	require.ErrorContains(t, err, "the server's answer isn't understood")
}

func TestStaleStreamIsTriedAgain(t *testing.T) {
	dials := 0
	db := fakeDB(t, Config{URL: "http://h"}, func() (remote, error) {
		dials++
		first := dials == 1
		return newFake(func(context.Context, string) error {
			if first {
				return errors.New("failed to execute SQL:\nerror code 400: ")
			}
			return nil
		}), nil
	})
	_, err := db.ExecContext(t.Context(), "INSERT")
	require.NoError(t, err)
	require.Equal(t, 2, dials)
	_, err = db.ExecContext(t.Context(), "INSERT")
	require.NoError(t, err)
	require.Equal(t, 2, dials, "a good connection is used again")
}

func TestBrokenConnectionIsNotUsedAgain(t *testing.T) {
	for said, want := range map[string]int{
		"failed to execute SQL:\nSQLite error: database is locked": 1,
		"Post: connection reset by peer":                           2,
	} {
		dials := 0
		db := fakeDB(t, Config{URL: "http://h"}, func() (remote, error) {
			dials++
			return newFake(func(context.Context, string) error { return errors.New(said) }), nil
		})
		for range 2 {
			_, err := db.ExecContext(t.Context(), "INSERT")
			require.Error(t, err)
		}
		require.Equal(t, want, dials, said)
	}
}

func TestEveryRequestHasADeadline(t *testing.T) {
	block := func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return errors.New("driver: whatever")
	}
	db := fakeDB(t, Config{URL: "http://h", Timeout: time.Millisecond}, func() (remote, error) { return newFake(block), nil })
	_, err := db.ExecContext(context.Background(), "INSERT")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = db.BeginTx(context.Background(), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestTransactionEnds: one that is given up is rolled back, and a commit has a deadline too.
func TestTransactionEnds(t *testing.T) {
	f := newFake(func(ctx context.Context, query string) error {
		if query == "COMMIT" {
			<-ctx.Done()
		}
		return ctx.Err()
	})
	db := fakeDB(t, Config{URL: "http://h", Timeout: 10 * time.Millisecond}, func() (remote, error) { return f, nil })
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	tx, err = db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.ErrorIs(t, tx.Commit(), context.DeadlineExceeded)
	require.Equal(t, []string{"BEGIN IMMEDIATE", "ROLLBACK", "BEGIN IMMEDIATE", "COMMIT"}, f.said)
}

// TestDialIsGivenUp: the library can't be told to, so what it makes in the end is closed.
func TestDialIsGivenUp(t *testing.T) {
	f, goOn := newFake(nil), make(chan struct{})
	db := fakeDB(t, Config{URL: "ws://h", Timeout: time.Millisecond}, func() (remote, error) {
		<-goOn
		return f, nil
	})
	_, err := db.ExecContext(t.Context(), "INSERT")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(goOn)
	<-f.closed
}
