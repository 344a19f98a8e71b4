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

// An insert is opened before it is known which rows are to be stored. Where it isn't all of them, what was opened is
// thrown away: counts, rows and ledger are as if it had not been.
func TestWriteOpensInsertsInVain(t *testing.T) {
	for _, c := range []struct {
		protocol string
		conns    int // two are too few to open one beside the questions
	}{{Native, 5}, {Native, 2}, {HTTP, 5}} {
		t.Run(c.protocol, func(t *testing.T) {
			cfg := configOf(t, testenv.SharedClickHouse(t), c.protocol)
			cfg.MaxConns = c.conns
			s := openWith(t, cfg)
			rows := someRows(t, "a", 0, 500)
			stored := 0
			write := func(batch []sinkers.Row, want sinkers.Result) {
				t.Helper()
				res, err := s.Write(t.Context(), sinkers.Batch{Rows: batch})
				require.NoError(t, err)
				require.Equal(t, want, res)
				stored += res.Stored
				require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), stored)
			}
			lucky := func() {
				t.Helper()
				require.True(t, s.lucky, "the next insert is opened before the answer")
			}
			write(rows[:100], sinkers.Result{Stored: 100})
			lucky()
			write(rows[50:150], sinkers.Result{Stored: 50, Duplicates: 50})
			require.False(t, s.lucky)
			write(rows[150:200], sinkers.Result{Stored: 50})
			lucky()
			write(rows[100:200], sinkers.Result{Duplicates: 100})
			write(rows[200:210], sinkers.Result{Stored: 10})
			lucky()
			write([]sinkers.Row{forged(rows[5]), rows[210], rows[210], forged(rows[210])},
				sinkers.Result{Stored: 1, Duplicates: 1, Conflicts: []int{0, 3}, StoredHashes: map[int][16]byte{0: rows[5].Hash, 3: rows[210].Hash}})
			write([]sinkers.Row{rows[211], forged(rows[211])},
				sinkers.Result{Stored: 1, Conflicts: []int{1}, StoredHashes: map[int][16]byte{1: rows[211].Hash}})
			lucky()
			bad := rows[212]
			bad.Actor.Name = "\xff"
			_, err := s.Write(t.Context(), sinkers.Batch{Rows: []sinkers.Row{rows[213], bad}})
			require.ErrorAs(t, err, new(*sinkers.BatchError))
			lucky()
			n, err := s.Prune(t.Context(), rows[10].Time, false)
			require.NoError(t, err)
			require.EqualValues(t, 10, n)
			stored -= 10
			write([]sinkers.Row{rows[3], rows[220]}, sinkers.Result{Stored: 1, Expired: 1})
			write(rows[221:222], sinkers.Result{Stored: 1})
			lucky()
			n, err = s.Erase(t.Context(), sinkers.Erasure{Tenant: "a", Before: rows[300].Time.Add(time.Microsecond)})
			require.NoError(t, err)
			require.EqualValues(t, stored, n)
			stored = 0
			write([]sinkers.Row{rows[230], rows[301], rows[300]}, sinkers.Result{Stored: 1, Erased: 2})
			write(rows[302:303], sinkers.Result{Stored: 1})
			expired := uint64(0)
			for e, err := range s.ReadLedger(t.Context(), sinkers.Scan{Tenant: "a"}) {
				require.NoError(t, err)
				if e.Reason == sinkers.LedgerExpired {
					expired += e.Count()
				}
			}
			require.EqualValues(t, 10, expired)
		})
	}
}

// An insert sent ahead that the server refuses for a row that is there already costs the others nothing.
func TestRefusedInVain(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		server := testenv.SharedClickHouse(t)
		cfg := configOf(t, server, protocol)
		s := openWith(t, cfg)
		s.blockRows = 2
		rows := someRows(t, "a", 0, 20)
		rows[3] = forged(rows[3])
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[:5]})
		require.NoError(t, err)
		server.Exec(t, "ALTER TABLE "+cfg.Database+".audit_events ADD CONSTRAINT no CHECK actor_id != 'mallory'")
		require.True(t, s.lucky)
		res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
		require.NoError(t, err)
		require.Equal(t, sinkers.Result{Stored: 15, Duplicates: 5}, res)
		require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 20)
	}
}

// A row that breaks a constraint is suspected by its index in the batch, in large ones too, of which much was there, is expired or comes
// twice. A constraint that is NULL or fails itself says no row.
func TestRefusedRow(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		t.Run(protocol, func(t *testing.T) {
			server := testenv.SharedClickHouse(t)
			cfg := configOf(t, server, protocol)
			s := openWith(t, cfg)
			for _, c := range []string{
				"`no mallory, is violated at row 1` CHECK actor_id != 'mallory'", "later CHECK actor_id != 'eve'",
				"null_is_no CHECK nullIf(actor_id, 'null') != ''", "fails CHECK throwIf(actor_id = 'fails', 'no') = 0",
			} {
				server.Exec(t, "ALTER TABLE "+cfg.Database+".audit_events ADD CONSTRAINT "+c)
			}
			rows := someRows(t, "a", 0, 50_000)
			for i := range rows[:20_000] {
				rows[i].Time = rows[i].Time.AddDate(0, -1-i%3, 0)
				rows[i].ID = firetrail.IDFrom(rows[i].Time, "a")
				rows[i].Hash = rows[i].ContentHash()
			}
			_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows[15_000:22_000]})
			require.NoError(t, err)
			_, err = s.Prune(t.Context(), rows[1].Time.Add(time.Microsecond), false) // and a month before it
			require.NoError(t, err)
			batch := slices.Concat(rows[:30_000], []sinkers.Row{rows[3], forged(rows[20_100])}, rows[30_000:])
			bad := map[int]bool{}
			for _, at := range []int{1, 7, 14_001, 14_002, 29_999, 30_002, 50_001} {
				bad[at] = true
				batch[at].Actor.ID = []string{"mallory", "eve"}[at%2]
				batch[at].Hash = batch[at].ContentHash()
			}
			delete(bad, 1) // it is expired
			for _, n := range []int{8, len(batch)} {
				some := slices.Clone(batch[:n])
				for tries := 0; ; tries++ {
					_, err := s.Write(t.Context(), sinkers.Batch{Rows: some})
					if err == nil {
						require.Equal(t, map[int]int{8: 1, len(batch): 5}[n], tries) // by then row 7 is a conflict, and isn't sent
						break
					}
					require.True(t, sinkers.IsPermanent(err))
					at, ok := sinkers.Suspected(err)
					require.True(t, ok, "%v", err)
					require.True(t, bad[at], "row %d is good: %v", at, err)
					some[at].Actor.ID = "bob"
					some[at].Hash = some[at].ContentHash()
				}
			}
			for _, actor := range []string{"null", "fails"} {
				r := someRows(t, actor, 0, 3)
				r[1].Actor.ID = actor
				r[1].Hash = r[1].ContentHash()
				_, err = s.Write(t.Context(), sinkers.Batch{Rows: r})
				require.Error(t, err)
				_, ok := sinkers.Suspected(err)
				require.False(t, ok)
			}
		})
	}
}
