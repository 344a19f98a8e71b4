//go:build integration && unix

package clickhouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
				sinkers.Result{Stored: 1, Duplicates: 1, Conflicts: []int{0, 3}})
			write([]sinkers.Row{rows[211], forged(rows[211])}, sinkers.Result{Stored: 1, Conflicts: []int{1}})
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
