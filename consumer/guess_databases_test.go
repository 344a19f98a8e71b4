//go:build integration && unix

package consumer

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
)

// counting counts the writes of a sink.
type counting struct {
	*clickhouse.Sink
	writes int
}

func (c *counting) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	c.writes++
	return c.Sink.Write(ctx, b)
}

// TestClickHouseSaysWhichRow: the rows that a ClickHouse refuses by a constraint are found in three writes each.
func TestClickHouseSaysWhichRow(t *testing.T) {
	for _, protocol := range []string{clickhouse.Native, clickhouse.HTTP} {
		server, cfg := clickHouse(t, protocol)
		s, err := clickhouse.Open(t.Context(), cfg)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		server.Exec(t, "ALTER TABLE "+cfg.Database+".audit_events ADD CONSTRAINT c CHECK actor_id != 'mallory'")
		for _, c := range []struct{ n, bad int }{{20, 1}, {20, 3}, {50_000, 1}, {50_000, 5}} {
			t.Run(fmt.Sprintf("%s/%d of %d", protocol, c.bad, c.n), func(t *testing.T) {
				w := &world{t: t}
				b := w.rows(c.n)
				bad := spread(b, c.bad)
				for i := range b.rows {
					r := &b.rows[i]
					if bad[r.ID] {
						r.Actor.ID = "mallory"
					}
					r.Hash = r.ContentHash()
				}
				sink := &counting{Sink: s}
				st, r := newStore(sink, Retry{WriteTimeout: time.Minute}), &rulings{}
				begun := time.Now()
				rest, err := st.attempt(t.Context(), b, r)
				require.True(t, sinkers.IsPermanent(err), "%v", err)
				rest, err = st.isolate(t.Context(), rest, err, r, false)
				require.NoError(t, err)
				require.Nil(t, rest)
				t.Logf("%d writes, %v", sink.writes, time.Since(begun))
				require.Equal(t, rulings{storedRows: c.n - c.bad, suspects: c.bad, proofs: c.bad}, *r)
				require.LessOrEqual(t, sink.writes, 3*c.bad)
			})
		}
	}
}
