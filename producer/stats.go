package producer

import (
	"time"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// Stats is a producer's state in numbers. Counts are since New.
type Stats struct {
	Fired         uint64                // events given to Fire, and to Emit where it took them
	Shipped       uint64                // events of this run that the broker has acknowledged
	Recovered     uint64                // records of earlier runs that were found in logs: events, and ends of sources
	Reshipped     uint64                // of those, the ones the broker has acknowledged
	Unprotected   uint64                // events of this run that a kill -9 could have lost
	Truncated     uint64                // events of which something was cut or left out
	Letters       uint64                // events that became dead letters, or letters that wait
	Dropped       map[DropReason]uint64 // events that were lost, by reason; reasons without any are left out
	Backlog       uint64                // records in logs, not yet acknowledged: events, and ends of sources
	Tenants       int                   // of which it is known how many events they have had; see Config.MaxTenants
	Closings      uint64                // sources of a tenant that ended: at Close, or to bound memory
	LostEnds      uint64                // of those, the ones that look as after a crash, since their end could be kept nowhere
	OldestPending time.Duration         // age of the oldest event in logs that is not yet acknowledged, roughly; 0 where there is none
	Parked        []Parked              // partitions whose events go to files at present
	ParkedEvents  uint64                // events that went to files for that; they are in Letters too
	MissingTopics int                   // topics of tenants that have events waiting, and that are not there; see Config.TopicPrefix
	State         wal.StateChange       // of the log: Healthy, or why not and since when
	Log           wal.Stats             // the log that events go to now
	Dir           dlq.DirStats          // the directory of letters
}

// DroppedEvents is the sum of Dropped.
func (s Stats) DroppedEvents() (n uint64) {
	for _, d := range s.Dropped {
		n += d
	}
	return n
}

// Stats returns the producer's state in numbers.
func (p *Producer) Stats() Stats {
	if p == nil {
		return Stats{State: wal.StateChange{State: wal.Closed}}
	}
	s := Stats{
		Fired: p.fired.Load(), Shipped: p.shipped.Load(), Recovered: p.recovered.Load(), Reshipped: p.reshipped.Load(),
		Unprotected: p.unprotected.Load(), Truncated: p.truncated.Load(), Dropped: map[DropReason]uint64{}, Closings: p.closings.Load(), LostEnds: p.lostEnds.Load(),
	}
	for i := range p.drops.counts {
		if n := p.drops.counts[i].Load(); n > 0 {
			s.Dropped[DropReason(i)] = n
		}
	}
	p.mu.Lock()
	log, standIn := p.log, p.standIn
	s.Tenants = p.sequences.len()
	p.mu.Unlock()
	s.Log = log.Stats()
	s.State = s.Log.StateChange
	if standIn && s.State.State != wal.Closed {
		s.State = p.logs.openFailure()
	}
	for _, l := range p.logs.all() {
		ls := l.log.Stats()
		s.Backlog += ls.Next - 1 - ls.Released
	}
	s.OldestPending = p.oldestPending()
	s.Parked, s.ParkedEvents = p.parked.stats()
	s.MissingTopics = p.routes.missingTopics()
	s.Letters, s.Dir = p.letters.stats()
	return s
}
