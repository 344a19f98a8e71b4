package prometheusaudit_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/prometheusaudit"
	"github.com/firetrail/firetrail/wal"
)

func TestCollector(t *testing.T) {
	s := producer.Stats{
		Fired: 9, Shipped: 5, Unprotected: 2, Backlog: 3, OldestPending: 90 * time.Second,
		Dropped: map[producer.DropReason]uint64{producer.DropFull: 4}, Log: wal.Stats{Bytes: 77},
		State: wal.StateChange{State: wal.Degraded}, Dir: dlq.DirStats{Waiting: dlq.Total{Letters: 6, Bytes: 60}},
	}
	c := prometheusaudit.New(func() producer.Stats { return s })
	require.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`
# HELP firetrail_producer_dropped_total Events that were lost.
# TYPE firetrail_producer_dropped_total counter
firetrail_producer_dropped_total{reason="full"} 4
# HELP firetrail_producer_fired_total Events given to Fire, and to Emit where it took them.
# TYPE firetrail_producer_fired_total counter
firetrail_producer_fired_total 9
# HELP firetrail_producer_shipped_total Events of this run that the broker has acknowledged.
# TYPE firetrail_producer_shipped_total counter
firetrail_producer_shipped_total 5
# HELP firetrail_producer_unprotected_total Events that a kill -9 could have lost.
# TYPE firetrail_producer_unprotected_total counter
firetrail_producer_unprotected_total 2
# HELP firetrail_producer_wal_bytes Bytes that the log holds: files, ring and memory.
# TYPE firetrail_producer_wal_bytes gauge
firetrail_producer_wal_bytes 77
# HELP firetrail_producer_wal_degraded 1 while the log can't be written and events are in memory alone.
# TYPE firetrail_producer_wal_degraded gauge
firetrail_producer_wal_degraded 1
# HELP firetrail_producer_wal_oldest_seconds Age of the oldest event that is not yet acknowledged, roughly; 0 where there is none.
# TYPE firetrail_producer_wal_oldest_seconds gauge
firetrail_producer_wal_oldest_seconds 90
`), "firetrail_producer_fired_total", "firetrail_producer_shipped_total", "firetrail_producer_unprotected_total",
		"firetrail_producer_dropped_total", "firetrail_producer_wal_bytes", "firetrail_producer_wal_degraded", "firetrail_producer_wal_oldest_seconds"))
	problems, err := testutil.CollectAndLint(c)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// A real producer's metrics, registered as they would be.
func TestProducer(t *testing.T) {
	p, err := producer.New(producer.Config{
		Kafka: kafkaclient.Config{Brokers: []string{"127.0.0.1:1"}}, Dir: t.TempDir(), Namespace: "test",
	})
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	prometheus.WrapRegistererWith(prometheus.Labels{"producer": "courses"}, registry).MustRegister(prometheusaudit.New(p.Stats))
	created := firetrail.NewAction[struct{}]("course.created")
	for range 3 {
		p.Fire(t.Context(), created.Event(firetrail.Input[struct{}]{Tenant: "secret-tenant"}))
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	text := ""
	for _, f := range families {
		text += f.String() + "\n"
	}
	require.Contains(t, text, "firetrail_producer_fired_total")
	require.Contains(t, text, "value:3")
	require.NotContains(t, text, "secret-tenant")
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the broker is away: what is left is for the next start
	_ = p.Close(ctx)
}

// docs/metrics.md has every metric of a producer, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	s := producer.Stats{Dropped: map[producer.DropReason]uint64{producer.DropFull: 1}}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(prometheusaudit.New(func() producer.Stats { return s }))
	families, err := registry.Gather()
	require.NoError(t, err)
	doc, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	for _, f := range families {
		labels := []string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		require.Contains(t, string(doc), fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp()))
	}
	require.Equal(t, len(families), strings.Count(string(doc), "\n| `firetrail_producer_"))
}
