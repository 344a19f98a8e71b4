package admin

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firetrail/firetrail/consumer"
)

// counter is a count of a worker's and how it is read.
type counter struct {
	desc *prometheus.Desc
	of   func(*consumer.Stats) int64
}

// Worker is the metrics of a worker. Its counts are read from the worker's Stats when they are asked for; the times are
// observed as batches are stored.
type Worker struct {
	stats    func() consumer.Stats
	counters []counter

	letters, lagRecords, lagSeconds, inFlight, state *prometheus.Desc

	write, endToEnd prometheus.Histogram
}

var _ prometheus.Collector = (*Worker)(nil)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// NewWorker returns the metrics of the worker whose Stats are given.
func NewWorker(stats func() consumer.Stats) *Worker {
	count := func(name, help string, of func(*consumer.Stats) int64) counter {
		return counter{desc("firetrail_worker_"+name+"_total", help), of}
	}
	return &Worker{
		stats: stats,
		counters: []counter{
			count("records", "Records read from Kafka.", func(s *consumer.Stats) int64 { return s.Records }),
			count("stored", "Events that were new in the database.", func(s *consumer.Stats) int64 { return s.Stored }),
			count("duplicates", "Events that were in the database already.", func(s *consumer.Stats) int64 { return s.Duplicates }),
			count("expired", "Events older than the retention, not stored.", func(s *consumer.Stats) int64 { return s.Expired }),
			count("erased", "Events that an erasure covers, not stored.", func(s *consumer.Stats) int64 { return s.Erased }),
			count("conflicts", "Events whose id is stored with other content.", func(s *consumer.Stats) int64 { return s.Conflicts }),
			count("writes", "Writes that succeeded.", func(s *consumer.Stats) int64 { return s.Writes }),
			count("write_errors", "Writes that failed, each try counted.", func(s *consumer.Stats) int64 { return s.WriteErrors }),
			count("commit_errors", "Commits that failed; they are tried again.", func(s *consumer.Stats) int64 { return s.CommitErrors }),
			count("data_losses", "Times that Kafka had deleted or lost records that were to be read.", func(s *consumer.Stats) int64 { return s.DataLosses }),
			count("lost", "Records that Kafka had deleted before they were read.", func(s *consumer.Stats) int64 { return s.Lost }),
			count("letter_errors", "Failures to write letters to their topic or directory; they are tried again.", func(s *consumer.Stats) int64 { return s.TopicErrors + s.DirErrors }),
			count("redelivered", "Letters that could be stored after all.", func(s *consumer.Stats) int64 { return s.Redelivered }),
			count("ledger_lost", "Letters that could not be noted in the database's ledger.", func(s *consumer.Stats) int64 { return s.LedgerLost }),
			count("spilled", "Records put into files to wait for their tenant's database.", func(s *consumer.Stats) int64 { return s.Spilled }),
			count("pruned", "Events deleted for being older than the retention.", func(s *consumer.Stats) int64 { return s.Pruned }),
			count("prune_errors", "Prunes that failed; they are tried again.", func(s *consumer.Stats) int64 { return s.PruneErrors }),
		},
		letters:    desc("firetrail_worker_letters_total", "Records that became dead letters.", "reason"),
		lagRecords: desc("firetrail_worker_lag_records", "Records between what is stored or a letter and the end of the partition.", "topic", "partition"),
		lagSeconds: desc("firetrail_worker_lag_seconds", "Age of the oldest record that is neither stored nor a letter; 0 where there is none.", "topic", "partition"),
		inFlight:   desc("firetrail_worker_in_flight_bytes", "Memory of what was read and is not yet stored."),
		state:      desc("firetrail_worker_state", "1 for what the worker is doing now: idle, starting, running, paused, stopping or stopped.", "state"),
		write: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firetrail_worker_write_seconds", Help: "Time that a write to the database took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 17), // to 65 s
		}),
		endToEnd: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firetrail_worker_end_to_end_seconds", Help: "Time from the producer's taking an event to its being committed; of each batch, one event in 64 and the last.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 20), // to 44 minutes
		}),
	}
}

// sampling is one in how many events of a batch its end-to-end time is taken of.
const sampling = 64

// Observe takes note of a batch: it is for consumer.Config.OnBatch.
func (w *Worker) Observe(b consumer.BatchReport) {
	w.write.Observe(b.Duration.Seconds())
	if !b.Committed {
		return
	}
	now := time.Now()
	for i := range b.Rows {
		if i%sampling != 0 && i != len(b.Rows)-1 {
			continue
		}
		if r := b.Rows[i].Recorded; !r.IsZero() {
			w.endToEnd.Observe(max(now.Sub(r), 0).Seconds())
		}
	}
}

// Describe implements prometheus.Collector.
func (w *Worker) Describe(to chan<- *prometheus.Desc) {
	for _, c := range w.counters {
		to <- c.desc
	}
	for _, d := range []*prometheus.Desc{w.letters, w.lagRecords, w.lagSeconds, w.inFlight, w.state} {
		to <- d
	}
	w.write.Describe(to)
	w.endToEnd.Describe(to)
}

var states = []consumer.State{consumer.Idle, consumer.Starting, consumer.Running, consumer.Paused, consumer.Stopping, consumer.Stopped}

// Collect implements prometheus.Collector.
func (w *Worker) Collect(to chan<- prometheus.Metric) {
	s := w.stats()
	now := time.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, c := range w.counters {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.of(&s)))
	}
	for reason, n := range s.Letters {
		to <- prometheus.MustNewConstMetric(w.letters, prometheus.CounterValue, float64(n), reason)
	}
	for _, p := range s.Partitions {
		if p.Lag < 0 {
			continue // not known yet
		}
		partition := strconv.Itoa(int(p.Partition))
		gauge(w.lagRecords, float64(p.Lag), p.Topic, partition)
		if p.Lag == 0 || !p.Oldest.IsZero() {
			seconds := 0.0
			if p.Lag > 0 {
				seconds = max(now.Sub(p.Oldest), 0).Seconds()
			}
			gauge(w.lagSeconds, seconds, p.Topic, partition)
		}
	}
	gauge(w.inFlight, float64(s.InFlightBytes))
	for _, state := range states {
		is := 0.0
		if s.State == state {
			is = 1
		}
		gauge(w.state, is, string(state))
	}
	w.write.Collect(to)
	w.endToEnd.Collect(to)
}
