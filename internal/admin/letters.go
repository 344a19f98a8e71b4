package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/firetrail/firetrail/dlq"
)

// Letters is the metrics of a directory of letters, read from its Stats when they are asked for.
type Letters struct {
	stats                           func() dlq.DirStats
	letters, bytes, discarded, lost *prometheus.Desc
}

var _ prometheus.Collector = (*Letters)(nil)

// NewLetters returns the metrics of the directory whose Stats are given.
func NewLetters(stats func() dlq.DirStats) *Letters {
	return &Letters{
		stats:     stats,
		letters:   desc("firetrail_dlq_letters", "Letters in the directory: waiting to be tried again, dead, or in damaged files.", "kind"),
		bytes:     desc("firetrail_dlq_bytes", "Bytes of them.", "kind"),
		discarded: desc("firetrail_dlq_discarded_total", "Dead letters discarded over budget, which the topic has."),
		lost:      desc("firetrail_dlq_lost_total", "Letters missing from damaged files, as far as that is known."),
	}
}

// Describe implements prometheus.Collector.
func (l *Letters) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.letters, l.bytes, l.discarded, l.lost} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (l *Letters) Collect(to chan<- prometheus.Metric) {
	s := l.stats()
	for kind, total := range map[dlq.Kind]dlq.Total{dlq.Waiting: s.Waiting, dlq.Dead: s.Dead, dlq.Damaged: s.Damaged} {
		to <- prometheus.MustNewConstMetric(l.letters, prometheus.GaugeValue, float64(total.Letters), kind.String())
		to <- prometheus.MustNewConstMetric(l.bytes, prometheus.GaugeValue, float64(total.Bytes), kind.String())
	}
	to <- prometheus.MustNewConstMetric(l.discarded, prometheus.CounterValue, float64(s.Discarded))
	to <- prometheus.MustNewConstMetric(l.lost, prometheus.CounterValue, float64(s.Lost))
}
