package sqlstore

import (
	"database/sql"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

func TestMigrationsAreNumbered(t *testing.T) {
	for i, m := range Migrations {
		require.Equal(t, i+1, m.Version)
		require.NotEmpty(t, m.Statements)
	}
	require.Equal(t, Latest, len(Migrations))
}

func TestInsertNeverIgnores(t *testing.T) {
	for _, n := range []int{1, 2, 50} {
		statement := Insert(n)
		require.Equal(t, n*Columns, strings.Count(statement, "?"))
		require.NotContains(t, statement, "OR IGNORE", "it would swallow a NOT NULL violation")
		require.Contains(t, statement, "ON CONFLICT (tenant_id, id) DO NOTHING")
	}
	require.Equal(t, Columns, strings.Count(eventColumns, ",")+2)
}

func TestAfterPrefix(t *testing.T) {
	for _, name := range []string{"course.created", "course.z", "course.~"} {
		require.True(t, "course." <= name && name < after("course."), name)
	}
	for _, name := range []string{"course", "course-x.y", "courses.x", "course/", "coursf.x"} {
		require.False(t, "course." <= name && name < after("course."), name)
	}
}

func TestArgsRefuse(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	action, err := firetrail.ParseName("a.b")
	require.NoError(t, err)
	good := sinkers.Row{Event: firetrail.Event{ID: firetrail.IDFrom(at, "x"), Time: at, Action: action}}
	for want, spoil := range map[string]func(*sinkers.Row){
		"action:":   func(r *sinkers.Row) { r.Action = firetrail.Name{} },
		"id:":       func(r *sinkers.Row) { r.ID = firetrail.ID{} },
		"ip:":       func(r *sinkers.Row) { r.Request.IP = "\xff" },
		"old:":      func(r *sinkers.Row) { r.Old = firetrail.Raw([]byte("\"\xff\"")) },
		"new:":      func(r *sinkers.Row) { r.New = firetrail.JSON(func() {}) },
		"metadata:": func(r *sinkers.Row) { r.Metadata = firetrail.JSON(math.NaN()) },
		"extra:":    func(r *sinkers.Row) { r.Extra = firetrail.Raw([]byte{0x80}) },
	} {
		r := good
		spoil(&r)
		var a Args
		args, err := a.Append([]any{"kept"}, &r)
		require.ErrorContains(t, err, want)
		require.Equal(t, []any{"kept"}, args)
	}
	var a Args
	good.New = firetrail.JSON(map[string]int{"a": 1})
	args, err := a.Append(nil, &good)
	require.NoError(t, err)
	require.Len(t, args, Columns)
	require.Equal(t, `{"a":1}`, args[10])
}

// TestArgsDontMix: taking the boxes of the row before never shows another row's text.
func TestArgsDontMix(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	action, err := firetrail.ParseName("a.b")
	require.NoError(t, err)
	texts := rapid.SampledFrom([]string{"", "x", "y", "z"})
	rapid.Check(t, func(t *rapid.T) {
		var a Args
		for range 10 {
			r := sinkers.Row{Event: firetrail.Event{ID: firetrail.IDFrom(at, "x"), Time: at, Action: action}}
			for _, s := range []*string{&r.Tenant, &r.Actor.Type, &r.Actor.ID, &r.Actor.Name, &r.Entity.Type, &r.Entity.ID, &r.Request.IP, &r.Request.UserAgent, &r.Source} {
				*s = texts.Draw(t, "text")
			}
			args, err := a.Append(nil, &r)
			require.NoError(t, err)
			e, _, err := Event(scanFrom(args))
			require.NoError(t, err)
			require.Equal(t, r.Event, e)
		}
	})
}

// scanFrom is sql.Rows.Scan over parameters.
func scanFrom(args []any) func(...any) error {
	return func(dest ...any) error {
		for i, d := range dest {
			switch d := d.(type) {
			case *string:
				*d = args[i].(string)
			case *[]byte:
				*d = args[i].([]byte)
			case *int64:
				*d = args[i].(int64)
			case **int64:
				if v, ok := args[i].(int64); ok {
					*d = &v
				}
			case sql.Scanner:
				if err := d.Scan(args[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func TestStoredRowsAreChecked(t *testing.T) {
	at := time.Unix(1_700_000_000, 0).UTC()
	action, err := firetrail.ParseName("a.b")
	require.NoError(t, err)
	r := sinkers.Row{Event: firetrail.Event{ID: firetrail.IDFrom(at, "x"), Time: at, Action: action}}
	for want, spoil := range map[string]func([]any){
		"id has 3 bytes":        func(a []any) { a[1] = []byte("abc") },
		"action:":               func(a []any) { a[3] = "nonsense" },
		"outcome:":              func(a []any) { a[12] = "perhaps" },
		"where a text belongs":  func(a []any) { a[4] = 1.5 },
		"where JSON text belon": func(a []any) { a[9] = int64(1) },
	} {
		var a Args
		args, err := a.Append(nil, &r)
		require.NoError(t, err)
		spoil(args)
		_, _, err = Event(scanFrom(args))
		require.ErrorContains(t, err, want)
	}
}
