package producer

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// tenants are the destinations of a shipper where each tenant has a topic of its own: one for each tenant, since all
// records of a tenant have one key. Only those that something is to be done for are among shipper.destinations; one
// whose topic isn't there costs nothing until it is.
type tenants struct {
	of       map[string]*destination
	others   *destination // of those that there is no room for in the map; nothing is ever sent to it
	news     uint64       // of the routes, as of when they were looked at last
	again    bool         // they are to be looked at again, since something is in flight still
	shared   int          // for how many destinations what may be in flight is divided
	swept    time.Time    // when room was made last
	parked   int          // how many are parked
	loggedAt time.Time
}

// maxParked is how many tenants of a log are parked at a time: each is read for by itself. Others wait in the log.
const maxParked = 32

// minShare and minShareBytes are reserved for each, however many there are: who has less is passed over, and read again.
const (
	minShare      = 8
	minShareBytes = 16 << 10
)

// lookEvery is how often destinations are looked through: less often where they are many.
func (t *tenants) lookEvery() time.Duration {
	if t == nil {
		return lookEvery
	}
	return lookEvery * time.Duration(1+len(t.of)/1000)
}

// steer begins, at the first call, and has the destinations follow what is known of their topics.
func (s *shipper) steer(ctx context.Context) {
	if s.tenants == nil {
		s.tenants = &tenants{of: map[string]*destination{}, others: &destination{listed: true}}
		s.destinations = []*destination{s.tenants.others}
		s.divide()
		s.first.seek(s.window.mark() + 1)
		s.findParked(ctx)
	}
	t := s.tenants
	news := s.p.routes.news.Load()
	if news == t.news && !t.again {
		return
	}
	t.news, t.again = news, false
	for _, d := range t.of {
		partitions := d.route.shape()
		if partitions == d.among {
			continue
		}
		d.among = 0 // nothing more is sent until what is in flight has landed: the partition may be another
		if s.window.holds(d) {
			t.again = true
			continue
		}
		s.aim(d, partitions)
		if d.behind != 0 {
			s.list(d)
		}
	}
}

// aim chooses a destination's partition. Nothing of it is in flight.
func (s *shipper) aim(d *destination, partitions int) {
	if partitions != 0 {
		d.partition = s.p.routes.partition([]byte(d.tenant), partitions)
		s.p.brakes.release(d)
		d.among = partitions
	}
}

// divide divides what may be in flight among the destinations, anew whenever they have become twice as many. No
// destination may have much of it, so that it takes many that hang to slow the others down.
func (s *shipper) divide() {
	t := s.tenants
	if len(t.of) < t.shared {
		return
	}
	t.shared = max(16, 2*t.shared)
	records := s.p.cfg.MaxInFlight
	share := newShare(records, maxInFlightBytes, t.shared)
	share.most = hold{max(1, records/16), maxInFlightBytes / 16}
	share.reserve = hold{min(max(minShare, share.reserve.records), share.most.records), max(minShareBytes, share.reserve.bytes)}
	share.ceiling = hold{4 * records, 4 * maxInFlightBytes}
	s.window.reshare(share, s.all())
}

// ofTenant is destinationOf with topics of tenants. A tenant that there is no room for is one of the others. While any
// of theirs has been passed over, only the second cursor makes room for a new one, which comes by in order. Nil is
// nowhere: the record is done.
func (s *shipper) ofTenant(tenant []byte, seq uint64, second bool) *destination {
	t := s.tenants
	d := t.of[string(tenant)]
	if d == nil {
		o := t.others
		inOrder := o.behind == 0
		if second {
			inOrder = o.following && seq >= o.behind
		}
		switch {
		case !inOrder:
			return o
		case second && s.window.settled(seq): // somebody's who had room before
			return nil
		case !s.room():
			if second { // all before have room, or had it
				o.behind = seq
			}
			return o
		}
		d = s.add(string(tenant))
		if second {
			d.behind, d.following = seq, true
		}
	}
	d.used = true
	s.list(d)
	return d
}

// add makes a destination.
func (s *shipper) add(tenant string) *destination {
	d := &destination{tenant: tenant, route: s.p.routes.take(s.p.routes.topic(tenant), tenant)}
	s.tenants.of[tenant] = d
	s.divide()
	s.aim(d, d.route.shape()) // it is known where another log's events go there
	return d
}

// list has a destination looked after.
func (s *shipper) list(d *destination) {
	if !d.listed {
		d.listed = true
		s.destinations = append(s.destinations, d)
	}
}

// unlist has destinations looked after no more that there is nothing to do for.
func (s *shipper) unlist() {
	if s.tenants == nil {
		return
	}
	s.destinations = slices.DeleteFunc(s.destinations, func(d *destination) bool {
		if d != s.tenants.others && d.parked == nil && (d.behind == 0 && !d.braked() || d.among == 0) && !s.window.holds(d) {
			d.listed = false
		}
		return !d.listed
	})
	if s.tenants.others.behind != 0 {
		s.room()
	}
}

// room reports whether there is room for one more tenant, which it makes from time to time where it can: of tenants for
// whom there is nothing to do, those that had no events lately are forgotten, or else all.
func (s *shipper) room() bool {
	t := s.tenants
	most := s.p.cfg.MaxTenants
	if len(t.of) < most {
		return true
	}
	now := time.Now()
	if now.Sub(t.swept) < lookEvery {
		return false
	}
	t.swept = now
	for range 2 {
		if len(t.of) < most {
			return true
		}
		for tenant, d := range t.of {
			if d.used {
				d.used = false
			} else if d.behind == 0 && d.parked == nil && !s.window.holds(d) {
				delete(t.of, tenant)
				s.p.brakes.forget(d)
				s.p.routes.giveBack(d.route)
				d.listed = false
			}
		}
		s.destinations = slices.DeleteFunc(s.destinations, func(d *destination) bool { return !d.listed })
	}
	return len(t.of) < most
}

// mayLog reports whether what becomes of a destination is logged: of tenants once a second, of partitions always.
func (s *shipper) mayLog() bool {
	now := time.Now()
	if s.tenants == nil {
		return true
	}
	if now.Sub(s.tenants.loggedAt) < time.Second {
		return false
	}
	s.tenants.loggedAt = now
	return true
}

// mayPark reports whether one more destination may be parked.
func (s *shipper) mayPark() bool { return s.tenants == nil || s.tenants.parked < maxParked }

// mayBeStuck returns the destinations among which parkStuck looks for some to park. With topics of tenants those whose
// topic isn't there are among them, and those that keep most of the log from being released come first.
func (s *shipper) mayBeStuck() []*destination {
	if s.tenants == nil {
		return s.destinations
	}
	var found []*destination
	for _, d := range s.tenants.of {
		if d.behind != 0 || d.listed {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *destination) int { return cmp.Compare(a.behind-1, b.behind-1) }) // 0 comes last
	return found
}
