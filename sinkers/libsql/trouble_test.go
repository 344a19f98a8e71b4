//go:build integration && unix

package libsql_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/libsql"
)

// TestTroubledTenants: tenants whose server is dead, hangs, or refuses the token cost the one beside them nothing, make no poison, and go
// on by themselves when their trouble is over.
func TestTroubledTenants(t *testing.T) {
	names := []string{"good", "dead", "hung", "refused"}
	start := func(o testenv.LibSQLOptions) *testenv.LibSQL {
		o.Namespaces = true
		s := testenv.StartLibSQL(t, o)
		for _, tenant := range names {
			require.NoError(t, s.MakeNamespace(libsql.TenantLabel(tenant)))
		}
		return s
	}
	guarded, other := start(testenv.LibSQLOptions{Auth: true}), start(testenv.LibSQLOptions{})
	token := guarded.Token(t, testenv.LibSQLClaims{Namespace: libsql.TenantLabel("good")}) // of that one alone
	r, err := sinkers.NewRouter(sinkers.RouterConfig{
		Resolve: func(ctx context.Context, tenant string) (sinkers.Sinker, error) {
			cfg := libsql.Config{Proxy: guarded.URL("http"), Token: token, Timeout: time.Second}
			switch tenant {
			case "dead", "hung":
				cfg.Proxy, cfg.Token = other.URL("http"), ""
			case "refused":
				cfg.Token = "nonsense"
			}
			return libsql.Tenants{URL: "http://{tenant}.libsql.example", Config: cfg}.Resolve(ctx, tenant)
		},
		Tenants: func(context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for _, name := range names {
					if !yield(name, nil) {
						return
					}
				}
			}
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	action, err := firetrail.ParseName("course.created")
	require.NoError(t, err)
	rows := map[string][]sinkers.Row{}
	for _, name := range names {
		for i := range 40 {
			at := time.UnixMicro(1_700_000_000_000_000 + int64(i)).UTC()
			e := firetrail.Event{ID: firetrail.IDFrom(at, fmt.Sprint(i)), Time: at, Tenant: name, Action: action, Source: "s", Seq: uint64(i + 1)}
			rows[name] = append(rows[name], sinkers.Row{Event: e, Hash: e.ContentHash()})
		}
	}
	stored := 0
	fails := func(tenant string) error {
		t.Helper()
		batch := slices.Concat(rows[tenant], rows["good"][:stored+5])
		stored += 5
		_, err := r.Write(t.Context(), sinkers.Batch{Rows: batch})
		require.Error(t, err)
		require.False(t, sinkers.IsPermanent(err), "%v", err)
		p, queryErr := r.Query(t.Context(), sinkers.Query{Tenant: "good"})
		require.NoError(t, queryErr)
		require.Len(t, p.Events, stored, "the good one's rows are stored")
		return err
	}
	require.ErrorIs(t, fails("refused"), libsql.ErrUnauthorized)
	for range 2 { // before it was ever open, and when it is
		other.Kill(t)
		_ = fails("dead")
		other.StartAgain(t)
		other.Pause(t)
		require.ErrorIs(t, fails("hung"), context.DeadlineExceeded)
		other.Resume(t)
		for _, tenant := range []string{"dead", "hung"} {
			require.Eventually(t, func() bool {
				_, err := r.Write(t.Context(), sinkers.Batch{Rows: rows[tenant]})
				return err == nil
			}, time.Minute, 20*time.Millisecond, tenant)
		}
	}
	page, err := r.Query(t.Context(), sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit})
	var missing *sinkers.TenantsError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{"refused"}, missing.Names)
	require.Len(t, page.Events, 2*40+stored)
}
