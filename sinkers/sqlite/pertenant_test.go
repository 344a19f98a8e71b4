//go:build !race

package sqlite_test

import (
	"testing"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// TestPerTenantConformance: a database for each tenant is a Sinker like any other. Not with the race detector, which has
// opening one take many times as long: the kit runs with it on a single database, and the router's own tests do.
func TestPerTenantConformance(t *testing.T) {
	const open = 3 // fewer than there are tenants, so that they are closed and opened all the time
	sinkertest.Run(t, func(t *testing.T) sinkers.Sinker { return newRouter(t, t.TempDir(), sqlite.Config{}, open) },
		sinkertest.SplitByTenant(), sinkertest.LargeBatch(500),
		sinkertest.Retained(func(t *testing.T, r sinkers.Retention) sinkers.Sinker {
			return newRouter(t, t.TempDir(), sqlite.Config{Retention: r}, open)
		}))
}
