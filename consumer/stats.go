package consumer

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// State says what a worker is doing.
type State string

// The states.
const (
	Idle     State = "idle"     // Run was not called yet
	Starting State = "starting" // Run waits for the brokers, or for its topics
	Running  State = "running"  // it reads and writes
	Paused   State = "paused"   // the sink is away: nothing is read until it is back
	Stopping State = "stopping" // Run's context has ended, or it has failed; what is in flight is drained
	Stopped  State = "stopped"  // Run has returned
)

// Stats is what a worker did and how it stands. The counts are since New.
type Stats struct {
	Records    int64            // records read
	Stored     int64            // rows that were new to the sink
	Duplicates int64            // rows that the sink had already
	Expired    int64            // rows older than the retention, not stored
	Erased     int64            // rows that an erasure covers, not stored
	Conflicts  int64            // rows whose id the sink has with other content; they are letters too
	Letters    map[string]int64 // records that became letters, by reason (the dlq.Reason constants)

	Writes       int64     // writes that succeeded
	LastWrite    time.Time // when a write last succeeded; zero: none has yet
	WriteErrors  int64     // batches whose write failed, each try counted
	Commits      int64     // commits that succeeded
	CommitErrors int64     // commits that failed; they are tried again
	Rebalances   int64     // times that partitions were assigned to the worker or taken from it
	DataLosses   int64     // times the brokers had deleted or lost records that were to be read; what they still have is read
	Lost         int64     // offsets that the brokers had deleted before they were read

	Suspects     int   // rows that failed by themselves and wait for proof that they are poison
	TopicErrors  int64 // failures to write letters to their topic; they are tried again
	DirErrors    int64 // failures to write letters to their directory; they are tried again
	LateLetters  int   // letters that are safe and wait to be written in their other form
	HalfLetters  int64 // letters that stayed without their other form
	LedgerLost   int64 // letters that could not be noted in the sink's ledger: verify can't explain what is missing for them
	Redelivered  int64 // letters that the directory's retry engine could store
	Spilled      int64 // records put into the directory of letters to wait for their tenant's database
	AwayTenants  int   // tenants whose database is away: its circuit isn't closed
	AskedTenants int   // of these, such as are being asked whether they are back: their circuit is half-open

	// Circuit of the database; with one for each tenant, the one that has been open for longest.
	Circuit      Circuit
	CircuitTrips int64 // circuits that opened

	Pruned      int64     // rows that were deleted for being older than the retention
	PruneErrors int64     // prunes that failed; they are tried again
	LastPrune   time.Time // when a prune was last through, zero: none was yet

	InFlightBytes int64           // memory of what lies between fetch and commit
	Partitions    []PartitionStat // those assigned, by topic and number

	State  State
	Reason string    // of Starting and Paused
	Since  time.Time // when State began
}

func (s *Stats) waitForLetters() (n int) {
	for i := range s.Partitions {
		if s.Partitions[i].Paused == "letters" {
			n++
		}
	}
	return n
}

// PartitionStat is how a worker stands in one partition.
type PartitionStat struct {
	Topic     string
	Partition int32
	// Mark is the low-water mark: all records below are stored or letters. -1: nothing is yet.
	Mark int64
	// Committed is the last offset committed by this worker. -1: none yet.
	Committed int64
	// HighWatermark is the end of what can be read of the partition, as of the last fetch or check: an open
	// transaction ends it. -1: not known yet.
	HighWatermark int64
	// Lag is how many offsets lie between Mark, or the first record that is still there, and HighWatermark; -1 while
	// it is not known.
	Lag int64
	// Lost is how many offsets Kafka has deleted before they were read, since the partition was assigned.
	Lost int64
	// Oldest is the timestamp of the first record that is neither stored nor a letter; zero where there is none,
	// or it isn't known.
	Oldest time.Time
	// InFlightBytes is the memory of what is in flight.
	InFlightBytes int64
	// Paused says why it is paused by itself: "memory", "letters", or "" when it isn't.
	Paused string
}

// counters guards a Stats, of which it keeps the counts and the state.
type counters struct {
	mu sync.Mutex
	s  Stats
}

func (c *counters) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.s)
}

func (c *counters) letter(reason string) {
	c.count(func(s *Stats) {
		if s.Letters == nil {
			s.Letters = map[string]int64{}
		}
		s.Letters[reason]++
	})
}

func (c *counters) wrote(res sinkers.Result) {
	c.count(func(s *Stats) {
		s.Writes++
		s.LastWrite = time.Now()
		s.Stored += int64(res.Stored)
		s.Duplicates += int64(res.Duplicates)
		s.Expired += int64(res.Expired)
		s.Erased += int64(res.Erased)
		s.Conflicts += int64(len(res.Conflicts))
	})
}

func (c *counters) rebalanced() { c.count(func(s *Stats) { s.Rebalances++ }) }

// setState changes the state and reports whether that was a change of state, not only of reason.
func (c *counters) setState(to State, reason string) (changed bool) {
	c.count(func(s *Stats) {
		changed = s.State != to
		if changed {
			s.State, s.Since = to, time.Now()
		}
		s.Reason = reason
	})
	return changed
}

// Stats returns what the worker did and how it stands. It may be called at any time, from any goroutine.
func (w *Worker) Stats() Stats {
	w.stats.mu.Lock()
	s := w.stats.s
	s.Letters = maps.Clone(s.Letters)
	w.stats.mu.Unlock()
	w.flow.fill(&s)
	return s
}

// away counts a lane whose database is away.
func (s *Stats) away(l *lane) {
	if !l.away() {
		return
	}
	s.AwayTenants++
	c := l.shown
	if l.busy {
		s.AskedTenants++
		c.State = CircuitHalfOpen
	}
	if s.Circuit.State == CircuitClosed || c.Since.Before(s.Circuit.Since) {
		s.Circuit = c
	}
}

func (f *flow) fill(s *Stats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.InFlightBytes = f.bytes
	if f.lanes != nil {
		for _, l := range f.lanes.all {
			s.away(l)
		}
	}
	for _, p := range f.parts {
		st := PartitionStat{
			Topic: p.topic, Partition: p.partition, Mark: p.mark, Committed: p.committed,
			HighWatermark: p.high, Lag: -1, Lost: p.lost, Oldest: p.oldest(), InFlightBytes: p.bytes,
		}
		if lag, ok := p.lag(); ok {
			st.Lag = lag
		}
		switch {
		case p.waiting > 0:
			st.Paused = "letters"
		case p.over:
			st.Paused = "memory"
		}
		s.Partitions = append(s.Partitions, st)
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStat) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}
