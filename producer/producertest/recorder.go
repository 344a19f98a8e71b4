package producertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/producer"
)

// Recorder keeps the events that are fired, in order, as a sink would read them: filled in from the context,
// encoded and decoded again, with id, time, source and sequence. Its zero value is ready for use, and its
// methods may be called concurrently.
type Recorder struct {
	// Clock is the time that events are stamped with. Default time.Now.
	Clock func() time.Time
	// Err is what Emit returns, with the event not taken. Default nil.
	Err error

	mu      sync.Mutex
	stamper firetrail.Stamper
	seqs    map[string]uint64
	events  []firetrail.Event
	bad     []error
}

// source is what every recorded event says its source is.
const source = "producertest"

// Fire records the event, as a producer's Fire would take it.
func (r *Recorder) Fire(ctx context.Context, e firetrail.Event) { _ = r.record(ctx, e) }

// Emit records the event and returns nil, or returns Err, or what is wrong with the event.
func (r *Recorder) Emit(ctx context.Context, e firetrail.Event, _ producer.Ack) error {
	if r.Err != nil {
		return r.Err
	}
	return r.record(ctx, e)
}

func (r *Recorder) record(ctx context.Context, e firetrail.Event) error {
	e.FillFrom(ctx)
	enc, _, _ := e.AppendBinary(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	enc = firetrail.StampBinary(enc, r.stamp(&e))
	got, err := roundTrip(enc)
	if err != nil {
		r.bad = append(r.bad, fmt.Errorf("event %q of tenant %q: %w", e.Action, e.Tenant, err))
		return err
	}
	r.events = append(r.events, got)
	return nil
}

func (r *Recorder) stamp(e *firetrail.Event) firetrail.Stamp {
	if r.seqs == nil {
		r.seqs = map[string]uint64{}
	}
	clock := r.Clock
	if clock == nil {
		clock = time.Now
	}
	s := r.stamper.Stamp(e, clock().UnixMicro())
	r.seqs[e.Tenant]++
	s.Seq, s.Source = r.seqs[e.Tenant], source
	return s
}

// roundTrip makes of an event's binary form what the worker would make of the record it is shipped as.
func roundTrip(enc []byte) (firetrail.Event, error) {
	e, err := firetrail.DecodeBinary(enc)
	if err != nil {
		return e, err
	}
	if err := errors.Join(e.Validate(), e.Action.CheckReserved()); err != nil {
		return e, err
	}
	wire, err := e.AppendCloudEvent(nil)
	if err != nil {
		return e, err
	}
	return firetrail.DecodeCloudEvent(firetrail.Message{Key: []byte(e.Tenant), Value: wire, Headers: firetrail.CloudEventHeaders()})
}

// Events returns the events recorded so far.
func (r *Recorder) Events() []firetrail.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]firetrail.Event(nil), r.events...)
}

// Of returns the recorded events of one action.
func (r *Recorder) Of(action firetrail.Name) (events []firetrail.Event) {
	for _, e := range r.Events() {
		if e.Action == action {
			events = append(events, e)
		}
	}
	return events
}

// Bad returns, for each event that a producer would have made a dead letter, why.
func (r *Recorder) Bad() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.bad...)
}

// Reset forgets what was recorded. Sequences go on.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.bad = nil, nil
}
