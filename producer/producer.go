package producer

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// Producer takes events and ships them. Make one with [New], one for a process, and Close it at the end. All
// of its methods may be called concurrently, and on a nil Producer, which takes nothing and has nothing to do.
type Producer struct {
	cfg     Config
	client  *kgo.Client
	single  *single
	letters *letters
	drops   drops
	logs    logs

	ctx    context.Context // ends when the producer does
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed chan struct{} // closed when Close has done its work

	mu      sync.Mutex // the stamp: order in the log is order of id and seq
	log     *wal.Log   // where events go now
	standIn bool       // log is memory, because the one on disk can't be opened
	stopped bool
	clock   clock
	ids     *firetrail.IDGenerator
	last    int64 // µs: the time stamped last
	source  string
	seqs    map[string]*uint64
	pending int64 // MaxEvents: events in log when last looked, plus those since

	fired       atomic.Uint64
	unprotected atomic.Uint64
	truncated   atomic.Uint64
	recovered   atomic.Uint64
	shipped     atomic.Uint64
	reshipped   atomic.Uint64
	closing     sync.Once
	closeError  error
}

// recordEvent is the only type of record in the log so far: an event in its binary form.
const recordEvent = 1

// maxTenants is how many tenants one source counts the sequences of. Beyond it a new source begins, for
// all of them, so that memory stays bounded however many tenants come by.
const maxTenants = 100_000

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// maxPooled is the largest buffer that is kept for another event.
const maxPooled = 64 << 10

