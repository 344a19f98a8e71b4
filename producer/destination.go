package producer

import (
	"context"
	"time"
)

// destination is where records go: a partition of the one topic, or a tenant's topic. Order is kept for each by itself, and none that is away
// keeps the others waiting: its records are passed over then, and read again from the log, which is the queue, when
// it is back.
type destination struct {
	route     *route // to its topic
	tenant    string // whose topic it is; with topics of tenants
	partition int32

	// What follows is the shipper's alone.
	among     int             // partitions, of which partition was chosen; 0: it isn't known yet, and nothing is sent
	at        target          // that brakes knows it by
	listed    bool            // with topics of tenants: it is one of shipper.destinations
	used      bool            // with topics of tenants: since unused ones were looked for last
	behind    uint64          // the first record that was passed over; 0: all that was read was handed over
	following bool            // the second cursor is before, or at, the first record that was passed over
	ctx       context.Context // of all its records: that of the first in a batch counts for all of the partition's
	cancel    context.CancelFunc
	last      uint64    // the highest record handed over
	aloneTo   uint64    // records up to it are sent one at a time, until the one that the broker refuses is found
	culprit   uint64    // it was refused, alone,
	why       error     // for this
	notBefore time.Time // nothing is sent before
	backoff   time.Duration
	parked    *parking
	noParking time.Time // it is not parked before

	// What follows is under the window's lock.
	held        hold
	alone       bool      // what is in flight was sent alone
	failed      uint64    // lowest record that came back; 0 is none
	err         error     // why
	lastErr     error     // why something came back last; nil once something was acknowledged
	failedAlone bool      // it had been sent alone
	acked       time.Time // when something was acknowledged last
	since       time.Time // since when there has been something to send and nothing was acknowledged; zero is no such time
}

// hold is a number of records and their size.
type hold struct {
	records int
	bytes   int64
}

// share divides what may be in flight among the destinations. Half of it is reserved, in equal parts, so that each
// always has something; from the other half they borrow, up to a quarter of the whole each.
type share struct {
	reserve, most, pool hold
	ceiling             hold // of all together; zero: the sum of the others is one
}

func newShare(records int, bytes int64, destinations int) share {
	if destinations == 1 {
		return share{reserve: hold{records, bytes}}
	}
	return share{
		reserve: hold{max(1, records/2/destinations), max(1, bytes/2/int64(destinations))},
		most:    hold{max(1, records/4), max(1, bytes/4)},
		pool:    hold{records / 2, bytes / 2},
	}
}

// room reports whether a destination may hold one more record of a size. One with nothing in flight may.
func (s *share) room(d *destination, lent *hold, size int) bool {
	records, bytes := d.held.records+1, d.held.bytes+int64(size)
	switch {
	case d.held.records == 0 || records <= s.reserve.records && bytes <= s.reserve.bytes:
		return true
	case records > s.most.records || bytes > s.most.bytes:
		return false
	default:
		return lent.records < s.pool.records && lent.bytes < s.pool.bytes
	}
}

func (s *share) take(d *destination, lent *hold, size int) {
	s.lend(d, lent, -1)
	d.held.records++
	d.held.bytes += int64(size)
	s.lend(d, lent, 1)
}

func (s *share) giveBack(d *destination, lent *hold, size int) {
	s.lend(d, lent, -1)
	d.held.records--
	d.held.bytes -= int64(size)
	s.lend(d, lent, 1)
}

// lend adds what a destination holds beyond its reserve to lent, or takes it off.
func (s *share) lend(d *destination, lent *hold, sign int) {
	lent.records += sign * max(0, d.held.records-s.reserve.records)
	lent.bytes += int64(sign) * max(0, d.held.bytes-s.reserve.bytes)
}

// pass notes that a record was passed over.
func (d *destination) pass(seq uint64) {
	if d.behind == 0 || seq < d.behind {
		d.behind = seq
	}
	d.following = false
}

// braked reports whether what is handed over comes back.
func (d *destination) braked() bool { return d.ctx == nil || d.ctx.Err() != nil }

// stop has what is in flight come back.
func (d *destination) stop() {
	if d.cancel != nil {
		d.cancel()
	}
}

// renew gives the destination a context that has not ended.
func (d *destination) renew() {
	d.stop()
	d.ctx, d.cancel = context.WithCancel(context.Background())
}
