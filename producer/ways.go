package producer

import (
	"context"
	"iter"
	"maps"
	"slices"
)

// findWays sees to it that the destinations are those that the topics have now. It reports false while nothing can be
// sent, which it has waited for then.
func (s *shipper) findWays(ctx context.Context) bool {
	one := s.p.routes.one
	if one == nil {
		s.steer(ctx)
		return true
	}
	switch partitions := one.shape(); partitions {
	case 0:
		s.waitForTopic(ctx, one)
		return false
	case len(s.destinations):
	default:
		s.reroute(ctx, one, partitions)
	}
	return true
}

// all yields the destinations, whether they are looked after or not.
func (s *shipper) all() iter.Seq[*destination] {
	if s.tenants != nil {
		return maps.Values(s.tenants.of)
	}
	return slices.Values(s.destinations)
}

// forget ends a destination of which nothing is in flight.
func (s *shipper) forget(d *destination) {
	s.p.brakes.forget(d)
	if s.tenants != nil {
		s.p.routes.giveBack(d.route)
	}
}

// waitForTopic waits a moment.
func (s *shipper) waitForTopic(ctx context.Context, one *route) {
	if err := one.why(); err != nil && !s.log.Drained() {
		s.complain("the topic can't be reached; events wait in the log", one.topic, err)
	}
	if !s.first.empty() {
		s.window.wait(ctx, lookEvery/5)
		return
	}
	_, _ = s.read(ctx, &s.first, lookEvery/5) // so that the age of what waits is known
}

// reroute begins anew with another number of partitions, from what isn't done. Records that are in flight land
// first: where a tenant's records go has changed.
func (s *shipper) reroute(ctx context.Context, one *route, partitions int) {
	s.endParking()
	for _, d := range s.destinations {
		s.p.brakes.forget(d)
	}
	s.window.settle()
	s.destinations = make([]*destination, partitions)
	for i := range s.destinations {
		s.destinations[i] = &destination{route: one, partition: int32(i), among: partitions}
		s.p.brakes.release(s.destinations[i])
	}
	s.window.restart(newShare(s.p.cfg.MaxInFlight, maxInFlightBytes, partitions))
	s.first.seek(s.window.mark() + 1)
	s.second.batch, s.second.at, s.second.idle = nil, 0, true
	s.findParked(ctx)
}

// purge has the client forget the topic. All that it buffers of it comes back. Where it was lost, that is asked for
// again.
func (s *shipper) purge(d *destination, lost error) {
	s.p.brakes.stopTopic(d.route.topic)
	if s.tenants != nil { // the client may take its time, and the others don't wait for that
		d.among = 0
		d.route.forget(lost, true)
		return
	}
	s.p.client.PurgeTopicsFromClient(d.route.topic)
	if lost != nil {
		d.route.forget(lost, false)
	}
}
