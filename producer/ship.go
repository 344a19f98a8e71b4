package producer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/wal"
)

// shipper moves one log's records to Kafka, in order for each destination. One goroutine does so with two cursors: the
// first reads what is new, and passes over the records of destinations that have no room or are away; the second
// reads those again, from the log, once they can be sent, until it has caught up with the first. So a
// destination that is away costs no memory, and stops no other.
type shipper struct {
	p         *Producer
	log       *wal.Log
	recovered uint64 // records up to this sequence are an earlier run's
	window    *window
	landing   *landing

	first, second cursor
	soughtAt      time.Time      // when second was sent back last
	destinations  []*destination // partitions of the one topic, or those of tenants' topics that are looked after
	tenants       *tenants       // nil with one topic
	lookedAt      time.Time      // when destinations were looked through for stuck ones last
	key           kgo.Record     // to hash keys with
	arenas        arenas         // where records are rendered
	flights       []flight       // to be given out
	parkers       sync.WaitGroup // of parked destinations, in all
	ages          ages
	loggedAt      time.Time

	// recall says that what is in flight when run ends is to come back, rather than to land.
	recall bool
}

// cursor reads a log. Its batch is what was read and not yet dealt with.
type cursor struct {
	reader *wal.Reader
	batch  []wal.Record
	at     int
	held   time.Time // since when the record at at has had to wait; zero: it hasn't
	idle   bool      // it has nothing to do: only second ever is
}

const (
	readBatch  = 512
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	lookEvery  = 100 * time.Millisecond
	// patience is how long a cursor waits for a destination to have room before it passes over its records. One that
	// is only slow is waited for: reading again costs more.
	patience = 50 * time.Millisecond
	// seekEvery is how often the second cursor goes back before it has caught up.
	seekEvery = time.Second
)

func newShipper(p *Producer, log *wal.Log) *shipper {
	s := log.Stats()
	return &shipper{
		p: p, log: log, recovered: s.Next - 1, window: newWindow(s.Released),
		arenas: arenas{free: make(chan *arena, maxFree)},
	}
}

// run ships until ctx ends or, with untilDrained, nothing is left. Where ctx ends it waits for what is in flight to
// land, which is up to the client.
func (s *shipper) run(ctx context.Context, untilDrained bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.landing = newLanding()
	var landing sync.WaitGroup
	landing.Go(s.land)
	s.first, s.second = cursor{reader: s.log.NewReader()}, cursor{reader: s.log.NewReader(), idle: true}
	s.destinations, s.tenants = nil, nil
	for ctx.Err() == nil && (!untilDrained || !s.log.Drained()) {
		if s.findWays(ctx) && errors.Is(s.step(ctx), wal.ErrClosed) {
			break
		}
	}
	s.endParking()
	if s.recall {
		for d := range s.all() {
			d.stop()
		}
	}
	s.window.settle() // what came back stays in the log
	s.landing.close()
	landing.Wait()
	s.log.Release(s.window.mark())
	for d := range s.all() {
		s.forget(d)
	}
	_, _ = s.first.reader.Close(), s.second.reader.Close()
}

func (s *shipper) endParking() {
	for _, d := range s.destinations {
		if d.parked != nil {
			d.parked.end()
		}
	}
}

// step does what can be done now, or waits for a moment where there is nothing.
func (s *shipper) step(ctx context.Context) error {
	now := time.Now()
	behind := s.tend(ctx, now)
	s.follow(now)
	moved := s.pass(ctx, &s.second)
	if !s.second.idle {
		if !moved && s.second.empty() {
			var err error
			if moved, err = s.read(ctx, &s.second, 0); err != nil {
				return err
			}
		}
		s.caughtUp()
	}
	moved = s.pass(ctx, &s.first) || moved
	if !s.first.empty() {
		if !moved {
			s.window.wait(ctx, patience/5)
		}
		return nil
	}
	wait := lookEvery
	switch {
	case moved && !s.second.idle:
		wait = 0
	case behind:
		wait = patience / 5
	}
	_, err := s.read(ctx, &s.first, wait)
	return err
}

// read reads from the log, for a short while only, so that what happens meanwhile is looked after. What the
// log has lost is passed over.
func (s *shipper) read(ctx context.Context, c *cursor, wait time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	records, err := s.readOn(ctx, c.reader, c.batch[:0])
	c.batch, c.at = records, 0
	if len(records) > 0 && c == &s.first {
		s.ages.note(records[0], s.window.mark())
	}
	switch {
	case err == nil, errors.Is(err, wal.ErrClosed):
		return err == nil, err
	case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
		s.complain("the log can't be read", s.p.routes.String(), err)
		s.window.wait(ctx, minBackoff)
	}
	return false, nil
}

// readOn appends the next records to dst. What the log has lost before them, or at its end, is done with.
func (s *shipper) readOn(ctx context.Context, reader *wal.Reader, dst []wal.Record) ([]wal.Record, error) {
	from := reader.Next()
	records, err := reader.Read(ctx, dst, readBatch)
	for _, r := range records {
		if r.Seq > from {
			s.release(s.window.skip(from, r.Seq-1))
		}
		from = r.Seq + 1
	}
	if next := reader.Next(); next > from {
		s.release(s.window.skip(from, next-1))
	}
	return records, err
}

