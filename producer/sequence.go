package producer

import (
	"strconv"
	"strings"

	"github.com/firetrail/firetrail"
)

// sequence counts the events of one (source, tenant).
type sequence struct {
	tenant string
	source string
	seq    uint64 // of the last event
	used   bool   // since the hand last came by
	held   held
}

// sequences is the table of them, of a run: a tenant has at most one at a time. It holds at most max; beyond that
// a tenant that was not heard of lately makes room, and where it comes back it has a new source. It is a clock with
// one hand, which is nearly the least recently used and costs an event of a known tenant one look into a map.
// It is not safe for concurrent use.
type sequences struct {
	run      string
	max      int
	byTenant map[string]*sequence
	clock    []*sequence
	hand     int
	evicted  uint64
	invalid  sequence // of all tenants whose name is not valid: their events become letters, never rows
}

// maxLooks is how many sequences the hand passes over before it takes one that was used all the same, so that
// no caller of Fire waits for a whole round.
const maxLooks = 64

func newSequences(run string, max int) *sequences {
	return &sequences{run: run, max: max, byTenant: map[string]*sequence{}, invalid: sequence{source: run}}
}

// of returns the sequence of a tenant. The one that made room for it, if any, is over, and is to be closed.
func (t *sequences) of(tenant string) (s, over *sequence) {
	if s = t.byTenant[tenant]; s != nil {
		s.used = true
		return s, nil
	}
	if firetrail.ValidateTenant(tenant) != nil {
		return &t.invalid, nil
	}
	s = &sequence{tenant: strings.Clone(tenant), source: t.run} // the caller's string may be a part of something large
	if len(t.clock) < t.max {
		t.clock = append(t.clock, s)
	} else {
		over = t.evict(s)
	}
	if t.evicted > 0 { // it may have been here before: nobody remembers who was
		s.source += "-" + strconv.FormatUint(t.evicted, 10)
	}
	t.byTenant[s.tenant] = s
	return s, over
}

// evict puts s in the place of another.
func (t *sequences) evict(s *sequence) (over *sequence) {
	for range min(maxLooks, len(t.clock)) {
		if !t.clock[t.hand].used {
			break
		}
		t.clock[t.hand].used = false
		t.hand = (t.hand + 1) % len(t.clock)
	}
	over, t.clock[t.hand] = t.clock[t.hand], s
	t.hand = (t.hand + 1) % len(t.clock)
	delete(t.byTenant, over.tenant)
	t.evicted++
	return over
}

// take removes a sequence from the table; nil where there is none.
func (t *sequences) take() *sequence {
	if len(t.clock) == 0 {
		return nil
	}
	last := len(t.clock) - 1
	s := t.clock[last]
	t.clock[last], t.clock = nil, t.clock[:last]
	t.hand = 0
	delete(t.byTenant, s.tenant)
	return s
}

func (t *sequences) len() int { return len(t.clock) }
