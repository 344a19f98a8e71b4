//go:build integration && unix

package chaos

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// refusedAction is what the database refuses to store, by a constraint of its own.
const refusedAction = "chaos.refused"

// database is where the workers store.
type database interface {
	target
	// settings are the worker's, as flags, and as the environment.
	settings() (flags, env []string)
	// open opens it for reading.
	open(ctx context.Context) (sinkers.Sinker, error)
	// rows counts what lies in the table, when equal rows have been merged, and the ids in it.
	rows(ctx context.Context) (rows, ids int, err error)
}

func startDatabase(t *testing.T, name, dir string) database {
	if name == useSQLite {
		return newFile(t, dir)
	}
	return newServer(t)
}

// server is a ClickHouse.
type server struct {
	*testenv.ClickHouse
	cfg clickhouse.Config
}

func newServer(t *testing.T) *server {
	s := &server{ClickHouse: testenv.StartClickHouse(t)}
	s.cfg = clickhouse.Config{
		Addrs: []string{s.Addr()}, Database: s.Database(t),
		User: testenv.ClickHouseUser, Password: testenv.ClickHousePassword,
	}
	db, err := clickhouse.Open(t.Context(), s.cfg)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	s.Exec(t, "ALTER TABLE "+s.cfg.Database+".audit_events ADD CONSTRAINT chaos CHECK action != '"+refusedAction+"'")
	return s
}

func (s *server) kill(t *testing.T) { s.Kill(t) }
func (s *server) stop(t *testing.T) { s.Pause(t) }
func (s *server) goOn(t *testing.T) { s.Resume(t) }
func (s *server) restart() error    { return s.Restart() }

func (s *server) settings() (flags, env []string) {
	return []string{
		"--clickhouse-addrs=" + s.Addr(), "--clickhouse-database=" + s.cfg.Database, "--clickhouse-user=" + s.cfg.User,
	}, []string{"FIRETRAIL_CLICKHOUSE_PASSWORD=" + s.cfg.Password}
}

func (s *server) open(ctx context.Context) (sinkers.Sinker, error) {
	cfg := s.cfg
	cfg.ReadOnly = true
	return clickhouse.Open(ctx, cfg)
}

func (s *server) rows(ctx context.Context) (int, int, error) {
	conn, err := driver.Open(&driver.Options{
		Addr: s.cfg.Addrs, Auth: driver.Auth{Database: s.cfg.Database, Username: s.cfg.User, Password: s.cfg.Password},
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	var rows, ids uint64
	err = conn.QueryRow(ctx, "SELECT count(), uniqExact(tenant_id, id) FROM audit_events FINAL").Scan(&rows, &ids)
	return int(rows), int(ids), err
}

// file is a SQLite database. It is killed with the worker that writes to it; a fault of its own is another program that
// holds its lock.
type file struct {
	path string
	db   *sql.DB
	held *sql.Conn
}

func newFile(t *testing.T, dir string) *file {
	f := &file{path: filepath.Join(dir, "audit.db")}
	s, err := sqlite.Open(t.Context(), sqlite.Config{Path: f.path})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	f.db, err = sql.Open("sqlite", "file:"+f.path+"?_pragma=busy_timeout(1000)")
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.db.Close() })
	_, err = f.db.ExecContext(t.Context(), `CREATE TRIGGER chaos BEFORE INSERT ON audit_events WHEN NEW.action = '`+refusedAction+`'
		BEGIN SELECT RAISE(ABORT, 'chaos refuses it'); END`)
	require.NoError(t, err)
	return f
}

func (f *file) settings() (flags, env []string) { return []string{"--sqlite=" + f.path}, nil }

func (f *file) open(ctx context.Context) (sinkers.Sinker, error) {
	return sqlite.Open(ctx, sqlite.Config{Path: f.path, ReadOnly: true})
}

func (f *file) rows(ctx context.Context) (rows, ids int, err error) {
	err = f.db.QueryRowContext(ctx, "SELECT count(*), count(*) FROM audit_events").Scan(&rows, &ids) // the key is (tenant, id)
	return rows, ids, err
}

// stop takes the lock, if it can be had.
func (f *file) stop(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := f.db.Conn(ctx)
	require.NoError(t, err)
	if _, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		require.NoError(t, conn.Close())
		return
	}
	f.held = conn
}

func (f *file) goOn(t *testing.T) {
	if f.held == nil {
		return
	}
	_, err := f.held.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, f.held.Close())
	f.held = nil
}

func (f *file) kill(t *testing.T) { require.Fail(t, "no process of its own") }
func (f *file) restart() error    { return os.ErrInvalid }
