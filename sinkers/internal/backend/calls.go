package backend

import (
	"context"
	"sync"
)

// Calls are the calls of a sink's methods that are going on, and whether more are let in. Its methods may be
// called concurrently. Make one with [NewCalls].
type Calls struct {
	errClosed error

	mu       sync.Mutex
	inFlight sync.WaitGroup
	closed   bool
	closing  context.Context // done once Close has begun
	shut     context.CancelFunc
}

// NewCalls returns a Calls that lets calls in until it is closed. errClosed is what those get that come later, and the
// cause of the contexts of those that are cut off.
func NewCalls(errClosed error) *Calls {
	c := &Calls{errClosed: errClosed}
	c.closing, c.shut = context.WithCancel(context.Background())
	return c
}

// Begin lets a call in. The context it returns also ends when Close begins; end must be called when the call is
// through with the database. The error is ctx's, or that of being closed.
func (c *Calls) Begin(ctx context.Context) (_ context.Context, end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, c.errClosed
	}
	c.inFlight.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.closing, func() { cancel(c.errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		c.inFlight.Done()
	}, nil
}

// Close lets nobody in any more, cuts off what is going on, and waits until it has ended.
func (c *Calls) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.shut()
	c.inFlight.Wait()
}
