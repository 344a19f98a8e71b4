package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
)

func TestReplayRaisesNobody(t *testing.T) {
	replayRaisesNobody(t, "FIRETRAIL_SQLITE="+filepath.Join(t.TempDir(), "audit.db"))
}

// replayRaisesNobody stores events of two months through a direct replay, prunes one of them and erases a tenant, and
// replays again and again: nothing is there twice, nothing comes back, the report says why, and the letter is one.
func replayRaisesNobody(t *testing.T, database ...string) {
	t.Helper()
	env := environment(database...)
	addrs := testenv.Broker(t)
	events, letters := testenv.Topic(t, addrs, 1), testenv.Topic(t, addrs, 1)
	dir := filepath.Join(t.TempDir(), "dlq")
	var records []*kgo.Record
	for i, e := range trail(40) {
		if i < 20 {
			e.Time = e.Time.AddDate(0, -2, 0)
			e.ID = firetrail.IDFrom(e.Time, "x")
		}
		value, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		records = append(records, &kgo.Record{Topic: events, Key: []byte(e.Tenant), Value: value})
	}
	records = append(records, &kgo.Record{Topic: events, Key: []byte("acme"), Value: []byte("no event")})
	require.NoError(t, testenv.Client(t, addrs).ProduceSync(t.Context(), records...).FirstErr())

	type report struct {
		Done                                     bool
		Read, Stored, Expired, Erased, Conflicts int64
		Already                                  int64 `json:"already_there"`
		Letters                                  map[string]int64
	}
	replay := func(args ...string) (r report) {
		out, stderr, code := sinkWorker(t, env, append([]string{
			"replay", "--direct", "-o=json", "--brokers=" + strings.Join(addrs, ","), "--topics=" + events,
			"--letter-topic=" + letters, "--dlq-dir=" + dir,
		}, args...)...)
		require.Equal(t, cli.Done, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		return r
	}
	change := func(args ...string) {
		out, stderr, code := sinkWorker(t, env, args...)
		require.Equal(t, cli.Done, code, stderr)
		require.Contains(t, out, "deleted")
	}
	stored := func() int {
		out, stderr, code := sinkWorker(t, env, "query", "-o=json", "--all")
		require.Equal(t, cli.Done, code, stderr)
		return strings.Count(out, "\n")
	}
	bad := map[string]int64{dlq.ReasonUndecodable: 1}
	require.Equal(t, report{Done: true, Read: 41, Stored: 40, Letters: bad}, replay())
	require.Equal(t, 40, stored())
	change("prune", "--before=2023-06-15")
	require.Equal(t, 20, stored())
	change("erase", "--tenant=acme")
	require.Equal(t, 10, stored())
	for range 2 {
		got := replay()
		require.EqualValues(t, 30, got.Expired+got.Erased)
		require.GreaterOrEqual(t, got.Erased, int64(10))
		got.Expired, got.Erased = 0, 0
		require.Equal(t, report{Done: true, Read: 41, Already: 10, Letters: bad}, got)
		require.Equal(t, 10, stored())
	}
	require.Equal(t, report{Done: true, Letters: map[string]int64{}}, replay("--from=2100-01-01"), "after the end")

	d, err := dlq.OpenDir(dlq.DirConfig{Path: dir, ReadOnly: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	require.Equal(t, 1, d.Stats().Dead.Letters, "one letter, however often it was met")
	n := 0
	for _, err := range dlq.ReadTopic(t.Context(), letters, kgo.SeedBrokers(addrs...)) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 1, n)
}
