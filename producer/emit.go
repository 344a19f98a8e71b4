package producer

import (
	"context"
	"errors"
	"fmt"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

// Ack says what Emit waits for.
type Ack uint8

// What Emit can wait for.
const (
	OnDisk   Ack = iota // the event is on the disk: a power cut doesn't lose it
	OnBroker            // all in-sync replicas of the broker have it
)

// The errors of Emit.
var (
	// ErrNotDurable: the producer can't keep what was asked for: its mode is Volatile, its log is degraded, or
	// it is closed. The event was not taken, or it was in memory alone and is lost, and counted as dropped.
	ErrNotDurable = errors.New("producer: not durable")
	// ErrPending: the wait ended first. The event was taken and is still on its way.
	ErrPending = errors.New("producer: still on its way")
	// ErrRefused: the event can't be sent. It is a dead letter, or where there is no directory for those counted
	// as dropped.
	ErrRefused = errors.New("producer: refused")
)

// errLost is what the one who waits for an event is told that was taken and is lost.
var errLost = fmt.Errorf("%w: the event is lost", ErrNotDurable)

// Emit is Fire for what must not happen unrecorded: it returns nil only when the event is where ack says, and waits
// for that until ctx ends. Other errors than ErrNotDurable, ErrPending and ErrRefused, all of which may be
// wrapped with a reason, say that the event was not taken: it is not valid, too large, there is no room for it, ctx
// had ended before. A value that can't be encoded is such an error here. An event that was not taken has no
// sequence, and is not counted. A nil Producer returns ErrNotDurable.
func (p *Producer) Emit(ctx context.Context, e firetrail.Event, ack Ack) error {
	if p == nil {
		return ErrNotDurable
	}
	if ctx == nil {
		ctx = context.Background()
	}
	if err := fill(ctx, &e); err != nil {
		return fmt.Errorf("producer: the event was not taken: %w", err)
	}
	if err := errors.Join(e.Validate(), e.Action.CheckReserved()); err != nil {
		return fmt.Errorf("producer: the event was not taken: %w", err)
	}
	if ack == OnDisk {
		if err := p.protects(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("producer: the event was not taken: %w", err)
	}
	b := buffers.Get().(*[]byte)
	defer p.recycle(b)
	var told chan error
	if ack == OnBroker {
		told = make(chan error, 1)
	}
	at, err := p.take(&e, b, true, told)
	switch {
	case errors.Is(err, wal.ErrClosed):
		return fmt.Errorf("%w: closed", ErrNotDurable)
	case err != nil:
		return fmt.Errorf("producer: the event was not taken: %w", err)
	}
	p.fired.Add(1)
	if at.log == nil {
		return fmt.Errorf("%w: the log is full; the event waits among the dead letters", ErrPending)
	}
	if ack == OnDisk {
		if err := at.log.Sync(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrPending, err)
		}
		return nil
	}
	return p.awaitBroker(ctx, at, told)
}

// fill fills the event in from ctx, whose Value method is the caller's own and may panic.
func fill(ctx context.Context, e *firetrail.Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the context panicked: %v", r)
		}
	}()
	e.FillFrom(ctx)
	return nil
}

// protects reports why an event can't be put on the disk now.
func (p *Producer) protects() error {
	if p.cfg.Mode == Volatile {
		return fmt.Errorf("%w: the mode is volatile", ErrNotDurable)
	}
	p.mu.Lock()
	log, standIn := p.log, p.standIn
	p.mu.Unlock()
	s := log.Stats().StateChange
	if standIn {
		s = p.logs.openFailure()
	}
	switch s.State {
	case wal.Degraded:
		return fmt.Errorf("%w: %w", ErrNotDurable, s.Reason)
	case wal.Closed:
		return fmt.Errorf("%w: closed", ErrNotDurable)
	}
	return nil
}

func (p *Producer) awaitBroker(ctx context.Context, at place, told <-chan error) error {
	why := error(wal.ErrClosed)
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		why = ctx.Err()
	case <-p.closed:
	}
	at.window.forget(at.seq)
	select {
	case err := <-told: // at the same moment
		return err
	default:
		return fmt.Errorf("%w: %w", ErrPending, why)
	}
}
