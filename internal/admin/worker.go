package admin

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
)

// counter is a count of a worker's and how it is read.
type counter struct {
	desc *prometheus.Desc
	of   func(*consumer.Stats) int64
}

// gauge is a value of a worker's without labels and how it is read.
type gauge struct {
	desc *prometheus.Desc
	of   func(s *consumer.Stats, now time.Time) float64
}

// Worker is the metrics of a worker. Its counts are read from the worker's Stats when they are asked for; the times are
// observed as batches are stored.
type Worker struct {
	stats    func() consumer.Stats
	counters []counter

	gauges []gauge

	letters, lagRecords, lagSeconds, pausedPartitions, circuits, state *prometheus.Desc

	write, batch, endToEnd prometheus.Histogram
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
	value := func(name, help string, of func(*consumer.Stats, time.Time) float64) gauge {
		return gauge{desc("firetrail_worker_"+name, help), of}
	}
	return &Worker{
		stats: stats,
		gauges: []gauge{
			value("in_flight_bytes", "Memory of what was read and is not yet stored.", func(s *consumer.Stats, _ time.Time) float64 { return float64(s.InFlightBytes) }),
			value("suspects", "Events that failed by themselves and wait for proof that they are at fault.", func(s *consumer.Stats, _ time.Time) float64 { return float64(s.Suspects) }),
			value("late_letters", "Letters that are safe and wait to be written in their other form.", func(s *consumer.Stats, _ time.Time) float64 { return float64(s.LateLetters) }),
			value("circuit_open_seconds", "For how long the database, or of several the first, has been away; 0 where none is.", func(s *consumer.Stats, now time.Time) float64 {
				if s.Circuit.State == consumer.CircuitClosed {
					return 0
				}
				return since(s.Circuit.Since, now)
			}),
			value("last_write_timestamp_seconds", "When a write last succeeded, in Unix time; 0 where none has.", func(s *consumer.Stats, _ time.Time) float64 { return unix(s.LastWrite) }),
			value("last_prune_timestamp_seconds", "When a prune was last through, in Unix time; 0 where none was.", func(s *consumer.Stats, _ time.Time) float64 { return unix(s.LastPrune) }),
		},
		counters: []counter{
			count("records", "Records read from Kafka.", func(s *consumer.Stats) int64 { return s.Records }),
			count("stored", "Events that were new in the database.", func(s *consumer.Stats) int64 { return s.Stored }),
			count("duplicates", "Events that were in the database already.", func(s *consumer.Stats) int64 { return s.Duplicates }),
			count("expired", "Events older than the retention, not stored.", func(s *consumer.Stats) int64 { return s.Expired }),
			count("erased", "Events that an erasure covers, not stored.", func(s *consumer.Stats) int64 { return s.Erased }),
			count("conflicts", "Events whose id is stored with other content.", func(s *consumer.Stats) int64 { return s.Conflicts }),
			count("writes", "Writes that succeeded.", func(s *consumer.Stats) int64 { return s.Writes }),
			count("write_errors", "Writes that failed, each try counted.", func(s *consumer.Stats) int64 { return s.WriteErrors }),
			count("commits", "Commits of offsets that succeeded.", func(s *consumer.Stats) int64 { return s.Commits }),
			count("rebalances", "Times that partitions were assigned to the worker or taken from it.", func(s *consumer.Stats) int64 { return s.Rebalances }),
			count("circuit_trips", "Times that a database was found to be away.", func(s *consumer.Stats) int64 { return s.CircuitTrips }),
			count("half_letters", "Letters that stayed without their other form, topic or file.", func(s *consumer.Stats) int64 { return s.HalfLetters }),
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
		letters:          desc("firetrail_worker_letters_total", "Records that became dead letters.", "reason"),
		lagRecords:       desc("firetrail_worker_lag_records", "Records between what is stored or a letter and the end of the partition.", "topic", "partition"),
		lagSeconds:       desc("firetrail_worker_lag_seconds", "Age of the oldest record that is neither stored nor a letter; 0 where there is none.", "topic", "partition"),
		pausedPartitions: desc("firetrail_worker_paused_partitions", "Partitions that are not fetched by themselves: for memory, or for letters that can't be written.", "reason"),
		circuits:         desc("firetrail_worker_circuits", "Databases that are away, one or those of tenants: open, or half_open while being asked whether they are back.", "state"),
		state:            desc("firetrail_worker_state", "1 for what the worker is doing now: idle, starting, running, paused, stopping or stopped.", "state"),
		write: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firetrail_worker_write_seconds", Help: "Time that a write to the database took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 17), // to 65 s
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firetrail_worker_batch_rows", Help: "Events of a write.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 9), // to 65,536
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
	w.batch.Observe(float64(len(b.Rows)))
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
	for _, g := range w.gauges {
		to <- g.desc
	}
	for _, d := range []*prometheus.Desc{w.letters, w.lagRecords, w.lagSeconds, w.pausedPartitions, w.circuits, w.state} {
		to <- d
	}
	w.write.Describe(to)
	w.batch.Describe(to)
	w.endToEnd.Describe(to)
}

// away returns how many databases are away, and not being asked or being asked whether they are back.
func away(s *consumer.Stats) (open, asked int) {
	if s.AwayTenants > 0 {
		return s.AwayTenants - s.AskedTenants, s.AskedTenants
	}
	switch s.Circuit.State {
	case consumer.CircuitOpen:
		open = 1
	case consumer.CircuitHalfOpen:
		asked = 1
	}
	return open, asked
}

func since(t, now time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(now.Sub(t), 0).Seconds()
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// reasons are those for which a worker makes letters.
var reasons = []string{dlq.ReasonUndecodable, dlq.ReasonInvalid, dlq.ReasonTenantMismatch, dlq.ReasonConflict, dlq.ReasonRefused}

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
	letters := map[string]int64{}
	for _, reason := range reasons { // there from the start, so that the first is an increase
		letters[reason] = 0
	}
	maps.Copy(letters, s.Letters)
	for reason, n := range letters {
		to <- prometheus.MustNewConstMetric(w.letters, prometheus.CounterValue, float64(n), reason)
	}
	for _, l := range lags(s.Partitions, now) {
		gauge(w.lagRecords, l.records, l.topic, l.partition)
		if l.timed {
			gauge(w.lagSeconds, l.seconds, l.topic, l.partition)
		}
	}
	for _, g := range w.gauges {
		gauge(g.desc, g.of(&s, now))
	}
	paused := map[string]int{"memory": 0, "letters": 0}
	for _, p := range s.Partitions {
		if p.Paused != "" {
			paused[p.Paused]++
		}
	}
	for reason, n := range paused {
		gauge(w.pausedPartitions, float64(n), reason)
	}
	open, asked := away(&s)
	gauge(w.circuits, float64(open), string(consumer.CircuitOpen))
	gauge(w.circuits, float64(asked), string(consumer.CircuitHalfOpen))
	for _, state := range states {
		is := 0.0
		if s.State == state {
			is = 1
		}
		gauge(w.state, is, string(state))
	}
	w.write.Collect(to)
	w.batch.Collect(to)
	w.endToEnd.Collect(to)
}
