package producer

import (
	"fmt"
	"sync/atomic"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

// errTenantFull: one tenant's events have the room in the log that one tenant may have.
var errTenantFull = fmt.Errorf("producer: the tenant's share of the log: %w", wal.ErrFull)

// held is what waits in the log of the events of a sequence. It is kept only where Config.MaxTenantBytes is set.
type held struct {
	bytes atomic.Int64
	log   *wal.Log // of the last of them,
	last  uint64   // which has this sequence there
}

// mayHold reports whether the log may hold one more event of a sequence. It is called under mu.
func (p *Producer) mayHold(s *sequence, size int) bool {
	most := p.cfg.MaxTenantBytes
	if most == 0 || s.held.bytes.Load()+int64(size) <= most || s == &p.sequences.invalid {
		return true
	}
	if s.held.log != p.log || p.log.Stats().Released < s.held.last {
		return false
	}
	s.held.bytes.Store(0) // what is left was lost in the log, so that nobody has given it back
	return int64(size) <= most
}

// hold notes that the log holds one more event of a sequence. It is called under mu.
func (p *Producer) hold(s *sequence, at place, size int) {
	if p.cfg.MaxTenantBytes > 0 {
		s.held.bytes.Add(int64(size))
		s.held.log, s.held.last = at.log, at.seq
	}
}

// holder returns where a record of a log is counted, nil where it isn't: it is an earlier run's, its sequence is
// over, or nothing is counted.
func (p *Producer) holder(r wal.Record) *held {
	if p.cfg.MaxTenantBytes == 0 || r.Type != recordEvent {
		return nil
	}
	head, err := firetrail.ReadBinaryHead(r.Payload)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sequences.byTenant[string(head.Tenant)]; s != nil && s.source == string(head.Source) {
		return &s.held
	}
	return nil
}

// giveBack notes that the log is to release a record, before it is told so.
func (h *held) giveBack(size int) {
	if h != nil {
		h.bytes.Add(-int64(size))
	}
}
