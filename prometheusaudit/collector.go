package prometheusaudit

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/wal"
)

// metric is one metric without labels and how it is read.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*producer.Stats) float64
}

// Collector is the metrics of a producer, read from its Stats when they are asked for. It is safe for concurrent use.
type Collector struct {
	stats                   func() producer.Stats
	metrics                 []metric
	dropped, letters, bytes *prometheus.Desc
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns the metrics of the producer whose Stats method is given. Labels of all of them, such as the name of one
// of several producers in a process, are added with prometheus.WrapRegistererWith.
func New(stats func() producer.Stats) *Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("firetrail_producer_"+name, help, labels, nil)
	}
	count := func(name, help string, of func(*producer.Stats) uint64) metric {
		return metric{desc(name+"_total", help), prometheus.CounterValue, func(s *producer.Stats) float64 { return float64(of(s)) }}
	}
	gauge := func(name, help string, of func(*producer.Stats) float64) metric {
		return metric{desc(name, help), prometheus.GaugeValue, of}
	}
	return &Collector{
		stats: stats,
		metrics: []metric{
			count("fired", "Events given to Fire, and to Emit where it took them.", func(s *producer.Stats) uint64 { return s.Fired }),
			count("shipped", "Events of this run that the broker has acknowledged.", func(s *producer.Stats) uint64 { return s.Shipped }),
			count("reshipped", "Records of earlier runs that the broker has acknowledged.", func(s *producer.Stats) uint64 { return s.Reshipped }),
			count("unprotected", "Events that a kill -9 could have lost.", func(s *producer.Stats) uint64 { return s.Unprotected }),
			count("truncated", "Events of which something was cut or left out.", func(s *producer.Stats) uint64 { return s.Truncated }),
			count("letters", "Events that became dead letters, or letters that wait.", func(s *producer.Stats) uint64 { return s.Letters }),
			gauge("backlog_records", "Records in logs, not yet acknowledged.", func(s *producer.Stats) float64 { return float64(s.Backlog) }),
			gauge("missing_topics", "Topics of tenants that have events waiting, and that are not there.", func(s *producer.Stats) float64 { return float64(s.MissingTopics) }),
			gauge("parked_partitions", "Partitions whose events go to files at present.", func(s *producer.Stats) float64 { return float64(len(s.Parked)) }),
			gauge("wal_bytes", "Bytes that the log holds: files, ring and memory.", func(s *producer.Stats) float64 { return float64(s.Log.Bytes) }),
			gauge("wal_oldest_seconds", "Age of the oldest event that is not yet acknowledged, roughly; 0 where there is none.", func(s *producer.Stats) float64 { return s.OldestPending.Seconds() }),
			gauge("wal_degraded", "1 while the log can't be written and events are in memory alone.", func(s *producer.Stats) float64 {
				if s.State.State == wal.Healthy {
					return 0
				}
				return 1
			}),
			count("wal_lost_records", "Records found missing or unreadable in the log.", func(s *producer.Stats) uint64 { return s.Log.Lost }),
		},
		dropped: desc("dropped_total", "Events that were lost.", "reason"),
		letters: desc("dlq_letters", "Letters in the producer's directory.", "kind"),
		bytes:   desc("dlq_bytes", "Bytes of them.", "kind"),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		to <- m.desc
	}
	to <- c.dropped
	to <- c.letters
	to <- c.bytes
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	for _, m := range c.metrics {
		to <- prometheus.MustNewConstMetric(m.desc, m.kind, m.of(&s))
	}
	for reason, n := range s.Dropped {
		to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n), reason.String())
	}
	for kind, total := range map[dlq.Kind]dlq.Total{dlq.Waiting: s.Dir.Waiting, dlq.Dead: s.Dir.Dead, dlq.Damaged: s.Dir.Damaged} {
		to <- prometheus.MustNewConstMetric(c.letters, prometheus.GaugeValue, float64(total.Letters), kind.String())
		to <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(total.Bytes), kind.String())
	}
}
