package producer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

// Parked is a partition that took nothing while others did, so that its events go to files of waiting letters. They
// are sent from there, in order, as soon as it takes them again.
type Parked struct {
	Topic     string
	Partition int32     // -1: not known, as of a tenant's topic that isn't there
	Reason    string    // the last error of a record that came back, or that nothing was acknowledged
	Since     time.Time // when it was parked
	Events    uint64    // that went to files since
}

// parking is a destination's being parked. Its records come out of the client, and then a goroutine of its own reads
// them from the log, and puts them into files, until the files are drained.
type parking struct {
	s         *shipper
	topic     string
	tenant    string // whose topic it is, with topics of tenants
	partition int32
	among     int // partitions
	reason    string
	since     time.Time
	found     bool // files of it were found: they are to be drained first
	begun     bool
	events    atomic.Uint64

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed at the end;
	next   uint64        // then the records before it are dealt with,
	why    error         // and this says why it could not be parked
}

const (
	// parkEvery is how long records are gathered for a file.
	parkEvery = time.Second
	// parkLetters and parkBytes bound what is gathered.
	parkLetters = 5000
	parkBytes   = 4 << 20
	// probeEvery is how often a parked destination is tried at the most, and how long a try may take without anything
	// being sent; where letters are tried more often, so is it.
	probeEvery = 5 * time.Second
)

// parkStuck parks the destinations that have taken nothing for too long while others took something: when nobody
// does, it is an outage, and the log is where events wait.
func (s *shipper) parkStuck(now time.Time) {
	after := s.p.cfg.ParkAfter
	if after < 0 || s.p.letters.dir() == nil {
		return
	}
	for _, d := range s.mayBeStuck() {
		if d.parked != nil || now.Before(d.noParking) || !s.mayPark() {
			continue
		}
		since, err := s.window.stuck(d, now, after/2)
		if since.IsZero() || now.Sub(since) < after {
			continue
		}
		if err == nil && d.among == 0 {
			err = d.route.why()
		}
		reason := fmt.Sprintf("nothing acknowledged for %s", now.Sub(since).Round(time.Millisecond))
		if err != nil {
			reason = err.Error()
		}
		s.park(d, reason, false)
		d.stop() // what is in flight comes back
	}
}

// park marks a destination parked. Nothing more of it is sent.
func (s *shipper) park(d *destination, reason string, found bool) {
	k := &parking{
		s: s, topic: d.route.topic, tenant: d.tenant, partition: d.partition, among: d.among, reason: reason,
		since: s.p.cfg.Clock(), found: found, done: make(chan struct{}),
	}
	if d.among == 0 {
		k.partition = -1
	}
	s.p.parked.add(k)
	d.parked = k
	if s.tenants != nil {
		s.tenants.parked++
		s.list(d)
	}
	if s.mayLog() {
		s.p.cfg.Logger.Warn("producer: a partition takes nothing while others do; its events go to files and wait",
			"topic", k.topic, "partition", k.partition, "reason", reason)
	}
}

// tendParked begins with the files of a parked destination once nothing of it is in flight, and ends the parking
// where its files are drained.
func (s *shipper) tendParked(ctx context.Context, d *destination) {
	k := d.parked
	switch {
	case k.begun:
		select {
		case <-k.done:
		default:
			return
		}
	case s.window.holds(d):
		return
	case d.behind != 0:
		k.begun, k.next = true, d.behind
		k.ctx, k.cancel = context.WithCancel(ctx)
		s.parkers.Go(k.run)
		return
	}
	d.parked = nil
	if s.tenants != nil {
		s.tenants.parked--
	}
	s.p.parked.remove(k)
	if d.behind != 0 {
		d.behind, d.following = k.next, false
	}
	if k.why != nil {
		d.noParking = time.Now().Add(s.p.cfg.ParkAfter)
		s.complain("a partition takes nothing, and can't be parked; its events wait in the log", k.topic, k.why)
	} else if s.mayLog() {
		s.p.cfg.Logger.Warn("producer: a parked partition takes events again", "topic", k.topic,
			"partition", k.partition, "events", k.events.Load(), "since", k.since)
	}
	s.window.startAnew(d)
	if d.among != 0 {
		s.p.brakes.release(d)
	} else {
		s.window.missed(d)
	}
}

// findParked finds files of destinations that an earlier run parked, and parks them until those are drained.
func (s *shipper) findParked(ctx context.Context) {
	if s.p.cfg.ParkAfter < 0 || s.p.letters.dir() == nil {
		return
	}
	found, err := s.p.letters.parked(ctx, len(s.destinations))
	if err != nil {
		s.complain("parked letters can't be looked for", s.p.routes.String(), err)
	}
	for at, f := range found {
		var d *destination
		if s.tenants == nil {
			d = s.destinations[at.partition]
		} else if d = s.tenants.of[f.tenant]; d == nil {
			d = s.add(f.tenant)
		}
		s.park(d, "its letters from before are not sent yet", true)
		d.behind = s.window.mark() + 1
	}
}

// end has the goroutine end and waits for it.
func (k *parking) end() {
	if k.begun {
		k.cancel()
		<-k.done
	}
	k.s.p.parked.remove(k)
}

