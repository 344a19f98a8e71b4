package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/wal"
)

// shipper moves one log's records to Kafka, in order.
type shipper struct {
	p         *Producer
	log       *wal.Log
	recovered uint64 // records up to this sequence are an earlier run's
	reader    *wal.Reader
	window    *window
	backoff   time.Duration
	paused    uint64 // the window's mark at the last pause
	arena     []byte // where values are rendered
	loggedAt  time.Time
}

const (
	readBatch  = 512
	arenaSize  = 256 << 10
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	lookEvery  = 100 * time.Millisecond
	// largeRecord is the size of a value, in bytes, above which it is sent alone. Few are: a payload is 64 KiB at
	// the most, and the topics of those who allow less than this are too small for it.
	largeRecord = 32 << 10
)

func newShipper(p *Producer, log *wal.Log) *shipper {
	s := log.Stats()
	return &shipper{
		p: p, log: log, recovered: s.Released + s.Recovered, window: newWindow(s.Released),
	}
}

// run ships until ctx ends or, with untilDrained, nothing is left.
func (s *shipper) run(ctx context.Context, untilDrained bool) {
	s.reader = s.log.NewReader()
	defer func() { _ = s.reader.Close() }()
	var records []wal.Record
	for !untilDrained || !s.log.Drained() {
		var err error
		records, err = s.read(ctx, records[:0], readBatch)
		switch {
		case ctx.Err() != nil || errors.Is(err, wal.ErrClosed):
			_, _ = s.window.settle() // what came back stays in the log
			s.log.Release(s.window.mark())
			return
		case errors.Is(err, context.DeadlineExceeded):
		case err != nil:
			s.complain("the log can't be read", err)
			s.pause(ctx)
		default:
			s.ship(ctx, records)
		}
		if s.window.hasFailed() {
			s.goBack(ctx)
		}
	}
}

// read reads from the log, for a short while only, so that what happens meanwhile is looked after. What the
// log has lost is passed over.
func (s *shipper) read(ctx context.Context, records []wal.Record, most int) ([]wal.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	from := s.reader.Next()
	records, err := s.reader.Read(ctx, records, most)
	for _, r := range records {
		if r.Seq > from {
			s.release(s.window.skip(from, r.Seq-1))
		}
		from = r.Seq + 1
	}
	return records, err
}

// ship hands records to Kafka, until one has come back or ctx has ended.
func (s *shipper) ship(ctx context.Context, records []wal.Record) {
	for _, r := range records {
		if s.window.settled(r.Seq) {
			continue
		}
		rec, id, why := s.render(r)
		if why != nil {
			if !s.bury(ctx, r, why, dlq.ReasonInvalid) {
				return
			}
			continue
		}
		if !s.send(r.Seq, id, rec) {
			return
		}
	}
}

// send hands a record to Kafka when the window has room, and reports false when another has come back.
//
// A large one goes alone. The broker refuses a record for its size, if at all, and with it fails what is buffered
// for its partition; but what is handed over between the refusal and the news of it would go through, and overtake
// what failed. So nothing is.
func (s *shipper) send(seq uint64, id firetrail.ID, rec *kgo.Record) bool {
	size, most := len(rec.Value), s.p.cfg.MaxInFlight
	large := size > largeRecord
	if large {
		most = 1
	}
	if !s.window.begin(size, most, maxInFlightBytes) {
		return false
	}
	s.produce(seq, id, rec)
	return !large || s.window.idle()
}

// produce hands one record to Kafka. Its context is never ctx, nor a request's: that of the first record in a
// batch counts for all of the partition's.
func (s *shipper) produce(seq uint64, id firetrail.ID, rec *kgo.Record) {
	size := len(rec.Value)
	s.p.client.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
		// All promises of the client run on one goroutine: nothing here waits.
		if err == nil {
			s.count(seq, id)
		}
		s.release(s.window.end(seq, size, err))
	})
}

// count counts an acknowledged record. A source's end has no id here, and nobody fired it.
func (s *shipper) count(seq uint64, id firetrail.ID) {
	recovered := seq <= s.recovered
	switch {
	case recovered:
		s.p.reshipped.Add(1)
	case !id.IsZero():
		s.p.shipped.Add(1)
	}
	if f := s.p.cfg.OnAcknowledged; f != nil && !id.IsZero() {
		f(id, recovered)
	}
}

func (s *shipper) release(low uint64) {
	if low != 0 {
		s.log.Release(low)
	}
}

