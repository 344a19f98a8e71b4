package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, ready func() []string) *Server {
	t.Helper()
	s, err := Listen(Config{Address: "127.0.0.1:0", Ready: ready})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	return s
}

func get(t *testing.T, s *Server, path string) (code int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + s.Addr() + path)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}

func TestValidate(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:0": true, "[::1]:9464": true, "localhost:1": true,
		"": false, "9464": false, ":9464": false, "0.0.0.0:9464": false, "10.0.0.1:9464": false, "127.0.0.1:x": false, "127.0.0.1:70000": false,
	} {
		require.Equal(t, ok, Config{Address: address}.Validate() == nil, address)
	}
	require.NoError(t, Config{Address: ":0", AllowRemote: true}.Validate())
	s := listen(t, nil)
	_, err := Listen(Config{Address: s.Addr()})
	require.ErrorContains(t, err, "in use")
}

func TestHealth(t *testing.T) {
	reasons := []string{"starting: no brokers"}
	s := listen(t, func() []string { return reasons })
	code, body := get(t, s, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	var got status
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, status{Status: "not ready", Reasons: reasons}, got)
	code, _ = get(t, s, "/healthz")
	require.Equal(t, http.StatusOK, code)
	reasons = nil
	code, _ = get(t, s, "/readyz")
	require.Equal(t, http.StatusOK, code)
	code, _ = get(t, s, "/")
	require.Equal(t, http.StatusNotFound, code)
	res, err := http.Post("http://"+s.Addr()+"/readyz", "", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode)
	require.NoError(t, res.Body.Close())
	http.DefaultClient.CloseIdleConnections()
}

func TestMetrics(t *testing.T) {
	stats := consumer.Stats{
		Records: 10, Stored: 7, Duplicates: 2, Letters: map[string]int64{"refused": 1}, State: consumer.Paused, InFlightBytes: 5,
		Partitions: []consumer.PartitionStat{
			{Topic: "t", Partition: 0, Lag: 3, Oldest: time.Now().Add(-time.Hour)}, {Topic: "t", Partition: 1, Lag: -1}, {Topic: "t", Partition: 2},
		},
	}
	w := NewWorker(func() consumer.Stats { return stats })
	s := listen(t, nil)
	s.Register(w, NewLetters(func() dlq.DirStats { return dlq.DirStats{Dead: dlq.Total{Files: 1, Letters: 4, Bytes: 99}} }))
	rows := make([]sinkers.Row, 65)
	for i := range rows {
		rows[i].Event = firetrail.Event{Tenant: "secret-tenant", Recorded: time.Now().Add(-time.Minute)}
	}
	w.Observe(consumer.BatchReport{Rows: rows, Duration: 3 * time.Millisecond, Committed: true})
	w.Observe(consumer.BatchReport{Rows: rows, Duration: time.Second})
	_, body := get(t, s, "/metrics")
	for _, line := range []string{
		"firetrail_worker_records_total 10", "firetrail_worker_stored_total 7", "firetrail_worker_duplicates_total 2",
		`firetrail_worker_letters_total{reason="refused"} 1`,
		`firetrail_worker_lag_records{partition="0",topic="t"} 3`, `firetrail_worker_lag_records{partition="2",topic="t"} 0`,
		`firetrail_worker_lag_seconds{partition="0",topic="t"} 3600`, `firetrail_worker_lag_seconds{partition="2",topic="t"} 0`,
		"firetrail_worker_write_seconds_count 2", "firetrail_worker_end_to_end_seconds_count 2",
		`firetrail_worker_state{state="paused"} 1`, `firetrail_worker_state{state="running"} 0`,
		`firetrail_dlq_letters{kind="dead"} 4`, `firetrail_dlq_bytes{kind="dead"} 99`, "go_goroutines ",
	} {
		require.Contains(t, body, "\n"+line)
	}
	require.NotContains(t, body, `partition="1"`, "its lag isn't known")
	require.NotContains(t, body, "secret-tenant")

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w)
	families, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	problems, err = promlint.New(bytes.NewReader([]byte(body))).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		require.NotContains(t, p.Metric, "firetrail")
	}
}