func (k *parking) run() {
	defer close(k.done)
	defer k.cancel()
	reader := k.s.log.NewReader()
	reader.Seek(k.next)
	defer func() { _ = reader.Close() }()
	every := probeEvery
	if i := k.s.p.cfg.LetterInterval; i > 0 {
		every = min(every, i)
	}
	next := time.Now()
	if !k.found {
		next = next.Add(every)
	}
	for k.ctx.Err() == nil {
		if began := time.Now(); !began.Before(next) {
			if k.drained() {
				return
			}
			// Nothing is put into files during a try, which may hang: at least twice that time is theirs.
			took := time.Since(began)
			next = began.Add(took + max(every, 2*min(took, probeEvery)))
		}
		if err := k.put(reader, min(parkEvery, every)); err != nil {
			if k.events.Load() == 0 && !k.found {
				k.why = err
				return
			}
			// There are files of it, so that what comes later can't be sent before: it waits in the log.
			k.s.p.cfg.Logger.Error("producer: events of a parked partition can't be put into files; they wait in the log",
				"topic", k.topic, "partition", k.partition, "error", err)
			pause(k.ctx, every)
		}
	}
}

// gathered is a record that goes to a file.
type gathered struct {
	seq  uint64
	size int
	held *held
}

// put gathers records of the destination for a while, and puts them into files.
func (k *parking) put(reader *wal.Reader, during time.Duration) error {
	ctx, cancel := context.WithTimeout(k.ctx, during)
	defer cancel()
	var waiting, dead []dlq.Letter
	var batch []gathered
	var records []wal.Record
	next, size, events := k.next, 0, uint64(0)
	for len(batch) < parkLetters && size < parkBytes {
		var err error
		if records, err = k.s.readOn(ctx, reader, records[:0]); err != nil {
			if ctx.Err() == nil {
				pause(ctx, during) // the shipper complains of a log that can't be read
			}
			break
		}
		for _, r := range records {
			if next = r.Seq + 1; !k.mine(r) || k.s.window.settled(r.Seq) {
				continue
			}
			if l := k.s.p.letter(r.Type, r.Payload, dlq.ReasonParked, nil); l.Reason == dlq.ReasonParked {
				waiting = append(waiting, l)
			} else {
				dead = append(dead, l)
			}
			batch = append(batch, gathered{r.Seq, len(r.Payload), k.s.p.holder(r)})
			size += len(r.Payload)
			if r.Type == recordEvent {
				events++
			}
		}
	}
	l := k.s.p.letters
	err := l.dir().Put(k.ctx, dlq.Waiting, waiting)
	if err == nil {
		err = l.dir().Put(k.ctx, dlq.Dead, dead)
	}
	if err != nil { // those that are in files may be put into others again: the sink knows them by their ids
		reader.Seek(k.next)
		return err
	}
	k.next = next
	k.events.Add(events)
	l.count.Add(events)
	for _, f := range batch {
		f.held.giveBack(f.size)
		k.s.release(k.s.window.finish(f.seq, errParked))
	}
	return nil
}

var errParked = fmt.Errorf("%w: its partition takes nothing; the event waits among the dead letters", ErrPending)

// mine reports whether a record goes to the destination. One that is no event goes nowhere, and the shipper has
// dealt with it.
func (k *parking) mine(r wal.Record) bool {
	head, err := firetrail.ReadBinaryHead(r.Payload)
	switch {
	case err != nil || r.Type != recordEvent && r.Type != recordClosing:
		return false
	case k.s.p.routes.one == nil:
		return string(head.Tenant) == k.tenant
	default:
		return k.s.p.routes.partition(head.Tenant, k.among) == k.partition
	}
}

// drained sends what is in files, where the destination takes it again, and reports whether none is left. No records
// are put into files meanwhile, so that there is an end to them.
func (k *parking) drained() bool {
	l := k.s.p.letters
	left := -1
	for {
		found, err := l.parked(k.ctx, k.among)
		n := found[k.target()].letters
		switch {
		case err != nil:
			return false
		case n == 0:
			return k.takes()
		case left >= 0 && n >= left:
			return false // nothing has become of the last try
		case !k.takes():
			return false
		}
		left = n
		l.forgive(k.target())
		ctx, cancel := context.WithTimeout(k.ctx, probeEvery)
		_, err = l.dir().Retry(ctx, l.deliver)
		inTime := ctx.Err() == nil
		if cancel(); err != nil && inTime {
			k.s.p.cfg.Logger.Warn("producer: sending letters of a parked partition", "topic", k.topic, "partition", k.partition, "error", err)
		}
	}
}

// takes reports whether the destination can be written to, as far as can be known without doing so.
func (k *parking) takes() bool {
	ctx, cancel := context.WithTimeout(k.ctx, probeEvery)
	defer cancel()
	shape, err := kafkaclient.TopicPartitions(ctx, k.s.p.single.client, k.topic)
	if err != nil || shape.Partitions == 0 {
		return false
	}
	partition := k.partition
	if k.s.p.routes.one == nil { // the topic may not have been there
		partition = k.s.p.routes.partition([]byte(k.tenant), shape.Partitions)
	}
	return !shape.Leaderless[partition]
}

// target is what letters know the destination by.
func (k *parking) target() target {
	if k.s.p.routes.one == nil {
		return target{topic: k.topic}
	}
	return target{k.topic, k.partition}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// parkings are those of all logs.
type parkings struct {
	mu    sync.Mutex
	now   []*parking
	ended uint64 // events of those that have ended
}

func (p *parkings) add(k *parking) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = append(p.now, k)
}

func (p *parkings) remove(k *parking) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.now, k); i >= 0 {
		p.now = slices.Delete(p.now, i, i+1)
		p.ended += k.events.Load()
	}
}

// stats returns what is parked, by partition, and the number of events that were put into files for it since New.
func (p *parkings) stats() (parked []Parked, events uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	events = p.ended
	for _, k := range p.now {
		n := k.events.Load()
		events += n
		parked = append(parked, Parked{Topic: k.topic, Partition: k.partition, Reason: k.reason, Since: k.since, Events: n})
	}
	slices.SortFunc(parked, func(a, b Parked) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return parked, events
}
