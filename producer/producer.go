package producer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

// Producer takes events and ships them. Make one with [New], one for a process, and Close it at the end. All
// of its methods may be called concurrently, and on a nil Producer, which takes nothing and has nothing to do.
type Producer struct {
	cfg     Config
	client  *kgo.Client
	routes  *routes
	brakes  *brakes
	single  *single
	letters *letters
	drops   drops
	logs    logs
	parked  parkings
	telling sync.Mutex // held while Config.OnAcknowledged is called

	ctx    context.Context // ends when the producer does
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed chan struct{} // closed when Close has done its work

	saveFor time.Duration // closeTimeout

	mu        sync.Mutex // the stamp: order in the log is order of id and seq
	log       *wal.Log   // where events go now
	standIn   bool       // log is memory, because the one on disk can't be opened
	stopped   bool
	clock     clock
	stamper   firetrail.Stamper
	sequences *sequences
	pending   int64 // MaxEvents: records in log when last looked, plus those since

	fired       atomic.Uint64
	unprotected atomic.Uint64
	truncated   atomic.Uint64
	recovered   atomic.Uint64
	shipped     atomic.Uint64
	reshipped   atomic.Uint64
	closings    atomic.Uint64
	lostEnds    atomic.Uint64
	closing     sync.Once
	closeError  error
}

// The types of records in the log. Both are events in their binary form.
const (
	recordEvent   = 1 // a caller's
	recordClosing = 2 // the end of a (source, tenant); no caller can make one
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// maxPooled is the largest buffer that is kept for another event.
const maxPooled = 64 << 10

// New returns a producer that takes events at once. The broker being away is not an error, nor is a log that
// can't be opened, or whose disk hangs for Config.WAL.HangAfter: events are in memory then, counted as unprotected,
// until it is open. The error says
// everything that is wrong with the config.
func New(cfg Config) (*Producer, error) {
	stamps := clock{now: cfg.Clock}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	routes := newRoutes(cfg.Topic, cfg.TopicPrefix)
	var log kgo.Logger
	if cfg.Kafka.Logger != nil {
		log = kslog.New(cfg.Kafka.Logger)
	}
	brakes := newBrakes(log)
	client, err := newClient(&cfg, kgo.WithLogger(brakes), kgo.RecordPartitioner(routes), kgo.ProducerBatchMaxBytesFn(routes.batchLimit))
	if err != nil {
		return nil, err
	}
	single, err := newSingle(&cfg, routes)
	if err != nil {
		client.Close()
		return nil, err
	}
	p := &Producer{
		cfg: cfg, client: client, routes: routes, brakes: brakes, single: single, closed: make(chan struct{}), saveFor: closeTimeout,
		clock: stamps, sequences: newSequences(newSource(), cfg.MaxTenants),
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
	p.wg.Go(func() { p.routes.learn(p) })
	p.wg.Go(func() { p.drops.run(p.ctx, &p.cfg) })
	if cfg.StaleAfter > 0 {
		p.wg.Go(p.watch)
	}
	if !cfg.WeakTopic && cfg.TopicPrefix == "" {
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
	// What can panic is the caller's own: ctx's Value method, and Config.Clock. Values are guarded where they are
	// encoded, but nothing keeps them from ending the goroutine.
	through := false
	defer func() {
		if !through {
			_ = recover()
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
	through = true
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
	*b = enc
	if strict && err != nil {
		return place{}, err
	}
	if truncated != e.Truncated {
		p.truncated.Add(1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped { // its source is closed, or about to be
		return place{}, wal.ErrClosed
	}
	s, over := p.sequences.of(e.Tenant)
	if over != nil {
		p.conclude(over)
	}
	s.seq++ // before any decision to drop the event, so that a dropped one leaves a hole
	*b = p.stamp(e, enc, s.source, s.seq)
	if !p.mayHold(s, len(*b)) {
		at, err = p.spill(recordEvent, *b, errTenantFull)
	} else if at, err = p.append(recordEvent, *b, told); at.log != nil && err == nil {
		p.hold(s, at, len(*b))
	}
	switch {
	case err == nil && !at.safe && p.cfg.Mode == Durable:
		p.unprotected.Add(1)
	case err != nil && strict: // the caller knows; a hole would say that something was lost
		s.seq--
	}
	return at, err
}

// stamp completes an event's binary form. It is called under mu.
func (p *Producer) stamp(e *firetrail.Event, enc []byte, source string, seq uint64) []byte {
	s := p.stamper.Stamp(e, p.clock.micros())
	s.Source, s.Seq = source, seq
	return firetrail.StampBinary(enc, s)
}

// append puts a record into the log, or where that is full among the letters; place is empty then. It is called
// under mu.
func (p *Producer) append(typ byte, enc []byte, told chan<- error) (at place, err error) {
	at.log = p.log
	if p.cfg.MaxEvents > 0 && !p.room() {
		err = wal.ErrFull
	} else {
		var expected uint64
		if told != nil { // before anybody can read it
			at.window = p.logs.of(p.log).shipper.window
			expected = p.log.Stats().Next
			at.window.await(expected, told)
		}
		at.seq, at.safe, err = p.log.Append(typ, enc)
		if told != nil && err != nil {
			at.window.forget(expected)
		}
	}
	if errors.Is(err, wal.ErrFull) {
		return p.spill(typ, enc, err)
	}
	return at, err
}

// spill puts a record for which the log has no room among the letters. It returns why it has none where they
// haven't, either. It is called under mu.
func (p *Producer) spill(typ byte, enc []byte, why error) (place, error) {
	if p.letters.overflow(typ, enc) {
		return place{}, nil
	}
	return place{}, why
}

// use has events go to a log. It is called under mu, or before anybody fires.
func (p *Producer) use(log *wal.Log) {
	p.log = log
	p.countPending()
}

func (p *Producer) countPending() {
	s := p.log.Stats()
	p.pending = int64(s.Next - 1 - s.Released)
}

// room reports whether MaxEvents leaves room for one more. The log is asked only when the count since the
// last answer says that it may be full.
func (p *Producer) room() bool {
	if p.pending >= int64(p.cfg.MaxEvents) {
		p.countPending()
	}
	if p.pending >= int64(p.cfg.MaxEvents) {
		return false
	}
	p.pending++
	return true
}
