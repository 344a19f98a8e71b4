package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/race"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

func TestConformance(t *testing.T) {
	paths := map[sinkers.Sinker]string{}
	open := func(t *testing.T, cfg sqlite.Config) sinkers.Sinker {
		s, err := sqlite.Open(t.Context(), cfg)
		require.NoError(t, err)
		paths[s] = cfg.Path
		return s
	}
	temp := func(t *testing.T) string { return filepath.Join(t.TempDir(), "audit.db") }
	sinkertest.Run(t, func(t *testing.T) sinkers.Sinker { return open(t, sqlite.Config{Path: temp(t)}) },
		sinkertest.LargeBatch(10_000/race.Stride(5)),
		sinkertest.Retained(func(t *testing.T, r sinkers.Retention) sinkers.Sinker {
			return open(t, sqlite.Config{Path: temp(t), Retention: r})
		}),
		sinkertest.Reopened(func(t *testing.T, s sinkers.Sinker) sinkers.Sinker {
			return open(t, sqlite.Config{Path: paths[s]})
		}),
		sinkertest.Refusing(func(t *testing.T, action string) sinkers.Sinker {
			path := temp(t)
			s := open(t, sqlite.Config{Path: path})
			db, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), "CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN NEW.action = '"+action+
				"' BEGIN SELECT RAISE(ABORT, 'refused'); END")
			require.NoError(t, err)
			require.NoError(t, db.Close())
			return s
		}),
		sinkertest.NewerSchema(func(t *testing.T) error {
			path := temp(t)
			require.NoError(t, open(t, sqlite.Config{Path: path}).Close())
			db, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), "INSERT INTO firetrail_schema VALUES (99, 0)")
			require.NoError(t, err)
			require.NoError(t, db.Close())
			_, err = sqlite.Open(t.Context(), sqlite.Config{Path: path})
			return err
		}))
}
