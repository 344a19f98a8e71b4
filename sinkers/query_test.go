package sinkers

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQueryNamesEveryProblem(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	err := Query{
		Tenant: "a\x00", Action: "no verb", Outcome: "perhaps", Limit: -1, From: now, To: now.Add(-1), Cursor: "?",
	}.Validate()
	for _, field := range []string{"tenant:", "action:", "outcome:", "limit:", "from:", "cursor:"} {
		require.ErrorContains(t, err, field)
	}
	require.ErrorContains(t, Query{Limit: MaxLimit + 1}.Validate(), "limit: 501 is outside 1 to 500")
	require.NoError(t, Query{}.Validate())
	require.NoError(t, Query{AllTenants: true, Tenant: "ignored\x00", Limit: MaxLimit}.Validate())
}

func TestQueryAction(t *testing.T) {
	for action, want := range map[string]string{
		"course.*": "course.", "course.module.*": "course.module.", "course.created": "", "": "",
	} {
		q := Query{Action: action}
		require.NoError(t, q.Validate(), action)
		prefix, ok := q.ActionPrefix()
		require.Equal(t, want != "", ok, action)
		if ok {
			require.Equal(t, want, prefix)
		}
	}
	for _, action := range []string{"*", ".*", "course*", "course.", "course", "*.created", "course.**", "course.*.x"} {
		require.Error(t, Query{Action: action}.Validate(), action)
	}
}

func TestQueryTimeRange(t *testing.T) {
	from, to := Query{}.TimeRange()
	require.Equal(t, [2]int64{math.MinInt64, math.MaxInt64}, [2]int64{from, to})
	for _, c := range []struct{ ns, want int64 }{{0, 0}, {1, 1}, {999, 1}, {1000, 1}, {1001, 2}, {-1, 0}, {-1000, -1}, {-1001, -1}} {
		at := time.Unix(0, c.ns)
		from, to := Query{From: at, To: at}.TimeRange()
		require.Equal(t, [2]int64{c.want, c.want}, [2]int64{from, to}, "%d ns", c.ns)
	}
}

func TestQueryPageLimit(t *testing.T) {
	require.Equal(t, DefaultLimit, Query{}.PageLimit())
	require.Equal(t, 7, Query{Limit: 7}.PageLimit())
}

func TestRowNamesEveryProblem(t *testing.T) {
	r := Row{}
	r.Tenant = "a\n"
	r.Actor.Name, r.Source = "\xff", "\xfe"
	err := r.Validate()
	for _, field := range []string{"action:", "tenant:", "id:", "time:", "actor name:", "source:"} {
		require.ErrorContains(t, err, field)
	}
	require.Equal(t, 6, strings.Count(err.Error(), "\n")+1, "%v", err)
}
