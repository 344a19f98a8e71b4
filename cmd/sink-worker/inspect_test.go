package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

// writtenLog returns the directory of a log that holds n events, of which the first is released.
func writtenLog(t *testing.T, n int) string {
	dir := filepath.Join(t.TempDir(), "0")
	l, err := wal.Open(wal.Config{Dir: dir, MinFree: -1})
	require.NoError(t, err)
	for _, e := range trail(n) {
		b, _, err := e.AppendBinary(nil)
		require.NoError(t, err)
		stamp := firetrail.Stamp{ID: e.ID, Time: e.Time.UnixMicro(), Recorded: e.Time.UnixMicro(), Seq: e.Seq, Source: e.Source}
		_, _, err = l.Append(1, firetrail.StampBinary(b, stamp))
		require.NoError(t, err)
	}
	_, _, err = l.Append(1, []byte("no event"))
	require.NoError(t, err)
	l.Release(1)
	require.NoError(t, l.Close(context.Background()))
	return dir
}

func TestWALInspect(t *testing.T) {
	dir := writtenLog(t, 9)
	out, errs, code := sinkWorker(t, nil, "wal", "inspect", dir)
	require.Zero(t, code, errs)
	require.Contains(t, out, "nobody has it open")
	require.Contains(t, out, "released up to 1, on the disk up to 10")
	require.Contains(t, out, "waiting: 9 records")
	require.NotContains(t, out, "iam.GetUser")

	out, errs, code = sinkWorker(t, nil, "wal", "inspect", dir, "--events", "-o", "json")
	require.Zero(t, code, errs)
	require.Contains(t, errs, "no event")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 1+8)
	var report struct {
		Released string
		Pending  int
	}
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &report))
	require.Equal(t, "1", report.Released)
	require.Equal(t, 9, report.Pending)
	require.Contains(t, lines[1], `"type":"iam.GetUser"`)

	l, err := wal.Open(wal.Config{Dir: dir, MinFree: -1})
	require.NoError(t, err)
	out, _, code = sinkWorker(t, nil, "wal", "inspect", dir)
	require.Zero(t, code)
	require.Contains(t, out, "in use")
	require.NoError(t, l.Close(context.Background()))

	_, errs, code = sinkWorker(t, nil, "wal", "inspect", t.TempDir())
	require.Equal(t, 1, code)
	require.Contains(t, errs, "not the directory of a log")
	_, errs, code = sinkWorker(t, nil, "wal", "inspect")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "<dir>")
}

func TestWALInspectDamaged(t *testing.T) {
	dir := writtenLog(t, 9)
	name := filepath.Join(dir, "0000000000000000.seg")
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	b[len(b)/2] ^= 1
	require.NoError(t, os.WriteFile(name, b, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000ff.seg"), []byte("no segment"), 0o600))
	out, errs, code := sinkWorker(t, nil, "wal", "inspect", dir)
	require.Zero(t, code, errs)
	require.Contains(t, out, "waiting: 8 records")
	require.Regexp(t, `missing: 1 record, \d to \d: damaged or missing in 0000000000000000\.seg`, out)
	require.Regexp(t, `00000000000000ff\.seg +10 +its header is damaged`, out)
	out, errs, code = sinkWorker(t, nil, "wal", "inspect", dir, "-o", "json")
	require.Zero(t, code, errs)
	require.Contains(t, out, `"problem":"its header is damaged"`)
	require.Contains(t, out, `"missing":[{"from":"`)
}