// render makes the Kafka record of a log's record; the id is zero for a source's end. An error says that it is no
// event that can be sent.
func (s *shipper) render(r wal.Record) (*kgo.Record, firetrail.ID, error) {
	if r.Type != recordEvent && r.Type != recordClosing {
		return nil, firetrail.ID{}, fmt.Errorf("record type %d is not known; a newer program wrote it", r.Type)
	}
	e, err := firetrail.DecodeBinary(r.Payload)
	if err != nil {
		return nil, e.ID, err
	}
	if err := fit(r.Type, &e); err != nil {
		return nil, e.ID, err
	}
	if cap(s.arena)-len(s.arena) < 2*len(r.Payload)+1024 {
		s.arena = make([]byte, 0, max(arenaSize, 4*len(r.Payload)))
	}
	start := len(s.arena)
	b, err := e.AppendCloudEvent(s.arena)
	if err != nil {
		return nil, e.ID, err
	}
	s.arena = b
	key := []byte{}
	if e.Tenant != "" {
		key = []byte(e.Tenant)
	}
	if r.Type == recordClosing {
		e.ID = firetrail.ID{}
	}
	return &kgo.Record{Topic: s.p.cfg.Topic, Key: key, Value: b[start:len(b):len(b)], Headers: eventHeaders}, e.ID, nil
}

// eventHeaders are the same for every record; nobody writes to them.
var eventHeaders = recordHeaders()

func recordHeaders() (hs []kgo.RecordHeader) {
	for _, h := range firetrail.CloudEventHeaders() {
		hs = append(hs, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return hs
}

// goBack deals with records that came back: when nothing is in flight any more it reads again from the lowest
// that failed. Where the broker refused a record, all that were buffered for its partition failed with it, so
// they are sent one at a time until the culprit fails alone.
func (s *shipper) goBack(ctx context.Context) {
	failed, err := s.window.settle()
	s.log.Release(s.window.mark())
	last := s.reader.Next()
	s.reader.Seek(failed)
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
	case refused(err):
		s.complain("the broker refuses something in a batch; its records are sent one at a time", err)
		s.oneByOne(ctx, last)
	default:
		s.outage(ctx, err)
	}
}

func (s *shipper) outage(ctx context.Context, err error) {
	s.complain("the broker doesn't take events; they wait in the log", err)
	if lostTopic(err) { // the client has to forget what it knows of it
		s.p.client.PurgeTopicsFromClient(s.p.cfg.Topic)
	}
	s.pause(ctx)
}

// oneByOne sends the records before the sequence last one at a time. One that is refused is a letter.
func (s *shipper) oneByOne(ctx context.Context, last uint64) {
	for s.reader.Next() < last && ctx.Err() == nil {
		records, err := s.read(ctx, nil, 1)
		if err != nil {
			return
		}
		r := records[0]
		if s.window.settled(r.Seq) {
			continue
		}
		rec, id, why := s.render(r)
		reason := dlq.ReasonInvalid
		if why == nil {
			reason = dlq.ReasonUnsendable
			if why = s.p.single.send(ctx, rec); why == nil {
				s.count(r.Seq, id)
				s.release(s.window.finish(r.Seq, nil))
			}
		}
		switch {
		case why == nil:
		case reason == dlq.ReasonUnsendable && !refused(why):
			s.reader.Seek(r.Seq)
			if ctx.Err() == nil && !errors.Is(why, kgo.ErrClientClosed) {
				s.outage(ctx, why)
			}
			return
		case !s.bury(ctx, r, why, reason):
			return
		}
	}
}

// bury makes a letter of a record that can't be sent, and reports false when ctx ended before it was kept.
func (s *shipper) bury(ctx context.Context, r wal.Record, why error, reason string) bool {
	l := s.p.letter(r.Type, r.Payload, reason, why)
	for {
		err := s.p.letters.bury(ctx, r.Type, l)
		if err == nil {
			s.release(s.window.finish(r.Seq, fmt.Errorf("%w: %w", ErrRefused, why)))
			return true
		}
		s.complain("a dead letter can't be written; shipping waits for it", err)
		if s.pause(ctx); ctx.Err() != nil {
			s.reader.Seek(r.Seq)
			return false
		}
	}
}

// pause waits before another try, longer each time until something was done in between.
func (s *shipper) pause(ctx context.Context) {
	if mark := s.window.mark(); mark != s.paused {
		s.paused, s.backoff = mark, 0
	}
	s.backoff = min(max(2*s.backoff, minBackoff), maxBackoff)
	t := time.NewTimer(s.backoff)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// complain logs, at most once a second.
func (s *shipper) complain(what string, err error) {
	if now := time.Now(); now.Sub(s.loggedAt) >= time.Second {
		s.loggedAt = now
		s.p.cfg.Logger.Warn("producer: "+what, "topic", s.p.cfg.Topic, "error", err)
	}
}
