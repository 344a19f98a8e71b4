//go:build integration && unix

package libsql

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// What the server's owner forbids, or a plan has no room for, makes no poison: the write's error is transient and stores nothing, the
// probe fails too, and once it is over the same Sink goes on.
func TestOutagesOfTheServersMaking(t *testing.T) {
	for _, c := range []struct{ name, config, said string }{
		{"writes blocked", `{"block_reads":false,"block_writes":true,"block_reason":"the plan's quota is used up"}`, "quota is used up"},
		{"all blocked", `{"block_reads":true,"block_writes":true,"block_reason":"the plan's quota is used up"}`, "quota is used up"},
		{"no room", `{"block_reads":false,"block_writes":false,"max_db_size":"200kb"}`, "database or disk is full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := testenv.SharedLibSQL(t)
			cfg := namespaceConfig(t)
			s := openWith(t, cfg)
			s.writer.SetMaxIdleConns(0) // a stream keeps the size that it began with
			rows := someRows(t, 0, 3_000)
			for i := range rows {
				rows[i].New = firetrail.Raw([]byte(`"` + strings.Repeat("x", 300) + `"`))
				rows[i].Hash = rows[i].ContentHash()
			}
			mustWrite(t, s, rows[:5])
			server.Configure(t, cfg.URL, c.config)
			for range 3 {
				_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
				require.ErrorContains(t, err, c.said)
				require.False(t, sinkers.IsPermanent(err))
				require.ErrorContains(t, s.Probe(t.Context(), 1<<20), c.said)
			}
			server.Configure(t, cfg.URL, `{"block_reads":false,"block_writes":false,"max_db_size":"1gb"}`)
			require.Equal(t, 5, count(t, s))
			require.NoError(t, s.Probe(t.Context(), 1<<20))
			res, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
			require.NoError(t, err)
			require.Equal(t, sinkers.Result{Stored: len(rows) - 5, Duplicates: 5}, res)
		})
	}
}