// New returns a producer that takes events at once. The broker being away is not an error, nor is a log that
// can't be opened: events are in memory then, counted as unprotected, until it can be. The error says
// everything that is wrong with the config.
func New(cfg Config) (*Producer, error) {
	stamps := clock{now: cfg.Clock}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	client, err := newClient(&cfg)
	if err != nil {
		return nil, err
	}
	single, err := newSingle(&cfg)
	if err != nil {
		client.Close()
		return nil, err
	}
	p := &Producer{
		cfg: cfg, client: client, single: single, closed: make(chan struct{}),
		clock: stamps, ids: firetrail.NewIDGenerator(), source: newSource(), seqs: map[string]*uint64{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if p.letters, err = newLetters(p); err == nil {
		err = p.openLogs()
	}
	if err != nil {
		p.cancel()
		err = errors.Join(err, p.letters.close(p.ctx))
		client.Close()
		single.client.Close()
		p.wg.Wait()
		return nil, err
	}
	p.wg.Go(func() { p.drops.run(p.ctx, &p.cfg) })
	if !cfg.WeakTopic {
		p.wg.Go(p.checkTopic)
	}
	return p, nil
}

// Fire takes the event and returns. What the event leaves empty is filled in from ctx (see
// firetrail.WithContext); ctx's end means nothing to Fire. In the mode Durable the event survives a kill -9 from
// here on, or is counted in Stats.Unprotected. An event that can't be kept is counted in Stats.Dropped.
func (p *Producer) Fire(ctx context.Context, e firetrail.Event) {
	if p == nil {
		return
	}
	p.fired.Add(1)
	// What can panic is the caller's own: ctx's Value method. Values are guarded where they are encoded.
	defer func() {
		if recover() != nil {
			p.drops.add(DropPanic, 1)
		}
	}()
	e.FillFrom(ctx)
	b := buffers.Get().(*[]byte)
	_, err := p.take(&e, b, false, nil)
	p.recycle(b)
	if err != nil {
		p.drops.add(dropReason(err), 1)
	}
}

func (p *Producer) recycle(b *[]byte) {
	if cap(*b) <= maxPooled {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// place is where an event is kept.
type place struct {
	log    *wal.Log
	seq    uint64  // in log
	safe   bool    // from a kill -9
	window *window // of whoever ships it; only where told was given
}

// take encodes the event into b, stamps it and appends it to the log. Where the log has no room and letters
// take it, place is empty. A strict caller doesn't want an event from which something was left out.
// Whoever wants to be told of its acknowledgement gives told, with room.
func (p *Producer) take(e *firetrail.Event, b *[]byte, strict bool, told chan<- error) (at place, err error) {
	enc, truncated, err := e.AppendBinary((*b)[:0])
	if truncated != e.Truncated {
		if strict && err != nil {
			return place{}, err
		}
		p.truncated.Add(1)
	}
	p.mu.Lock()
	enc = p.stamp(e, enc)
	*b = enc
	at.log = p.log
	switch {
	case p.stopped:
		err = wal.ErrClosed
	case p.cfg.MaxEvents > 0 && !p.room():
		err = wal.ErrFull
	default:
		var expected uint64
		if told != nil { // before anybody can read it
			at.window = p.logs.of(p.log).shipper.window
			expected = p.log.Stats().Next
			at.window.await(expected, told)
		}
		at.seq, at.safe, err = p.log.Append(recordEvent, enc)
		if told != nil && err != nil {
			at.window.forget(expected)
		}
	}
	if err == nil && !at.safe && p.cfg.Mode == Durable {
		p.unprotected.Add(1)
	}
	if errors.Is(err, wal.ErrFull) && p.letters.overflow(enc) {
		at, err = place{}, nil
		if p.cfg.Mode == Durable {
			p.unprotected.Add(1)
		}
	}
	p.mu.Unlock()
	return at, err
}

// stamp gives the event its time, id, source and sequence. It is called under mu, before any decision to
// drop the event, so that a dropped one leaves a hole in its source's sequence.
func (p *Producer) stamp(e *firetrail.Event, enc []byte) []byte {
	now := p.clock.micros()
	s := firetrail.Stamp{ID: e.ID, Time: now, Recorded: now}
	switch {
	case !e.Time.IsZero():
		s.Time = e.Time.UnixMicro()
	case !e.ID.IsZero():
		s.Time = e.ID.Time().UnixMicro()
	default:
		s.Time = max(now, p.last+1)
		p.last = s.Time
	}
	if e.ID.IsZero() {
		s.ID = p.ids.Next(s.Time)
	}
	seq := p.seqs[e.Tenant]
	if seq == nil {
		if len(p.seqs) >= maxTenants {
			p.seqs, p.source = map[string]*uint64{}, newSource()
		}
		seq = new(uint64)
		p.seqs[strings.Clone(e.Tenant)] = seq // the caller's string may be a part of something large
	}
	*seq++
	s.Seq, s.Source = *seq, p.source
	return firetrail.StampBinary(enc, s)
}

// room reports whether MaxEvents leaves room for one more. The log is asked only when the count since the
// last answer says that it may be full.
func (p *Producer) room() bool {
	if p.pending >= int64(p.cfg.MaxEvents) {
		s := p.log.Stats()
		p.pending = int64(s.Next - 1 - s.Released)
	}
	if p.pending >= int64(p.cfg.MaxEvents) {
		return false
	}
	p.pending++
	return true
}

// letter is the dead letter of an event in its binary form: what would have been sent, or where that can't be
// made, the binary form itself.
func (p *Producer) letter(enc []byte, reason string, why error) dlq.Letter {
	l := dlq.Letter{
		Reason: reason, Stage: "ship", Topic: p.cfg.Topic, Partition: -1, FirstFailed: p.cfg.Clock().UTC(),
	}
	if why != nil {
		l.Error = why.Error()
	}
	e, err := firetrail.DecodeBinary(enc)
	if err != nil {
		l.ID, l.Value, l.Reason, l.Error = newSource(), append([]byte(nil), enc...), dlq.ReasonUndecodable, err.Error()
		return l
	}
	l.ID, l.Tenant, l.Key = e.ID.String(), e.Tenant, append([]byte{}, e.Tenant...)
	value, err := e.AppendCloudEvent(nil)
	if err != nil {
		l.Value = append([]byte(nil), enc...)
		l.Headers = []dlq.Header{{Key: firetrail.ContentTypeHeader, Value: []byte(binaryContentType)}}
		if why == nil {
			l.Error = err.Error()
		}
		return l
	}
	l.Value = value
	for _, h := range firetrail.CloudEventHeaders() {
		l.Headers = append(l.Headers, dlq.Header{Key: h.Key, Value: h.Value})
	}
	return l
}

// binaryContentType marks the value of a letter that holds an event in its binary form, because no CloudEvent
// can be made of it.
const binaryContentType = "application/vnd.firetrail.event"
