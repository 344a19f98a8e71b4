package producer

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// hand deals with a record that a cursor has come to: it is handed to Kafka, or made a letter, or passed over. It
// reports false where the record has to wait.
func (s *shipper) hand(ctx context.Context, c *cursor, r wal.Record) bool {
	head, err := firetrail.ReadBinaryHead(r.Payload)
	if r.Type != recordEvent && r.Type != recordClosing {
		err = fmt.Errorf("record type %d is not known; a newer program wrote it", r.Type)
	}
	if err == nil && s.tenants != nil && s.tenants.of[string(head.Tenant)] == nil {
		err = firetrail.ValidateTenant(string(head.Tenant)) // no topic is waited for that nobody will make
	}
	if err != nil {
		return s.window.settled(r.Seq) || s.buryAtLast(ctx, r, err)
	}
	second := c == &s.second
	d := s.destinationOf(head.Tenant, r.Seq, second)
	switch {
	case d == nil:
		return true
	case d.behind != 0 && (!second || !d.following || r.Seq < d.behind):
		return true // the second cursor will come, or has been, here
	case d.behind == 0 && second:
		return true // the first one has dealt with it
	case d.parked != nil || d.among == 0 || d.braked():
		if d.among == 0 && d.route != nil {
			s.window.missed(d)
		}
		d.pass(r.Seq)
		return true
	}
	switch s.send(ctx, d, r, head.ID) {
	case mayGo, isDone:
		if d.behind != 0 {
			d.behind = r.Seq + 1
		}
		return true
	case hasFailed:
		d.pass(r.Seq)
		return true
	default:
		return s.outOfPatience(c, d, r.Seq)
	}
}

// destinationOf returns where a tenant's records go; nil where the record is done. seq is the record's, and second says that
// the second cursor has read it.
func (s *shipper) destinationOf(tenant []byte, seq uint64, second bool) *destination {
	if s.tenants != nil {
		return s.ofTenant(tenant, seq, second)
	}
	s.key.Key = tenant
	return s.destinations[s.p.routes.hash.Partition(&s.key, len(s.destinations))]
}

// outOfPatience reports whether a record for which there is no room is passed over.
func (s *shipper) outOfPatience(c *cursor, d *destination, seq uint64) bool {
	now := time.Now()
	if c.held.IsZero() {
		c.held = now
	}
	if now.Sub(c.held) < patience {
		return false
	}
	d.pass(seq)
	return true
}

// send hands a record to Kafka, if its destination has room.
func (s *shipper) send(ctx context.Context, d *destination, r wal.Record, id firetrail.ID) verdict {
	if len(s.flights) == 0 {
		s.flights = make([]flight, 64)
	}
	f := &s.flights[0]
	f.to, f.seq, f.size, f.id, f.alone = d, r.Seq, len(r.Payload), id, r.Seq <= d.aloneTo
	if r.Type == recordClosing {
		f.id = firetrail.ID{} // nobody fired it
	}
	if v := s.window.begin(f); v != mayGo {
		return v
	}
	why := s.render(f, r)
	reason := dlq.ReasonInvalid
	if why == nil && d.culprit == r.Seq {
		reason, why = dlq.ReasonUnsendable, d.why
	}
	if why != nil {
		s.window.takeBack(f)
		if err := s.bury(ctx, r, why, reason); err != nil { // what follows keeps its place behind it; others go on
			s.complain("a dead letter can't be written; its partition waits for it", d.route.topic, err)
			s.rest(d)
			return hasFailed
		}
		if d.culprit == r.Seq {
			d.culprit, d.why, d.aloneTo = 0, nil, 0
		}
		return isDone
	}
	if !f.alone && f.rendered() > d.route.alone() {
		s.window.takeBack(f)
		f.alone = true
		if v := s.window.begin(f); v != mayGo {
			return v
		}
	}
	s.flights = s.flights[1:]
	f.held = s.p.holder(r)
	d.last = max(d.last, r.Seq)
	s.arenas.lend(f.arena, f.rendered())
	s.produce(f)
	return mayGo
}

// produce hands one record to Kafka. Its context is the destination's, never a request's.
func (s *shipper) produce(f *flight) {
	if f.alone {
		s.p.wg.Go(func() {
			f.err = s.p.single.send(f.to.ctx, &f.rec)
			s.landing.add(f)
		})
		return
	}
	f.rec.Partition = f.to.partition
	s.p.client.Produce(f.to.ctx, &f.rec, func(_ *kgo.Record, err error) {
		if f.err = err; err != nil {
			s.p.brakes.stop(target{f.rec.Topic, f.to.partition})
		}
		s.landing.add(f)
	})
}

// render makes the Kafka record of a log's record. An error says that it is no event that can be sent.
func (s *shipper) render(f *flight, r wal.Record) error {
	e, err := firetrail.DecodeBinary(r.Payload)
	if err == nil && r.Type != recordClosing {
		err = e.Action.CheckReserved()
	}
	if err != nil {
		return err
	}
	size := 2*len(r.Payload) + 1024
	a := s.arenas.of(size)
	var dst []byte
	if a != nil {
		dst = a.b
	} else {
		dst = make([]byte, 0, size)
	}
	b, err := e.AppendCloudEvent(append(dst, e.Tenant...))
	if err != nil {
		return err
	}
	key, value := len(dst), len(dst)+len(e.Tenant)
	f.rec = kgo.Record{Topic: f.to.route.topic, Key: b[key:value:value], Value: b[value:len(b):len(b)], Headers: eventHeaders}
	if f.arena = nil; a != nil && cap(b) == cap(a.b) { // else it lies elsewhere, maybe since it didn't fit
		a.b, f.arena = b, a
	}
	return nil
}

// eventHeaders are the same for every record; nobody writes to them.
var eventHeaders = recordHeaders()

func recordHeaders() (hs []kgo.RecordHeader) {
	for _, h := range firetrail.CloudEventHeaders() {
		hs = append(hs, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return hs
}

// bury makes a letter of a record that can't be sent. After an error it is where it was.
func (s *shipper) bury(ctx context.Context, r wal.Record, why error, reason string) error {
	if err := s.p.letters.bury(ctx, r.Type, s.p.letter(r.Type, r.Payload, reason, why)); err != nil {
		return err
	}
	s.p.holder(r).giveBack(len(r.Payload))
	s.release(s.window.finish(r.Seq, fmt.Errorf("%w: %w", ErrRefused, why)))
	return nil
}

// buryAtLast is bury for what is no event, and so goes to no partition that could wait for it. It reports false when
// ctx ended before it was kept.
func (s *shipper) buryAtLast(ctx context.Context, r wal.Record, why error) bool {
	for backoff := minBackoff; ctx.Err() == nil; backoff = min(2*backoff, maxBackoff) {
		err := s.bury(ctx, r, why, dlq.ReasonInvalid)
		if err == nil {
			return true
		}
		s.complain("a dead letter can't be written; shipping waits for it", s.p.routes.String(), err)
		pause(ctx, backoff)
	}
	return false
}
