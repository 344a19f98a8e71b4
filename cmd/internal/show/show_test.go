package show_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/show"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func name(s string) firetrail.Name {
	n, err := firetrail.ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

func events() []firetrail.Event {
	at := time.Date(2023, 7, 10, 11, 42, 18, 5000, time.UTC)
	es := []firetrail.Event{
		{
			Tenant: "iam.amazonaws.com", Action: name("iam.CreateUser"), Outcome: firetrail.Denied,
			Actor:  firetrail.Actor{Type: "IAMUser", ID: "arn:aws:iam::123837392027:user/benjamin", Name: "benjamin"},
			Entity: firetrail.Entity{ID: "malicious-user"}, New: firetrail.Raw([]byte(`{"userName": "malicious-user"}`)),
		},
		{
			Tenant: "an-extraordinarily-long-tenant-name.example", Action: name("organisation.department.CreateAnExtraordinarilyLongNamedThing"),
			Actor:  firetrail.Actor{ID: "arn:aws:sts::123837392027:assumed-role/stratus-red-team-role/session-17"},
			Entity: firetrail.Entity{Type: "bucket", ID: "arn:aws:s3:::baker221b-bucketsevidenceeeedc25d-1q9cl0tuy4gbm"},
		},
		{
			Tenant: "日本語のとても長いテナントの名前です", Action: name("a.b"), Outcome: firetrail.Failure,
			Actor:  firetrail.Actor{Name: "evil\x1b[2J\x1b]0;title\a\u202eright-to-left"},
			Entity: firetrail.Entity{Type: "only-a-type"},
		},
	}
	for i := range es {
		es[i].Time = at.Add(time.Duration(i) * time.Second)
		es[i].ID, es[i].Source = firetrail.IDFrom(es[i].Time, "x"), "test"
	}
	return es
}

func TestTable(t *testing.T) {
	for name, table := range map[string]show.Table{
		"table-100.txt": {Width: 100}, "table-tenants-100.txt": {Width: 100, Tenants: true},
		"table-tenants-80.txt": {Width: 20, Tenants: true}, "table-tenants-160.txt": {Width: 160, Tenants: true},
	} {
		var out strings.Builder
		table.Out = &out
		require.NoError(t, table.Page(events()[:2]))
		require.NoError(t, table.Page(events()[2:]))
		golden(t, name, out.String())
		for line := range strings.Lines(out.String()) {
			require.LessOrEqual(t, text.StringWidth(strings.TrimSpace(line)), max(80, table.Width), line)
		}
		require.NotContains(t, out.String(), "\x1b")
		require.NotContains(t, out.String(), "\u202e")
	}
}

func TestEmptyPage(t *testing.T) {
	var out strings.Builder
	require.NoError(t, (&show.Table{Out: &out, Width: 100}).Page(nil))
	require.Equal(t, []string{"TIME", "ACTION", "ACTOR", "ENTITY", "OUTCOME"}, strings.Fields(out.String()))
	out.Reset()
	require.NoError(t, (&show.JSON{Out: &out}).Page(nil))
	require.Empty(t, out.String())
}

func TestJSON(t *testing.T) {
	var out strings.Builder
	j := show.JSON{Out: &out}
	require.NoError(t, j.Page(events()[:2]))
	require.NoError(t, j.Page(events()[2:]))
	golden(t, "events.json", out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	for i, line := range lines {
		e, err := firetrail.DecodeCloudEvent(firetrail.Message{Key: []byte(events()[i].Tenant), Value: []byte(line)})
		require.NoError(t, err)
		require.Equal(t, events()[i].ID, e.ID)
	}
}

// A terminal must never act on what an event says.
func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31m\x00\u009b\u2028\u200f\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range show.Clean(s) {
			require.False(t, r < 0x20 || 0x7f <= r && r < 0xa0 || r == 0x2028 || r == 0x202e, "%q", r)
		}
	})
}
