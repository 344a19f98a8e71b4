package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

func TestConformance(t *testing.T) {
	sinkertest.Run(t, func(t *testing.T) sinkers.Sinker {
		s, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "audit.db")})
		require.NoError(t, err)
		return s
	})
}
