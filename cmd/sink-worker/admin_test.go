package main

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// scraper asks a worker's admin address.
type scraper struct {
	t       *testing.T
	address string
}

// scraperOf waits until the worker says where it serves.
func scraperOf(t *testing.T, logs *buffer) *scraper {
	t.Helper()
	s := &scraper{t: t}
	require.Eventually(t, func() bool {
		m := regexp.MustCompile(`"metrics and health are served","address":"([^"]+)"`).FindStringSubmatch(logs.String())
		if m != nil {
			s.address = m[1]
		}
		return m != nil
	}, time.Minute, time.Millisecond, "%s", logs)
	return s
}

func (s *scraper) get(path string) (code int, body string) {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + s.address + path)
	require.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return res.StatusCode, string(text)
}

// Metrics and health of a worker that runs, and of one that stands by for its database.
func TestAdmin(t *testing.T) {
	b, dir := broker(t), t.TempDir()
	args := []string{
		"--brokers=" + b.Addrs()[0], "--sqlite=" + filepath.Join(dir, "audit.db"), "--dlq-dir=" + filepath.Join(dir, "dlq"),
		"--flush-interval=10ms", "--admin-address=127.0.0.1:0", "--log-format=json",
	}
	_, stderr, code := sinkWorker(t, environment(), "topics", "create", "--replication=1", "--partitions=2", args[0])
	require.Equal(t, cli.Done, code, stderr)
	produce(t, b, trail(20))
	logs, stop := inBackground(t, args...)
	one := scraperOf(t, logs)
	has := func(lines ...string) func() bool {
		return func() bool {
			_, body := one.get("/metrics")
			return !slices.ContainsFunc(lines, func(l string) bool { return !strings.Contains(body, "\n"+l) })
		}
	}
	require.Eventually(t, has(
		"firetrail_worker_records_total 20", "firetrail_worker_stored_total 20", `firetrail_worker_state{state="running"} 1`,
		`firetrail_worker_lag_records{partition="0",topic="audit.events"} 0`, `firetrail_worker_lag_records{partition="1",topic="audit.events"} 0`,
		`firetrail_dlq_letters{kind="dead"} 0`,
	), time.Minute, 10*time.Millisecond, "%s", logs)
	_, body := one.get("/metrics")
	require.NotContains(t, body, "acme")
	code, body = one.get("/readyz")
	require.Equal(t, http.StatusOK, code, body)

	standby, stopStandby := inBackground(t, args...)
	two := scraperOf(t, standby)
	require.Eventually(t, func() bool { return strings.Contains(standby.String(), "standing by") }, time.Minute, time.Millisecond)
	code, body = two.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "another worker has it")
	code, _ = two.get("/healthz")
	require.Equal(t, http.StatusOK, code)
	stopStandby()
	stop()
}

// An address that somebody chose must be had; others than this host are let in only when that was chosen, too.
func TestAdminAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	dir := t.TempDir()
	args := []string{"run", "--brokers=127.0.0.1:1", "--sqlite=" + filepath.Join(dir, "a.db"), "--dlq-dir=" + filepath.Join(dir, "dlq")}
	for address, want := range map[string]string{
		taken.Addr().String(): "address already in use",
		"0.0.0.0:0":           "can be reached from other hosts, and there is no password; take 127.0.0.1:9464, or set admin-allow-remote",
		"9464":                `admin-address: "9464" is not host:port`,
	} {
		_, stderr, code := sinkWorker(t, environment(), append(args, "--admin-address="+address)...)
		require.NotEqual(t, cli.Done, code)
		require.Contains(t, stderr, want)
	}
}
