//go:build integration && unix

package clickhouse

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// force stores rows without looking whether they are there: as a writer does that another has overtaken.
func force(t testing.TB, s *Sink, rows ...sinkers.Row) {
	t.Helper()
	s.lucky = false
	s.order.sort(rows)
	_, _, err := s.expect(t.Context(), rows)
	require.NoError(t, err)
	defer s.forget()
	insert, err := s.openInsert(t.Context(), rows)
	require.NoError(t, err)
	require.NoError(t, insert.Send())
}

// someRows returns the events from to to of a tenant, one each 10 s.
func someRows(t testing.TB, tenant string, from, to int) []sinkers.Row {
	t.Helper()
	action, err := firetrail.ParseName("course.created")
	require.NoError(t, err)
	var rows []sinkers.Row
	for n := from; n < to; n++ {
		at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC).Add(time.Duration(n) * 10 * time.Second)
		r := sinkers.Row{Event: firetrail.Event{
			ID: firetrail.IDFrom(at, tenant), Tenant: tenant, Time: at, Action: action, Source: "s", Seq: uint64(n) + 1,
			Actor: firetrail.Actor{Type: "user", ID: "ada"}, Recorded: at,
		}}
		r.Hash = r.ContentHash()
		rows = append(rows, r)
	}
	return rows
}

func forged(r sinkers.Row) sinkers.Row {
	r.Actor.ID = "mallory"
	r.Hash = r.ContentHash()
	return r
}

func found(t testing.TB, s *Sink, q sinkers.Query) (events []firetrail.Event) {
	t.Helper()
	for {
		p, err := s.Query(t.Context(), q)
		require.NoError(t, err)
		events = append(events, p.Events...)
		if p.Next == "" {
			return events
		}
		q.Cursor = p.Next
	}
}

// A row that was forged with an existing id is never visible, by no filter, neither before a merge nor after; it is
// found, once, and the first stored is what stays.
func TestForgedRowIsNeverVisible(t *testing.T) {
	server := testenv.SharedClickHouse(t)
	c := configOf(t, server, Native)
	s := openWith(t, c)
	rows := append(someRows(t, "a", 0, 100), someRows(t, "b", 0, 100)...)
	force(t, s, rows...)
	began := time.Now().Add(-time.Hour)
	var lies []sinkers.Row
	for i := 0; i < len(rows); i += 9 {
		lies = append(lies, forged(rows[i]))
	}
	late := forged(rows[5]) // of the same millisecond
	late.Time = late.Time.Add(7 * time.Microsecond)
	late.Hash = late.ContentHash()
	lies = append(lies, late)
	force(t, s, lies...)
	force(t, s, rows[:50]...) // and the truth once more
	force(t, s, lies...)      // the token drops it
	force(t, s, lies[:3]...)  // and the lies

	res, err := s.Write(t.Context(), sinkers.Batch{Rows: lies})
	require.NoError(t, err)
	require.Len(t, res.Conflicts, len(lies), "a writer who comes later sees the first")

	want := func() {
		t.Helper()
		for _, q := range []sinkers.Query{{AllTenants: true}, {AllTenants: true, Limit: 7}, {AllTenants: true, ActorID: "ada", Limit: 3}} {
			events := found(t, s, q)
			require.Len(t, events, len(rows))
			for _, e := range events {
				require.Equal(t, "ada", e.Actor.ID)
			}
		}
		require.Empty(t, found(t, s, sinkers.Query{AllTenants: true, ActorID: "mallory"}))
		require.Empty(t, found(t, s, sinkers.Query{Tenant: "a", ActorID: "mallory", Limit: 1}))
		require.Empty(t, found(t, s, sinkers.Query{Tenant: "a", From: late.Time, To: late.Time.Add(time.Microsecond)}))
		positions := 0
		for _, err := range s.Scan(t.Context(), sinkers.Scan{AllTenants: true}) {
			require.NoError(t, err)
			positions++
		}
		require.Equal(t, len(rows), positions)
	}
	want()
	some, err := s.FindConflicts(t.Context(), began, 4)
	require.NoError(t, err)
	require.Len(t, some, 4, "rows that are there twice are none")
	server.Exec(t, "OPTIMIZE TABLE "+c.Database+".audit_events FINAL")
	want()

	nothing, err := s.FindConflicts(t.Context(), time.Now().Add(time.Hour), 1000)
	require.NoError(t, err)
	require.Empty(t, nothing)
	for _, since := range []time.Time{{}, began} {
		conflicts, err := s.FindConflicts(t.Context(), since, 1000)
		require.NoError(t, err)
		require.Len(t, conflicts, len(lies))
		for _, c := range conflicts {
			i := slices.IndexFunc(lies, func(r sinkers.Row) bool { return r.Hash == c.Hash })
			require.GreaterOrEqual(t, i, 0)
			require.Equal(t, lies[i].Event, c.Event)
			truth := slices.IndexFunc(rows, func(r sinkers.Row) bool { return r.ID == c.ID && r.Tenant == c.Tenant })
			require.Equal(t, rows[truth].Hash, c.Winner)
		}
	}
	all, err := s.FindConflicts(t.Context(), began, 1000)
	require.NoError(t, err)
	require.NoError(t, s.DropConflicts(t.Context(), all))
	all, err = s.FindConflicts(t.Context(), time.Time{}, 1000)
	require.NoError(t, err)
	require.Empty(t, all)
	want()
}

// What another worker was storing while an erasure went on is covered by its tombstone: no read shows it, no write
// takes it for stored, and the next prune deletes it.
func TestStoredBesideAnErasure(t *testing.T) {
	s := openWith(t, configOf(t, testenv.SharedClickHouse(t), Native))
	rows := append(someRows(t, "a", 0, 20), someRows(t, "b", 0, 20)...)
	for i := range rows {
		if i%4 == 0 {
			rows[i] = forged(rows[i]) // another actor
		}
	}
	_, err := s.Erase(t.Context(), sinkers.Erasure{Tenant: "a", ActorID: "mallory"})
	require.NoError(t, err)
	force(t, s, rows...)
	for _, q := range []sinkers.Query{{Tenant: "a"}, {Tenant: "a", Limit: 2}, {Tenant: "a", ActorID: "ada"}} {
		require.Len(t, found(t, s, q), 15)
	}
	require.Len(t, found(t, s, sinkers.Query{AllTenants: true, Limit: 3}), 35)
	require.Empty(t, found(t, s, sinkers.Query{Tenant: "a", ActorID: "mallory"}))
	positions := 0
	for _, err := range s.Scan(t.Context(), sinkers.Scan{AllTenants: true}) {
		require.NoError(t, err)
		positions++
	}
	require.Equal(t, 35, positions)
	res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.Equal(t, sinkers.Result{Duplicates: 35, Erased: 5}, res)

	stored := func() (n uint64) {
		require.NoError(t, s.conn.QueryRow(t.Context(), "SELECT count() FROM audit_events").Scan(&n))
		return n
	}
	require.EqualValues(t, 40, stored())
	n, err := s.Prune(t.Context(), time.Time{}, false)
	require.NoError(t, err)
	require.Zero(t, n)
	require.EqualValues(t, 35, stored())
}