// pass deals with the records a cursor has read, until one has to wait, and reports whether it dealt with any.
func (s *shipper) pass(ctx context.Context, c *cursor) (moved bool) {
	for c.at < len(c.batch) && ctx.Err() == nil && !c.idle {
		if c == &s.second && c.next() >= s.first.next() {
			return moved // what follows is the first one's to read
		}
		if !s.hand(ctx, c, c.batch[c.at]) {
			return moved
		}
		c.at++
		c.held = time.Time{}
		moved = true
	}
	return moved
}

// tend looks after the destinations of which something has come back, or has not, for long. It reports whether any
// is behind.
func (s *shipper) tend(ctx context.Context, now time.Time) (behind bool) {
	for _, d := range s.destinations {
		if seq, alone, err := s.window.failure(d); seq != 0 {
			s.cameBack(d, seq, err, alone)
		}
		if d.parked != nil {
			s.tendParked(ctx, d)
		} else if d.among != 0 && d.braked() && !s.window.holds(d) {
			s.p.brakes.release(d)
		}
		behind = behind || d.behind != 0
	}
	if now.Sub(s.lookedAt) >= s.tenants.lookEvery() {
		s.lookedAt = now
		s.parkStuck(now)
		s.unlist()
	}
	return behind
}

// cameBack deals with the records of a destination that have come back, the lowest of which is seq. They are read
// again. Where the broker refused one of them, they are sent one at a time until it fails alone: that one is a letter.
func (s *shipper) cameBack(d *destination, seq uint64, err error, alone bool) {
	d.pass(seq)
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
		d.notBefore = time.Now().Add(maxBackoff) // the end is near
	case errors.Is(err, context.Canceled): // it is being parked, or was kept from overtaking
	case refused(err) && alone:
		d.culprit, d.why = seq, err
	case tooLarge(err) && d.route.lower():
		s.complain("the broker refuses a batch for its size; smaller ones are sent", d.route.topic, err)
		s.purge(d, nil) // which makes the client ask for the limit again
	case refused(err):
		s.complain("the broker refuses something in a batch; its records are sent one at a time", d.route.topic, err)
		d.aloneTo = d.last
	default:
		s.outage(d, err)
	}
}

func (s *shipper) outage(d *destination, err error) {
	s.complain("the broker doesn't take events; they wait in the log", d.route.topic, err)
	if lostTopic(err) { // the client has to forget what it knows of it
		s.purge(d, err)
	}
	s.rest(d)
}

// rest has nothing more sent to a destination for a while: longer each time, until something is acknowledged.
func (s *shipper) rest(d *destination) {
	if s.window.ackedSince(d, d.notBefore) {
		d.backoff = 0
	}
	d.backoff = min(max(2*d.backoff, minBackoff), maxBackoff)
	d.notBefore = time.Now().Add(d.backoff)
}

// follow sends the second cursor back to the lowest record of the destinations that are behind and may be sent to.
func (s *shipper) follow(now time.Time) {
	lowest := uint64(0)
	for _, d := range s.destinations {
		if d.following || !s.canFollow(d, now) {
			continue
		}
		if !s.second.idle && d.behind >= s.second.next() {
			d.following = true
		} else if lowest == 0 || d.behind < lowest {
			lowest = d.behind
		}
	}
	if lowest == 0 || !s.second.idle && now.Sub(s.soughtAt) < seekEvery {
		return
	}
	s.soughtAt = now
	s.second.seek(lowest)
	for _, d := range s.destinations {
		d.following = d.following || s.canFollow(d, now)
	}
}

// canFollow reports whether a destination is behind and may be sent to.
func (s *shipper) canFollow(d *destination, now time.Time) bool {
	if s.tenants != nil && d == s.tenants.others {
		return d.behind != 0 && len(s.tenants.of) < s.p.cfg.MaxTenants
	}
	return d.behind != 0 && d.parked == nil && d.among != 0 && !d.braked() && !now.Before(d.notBefore) && s.window.ready(d)
}

// caughtUp notes that the second cursor is where the first one is: what follows is not behind any more.
func (s *shipper) caughtUp() {
	if s.second.next() < s.first.next() {
		return
	}
	s.second.idle = true
	for _, d := range s.destinations {
		if d.following {
			d.behind, d.following = 0, false
		}
	}
}

// next is the sequence of the record that the cursor deals with next.
func (c *cursor) next() uint64 {
	if c.at < len(c.batch) {
		return c.batch[c.at].Seq
	}
	return c.reader.Next()
}

func (c *cursor) empty() bool { return c.at == len(c.batch) }

func (c *cursor) seek(seq uint64) {
	c.reader.Seek(seq)
	c.batch, c.at, c.held, c.idle = c.batch[:0], 0, time.Time{}, false
}

func (s *shipper) release(low uint64) {
	if low != 0 {
		s.log.Release(low)
	}
}

// complain logs, at most once a second.
func (s *shipper) complain(what, topic string, err error) {
	if now := time.Now(); now.Sub(s.loggedAt) >= time.Second {
		s.loggedAt = now
		s.p.cfg.Logger.Warn("producer: "+what, "topic", topic, "error", err)
	}
}
