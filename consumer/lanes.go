package consumer

import (
	"context"
	"time"
)

// Where each tenant has a database of its own, its records go a way of their own from the fetch to the commit: a
// lane. Of a lane one batch is in hand at a time, so that what was read first is stored first. Nobody sleeps
// with a lane in hand, so that a tenant whose database is away takes no place for longer than a write may last.
const (
	maxVisits   = 32 // lanes in hand at a time; and three quarters of the databases that may be open
	maxTroubled = 8  // of these, such as failed the last time; and a quarter of those databases
)

// lane is the way of one tenant's records. It is guarded by the flow's mutex, but for the visitor, which is used by
// whoever has the lane in hand.
type lane struct {
	tenant string
	queue  queue
	rest   *batch    // failed, and is tried again before the queue is
	again  time.Time // when the rest is due, or the suspects; zero: neither is there
	shown  Circuit   // its database's, as the last visit left it
	given  bool      // the rest was tried in an outage: for that no stop waits
	busy   bool      // in hand
	listed bool      // in lanes.due or sick
	visitor
}

// lanes are those with something in them. They are guarded by the flow's mutex.
type lanes struct {
	open     func(tenant string) *lane
	places   int // databases that may be open
	all      map[string]*lane
	due      []*lane // something is
	sick     []*lane // something is, of such as failed the last time
	busy     int
	troubled int   // of busy
	memory   int64 // of what is short of a batch
}

func newLanes(places int, open func(tenant string) *lane) *lanes {
	return &lanes{places: places, open: open, all: map[string]*lane{}}
}

// visits returns how many lanes may be in hand at a time.
func (ls *lanes) visits() int { return max(min(maxVisits, ls.places*3/4), 1) }

// full reports whether there are as many lanes in hand that failed the last time as there may be.
func (ls *lanes) full() bool { return ls.troubled >= max(min(maxTroubled, ls.places/4), 1) }

func (ls *lanes) add(it item, bytes int64, now time.Time) {
	tenant := string(it.rec.Key)
	l := ls.all[tenant]
	if l == nil {
		l = ls.open(tenant)
		ls.all[tenant] = l
	}
	before := l.queue.short()
	l.queue.add(it, bytes, now)
	ls.memory += l.queue.short() - before
}

const never = time.Duration(-1)

// dueIn says how long it is until something of l is due, or never.
func (l *lane) dueIn(now time.Time, hurry, closed bool) time.Duration {
	wait := never
	switch {
	case l.busy || l.listed || closed && l.given && l.rest != nil:
		return never
	case l.rest != nil:
		return max(l.again.Sub(now), 0)
	}
	if in, some := l.queue.dueIn(now, hurry); some {
		wait = in
	}
	if suspects := max(l.again.Sub(now), 0); !l.again.IsZero() && !closed && (wait == never || suspects < wait) {
		wait = suspects
	}
	return wait
}

// takeLane waits for a lane in which something is due and puts it into the caller's hands, with the batch that is; nil
// when it is the suspects. It returns errClosed when nothing more will come.
func (f *flow) takeLane(ctx context.Context) (*lane, *batch, error) {
	for {
		l, b, wait, err := f.dueLane(time.Now())
		if l != nil || err != nil {
			return l, b, err
		}
		if err := sleepOr(ctx, wait, f.wake); err != nil {
			return nil, nil, err
		}
	}
}

func (f *flow) dueLane(now time.Time) (*lane, *batch, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ls := f.lanes
	// See due. Here it is half of the memory, since a lane's batch costs the more, the smaller it is: opening a
	// database takes as long as storing hundreds of rows.
	hurry := f.closed || ls.memory*2 >= f.limit
	var wait time.Duration
	l := ls.next()
	if l == nil {
		wait = ls.list(now, hurry, f.closed)
		l = ls.next()
	}
	switch {
	case l != nil:
		return l, ls.take(l, now, hurry), 0, nil
	case f.closed && ls.busy == 0 && len(ls.sick) == 0 && wait == 0:
		return nil, nil, 0, errClosed
	}
	return nil, nil, wait, nil
}

// next takes the next lane from the lists; nil when there is none that may be visited.
func (ls *lanes) next() (l *lane) {
	switch {
	case len(ls.sick) > 0 && !ls.full():
		l, ls.sick = ls.sick[0], ls.sick[1:]
	case len(ls.due) > 0:
		l, ls.due = ls.due[0], ls.due[1:]
	}
	return l
}

// list notes the lanes in which something is due, and returns how long it is until something is in the others; 0 when
// nobody knows.
func (ls *lanes) list(now time.Time, hurry, closed bool) (wait time.Duration) {
	for _, l := range ls.all {
		switch in := l.dueIn(now, hurry, closed); {
		case in == 0:
			l.listed = true
			if l.inTrouble() {
				ls.sick = append(ls.sick, l)
			} else {
				ls.due = append(ls.due, l)
			}
		case in > 0 && (wait == 0 || in < wait):
			wait = in
		}
	}
	return wait
}

func (l *lane) inTrouble() bool { return l.rest != nil || l.away() }

func (l *lane) away() bool { return l.shown.State != CircuitClosed }

func (ls *lanes) take(l *lane, now time.Time, hurry bool) (b *batch) {
	l.listed, l.busy, l.troubled = false, true, l.inTrouble()
	ls.busy++
	if l.troubled {
		ls.troubled++
	}
	if l.rest != nil {
		b, l.rest = l.rest, nil
		return b
	}
	before := l.queue.short()
	b, _ = l.queue.next(now, hurry)
	ls.memory += l.queue.short() - before
	return b
}

// putLane takes a lane out of the caller's hands, as the visit left it. One with nothing in it is forgotten. Where batches are
// spilled one whose database is away isn't, so that those to come are spilled too; elsewhere it has something in it, unless that
// went to another worker.
func (f *flow) putLane(l *lane, left leftover) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.busy = false
	l.rest, l.again, l.given = left.rest, left.again, left.given
	l.shown = l.circuit.Circuit
	f.lanes.busy--
	if l.troubled {
		f.lanes.troubled--
	}
	if l.rest == nil && l.again.IsZero() && l.queue.empty() && (!l.away() || l.cfg.OnOutage != Spill) {
		delete(f.lanes.all, l.tenant)
	}
	signal(f.wake)
}

// back says that a tenant's database was reached in another way: there is no use in waiting any longer.
func (f *flow) back(tenant string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lanes.all[tenant]
	if l == nil || l.busy {
		return
	}
	l.shown = Circuit{State: CircuitClosed}
	l.circuit.close()
	if !l.again.IsZero() {
		l.again = time.Now()
	}
	signal(f.wake)
}
