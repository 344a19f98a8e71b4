package consumer

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// counted is a SQLite sink whose writes are counted.
type counted struct {
	*sqlite.Sink
	writes atomic.Int64
}

func (c *counted) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	c.writes.Add(1)
	return c.Sink.Write(ctx, b)
}

// One bad row among the 10,000 of a file that waits costs itself alone, in a real database, for some 30 writes; the file
// is written anew without the others, and in the end the row is a dead letter.
func TestBadRowInALargeFile(t *testing.T) {
	const n, bad = 10_000, 4711
	path := filepath.Join(t.TempDir(), "audit.db")
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	raw, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	defer func() { require.NoError(t, raw.Close()) }()
	_, err = raw.ExecContext(t.Context(), `CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN NEW.entity_id = '4712'
		BEGIN SELECT RAISE(ABORT, 'not this one'); END`)
	require.NoError(t, err)

	w := &world{t: t, broker: "127.0.0.1:1"}
	sink := &counted{Sink: db}
	cfg := w.config()
	cfg.Sink = sink
	worker, err := New(cfg)
	require.NoError(t, err)
	d, err := dlq.OpenDir(dlq.DirConfig{Path: filepath.Join(t.TempDir(), "dlq"), MaxScans: 2})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	letters := make([]dlq.Letter, n)
	for i := range letters {
		rec := w.record(w.event("acme"), 0)
		letters[i] = dlq.Letter{ID: dlq.OriginID([16]byte{1}, 0, int64(i)), Tenant: "acme", Reason: dlq.ReasonOutage, Offset: int64(i), Key: rec.Key, Value: rec.Value}
		for _, h := range rec.Headers {
			letters[i].Headers = append(letters[i].Headers, dlq.Header{Key: h.Key, Value: h.Value})
		}
	}
	require.NoError(t, d.Put(t.Context(), dlq.Waiting, letters))
	require.Equal(t, 1, d.Stats().Waiting.Files)

	res, err := d.Retry(t.Context(), worker.redeliver)
	require.NoError(t, err)
	require.Equal(t, dlq.RetryResult{Files: 1, Delivered: n - 1, Refused: 1}, res)
	t.Logf("%d writes", sink.writes.Load())
	require.LessOrEqual(t, sink.writes.Load(), int64(10+2*(1+10))) // 10 chunks, and the halving of one
	require.Equal(t, dlq.Total{Files: 1, Letters: 1, Bytes: d.Stats().Waiting.Bytes}, d.Stats().Waiting)
	require.Less(t, d.Stats().Waiting.Bytes, int64(4096))
	var rows int
	require.NoError(t, raw.QueryRowContext(t.Context(), "SELECT count(*) FROM audit_events").Scan(&rows))
	require.Equal(t, n-1, rows)

	res, err = d.Retry(t.Context(), worker.redeliver)
	require.NoError(t, err)
	require.Equal(t, dlq.RetryResult{Files: 1, Buried: 1}, res)
	for l, err := range d.Find(t.Context(), func(string) bool { return true }) {
		require.NoError(t, err)
		require.Equal(t, letters[bad].ID, l.ID)
		require.Equal(t, letters[bad].Value, l.Value)
		require.Contains(t, l.Error, "not this one")
	}
	require.Equal(t, 1, d.Stats().Dead.Letters)
	require.Zero(t, d.Stats().Waiting)
}
