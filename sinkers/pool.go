package sinkers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"
)

// ErrRouterClosed is the error of a [Router]'s methods after Close.
var ErrRouterClosed = errors.New("closed")

// pool keeps the databases of tenants open. At most size are open or being opened; those in use are never
// closed, and of the others the one that was used longest ago makes room. Closing, which takes long where
// there is something to write back, is left to goroutines; a tenant's database isn't opened again
// before it is closed.
type pool struct {
	size    int
	timeout time.Duration
	open    func(ctx context.Context, tenant string) (Sinker, error)
	failed  func(tenant string, err error) // of closing

	flight singleflight.Group
	ctx    context.Context // of opening; done once the pool is closed
	shut   context.CancelFunc
	wait   sync.WaitGroup // closings and openings

	mu      sync.Mutex
	live    map[string]*database
	idle    *simplelru.LRU[string, *database] // of live
	taken   int                               // live, and being opened
	closing map[string]bool
	changed chan struct{} // closed, and made anew, when something of the above became less
	closed  bool
}

// database is an open database of a tenant.
type database struct {
	Sinker
	tenant string
	users  int
}

func newPool(size int, timeout time.Duration, open func(context.Context, string) (Sinker, error), failed func(string, error)) *pool {
	idle, _ := simplelru.NewLRU[string, *database](size, nil) // it fails for sizes below 1 alone
	p := &pool{
		size: size, timeout: timeout, open: open, failed: failed,
		live: map[string]*database{}, idle: idle, closing: map[string]bool{}, changed: make(chan struct{}),
	}
	p.ctx, p.shut = context.WithCancel(context.Background())
	return p
}

// acquire returns the tenant's database, open, until release is called.
func (p *pool) acquire(ctx context.Context, tenant string) (*database, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d, opening, err := p.take(tenant)
		if d != nil || err != nil {
			return d, err
		}
		select {
		case res := <-opening:
			if res.Err != nil {
				return nil, res.Err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take returns the database if it is open, and otherwise where the end of its opening will be told. It is then
// asked for again: another tenant may have been quicker.
func (p *pool) take(tenant string) (*database, <-chan singleflight.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrRouterClosed
	}
	if d := p.live[tenant]; d != nil {
		p.idle.Remove(tenant)
		d.users++
		return d, nil, nil
	}
	p.wait.Add(1) // under the lock, so that Close doesn't wait before
	ch := p.flight.DoChan(tenant, func() (any, error) { return nil, p.bring(tenant) })
	out := make(chan singleflight.Result, 1)
	go func() {
		defer p.wait.Done()
		out <- <-ch
	}()
	return nil, out, nil
}

// bring opens a tenant's database. It belongs to no caller: one that no longer waits doesn't end it for the others.
func (p *pool) bring(tenant string) error {
	ctx, cancel := context.WithTimeoutCause(p.ctx, p.timeout,
		fmt.Errorf("its database could not be opened within %v", p.timeout))
	defer cancel()
	there, err := p.reserve(ctx, tenant)
	if there || err != nil {
		return err
	}
	s, err := p.open(ctx, tenant)
	if err == nil && s == nil {
		err = errors.New("resolve returned neither a sink nor an error")
	}
	if shared, ok := s.(Shared); ok && err == nil {
		err = errors.Join(fmt.Errorf("resolve returned a %T, of which there can't be one for each tenant: %s", s, shared.Shared()), s.Close())
	}
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.taken--
		p.tell()
		return err
	}
	d := &database{Sinker: s, tenant: tenant}
	p.live[tenant] = d
	p.idle.Add(tenant, d)
	if p.closed {
		p.evict(d)
		return ErrRouterClosed
	}
	return nil
}

// reserve waits for the room to open one more database. There says that it is open already.
func (p *pool) reserve(ctx context.Context, tenant string) (there bool, err error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return false, ErrRouterClosed
		}
		there = p.live[tenant] != nil
		// As many as a quarter are closed beside those that are open.
		room := !p.closing[tenant] && len(p.closing) <= p.size/4
		if !there && room && p.taken >= p.size {
			if _, oldest, ok := p.idle.GetOldest(); ok {
				p.evict(oldest)
			}
		}
		room = room && p.taken < p.size
		if room && !there {
			p.taken++
		}
		changed := p.changed
		p.mu.Unlock()
		if there || room {
			return there, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// evict closes an idle database on a goroutine. It is called with the lock held.
func (p *pool) evict(d *database) {
	p.idle.Remove(d.tenant)
	delete(p.live, d.tenant)
	p.taken--
	p.closing[d.tenant] = true
	p.wait.Go(func() {
		if err := d.Close(); err != nil {
			p.failed(d.tenant, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.closing, d.tenant)
		p.tell()
	})
}

// tell wakes those that wait for room. It is called with the lock held.
func (p *pool) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pool) release(d *database) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.users--; d.users > 0 {
		return
	}
	p.idle.Add(d.tenant, d)
	if p.closed {
		p.evict(d)
	}
	p.tell()
}

// shutdown closes all databases, those in use once they no longer are, and waits for that.
func (p *pool) shutdown() {
	p.mu.Lock()
	p.closed = true
	for _, d := range p.idle.Values() {
		p.evict(d)
	}
	p.tell()
	p.mu.Unlock()
	p.shut()
	for {
		p.mu.Lock()
		left, changed := len(p.live), p.changed
		p.mu.Unlock()
		if left == 0 {
			break
		}
		<-changed
	}
	p.wait.Wait()
}

// held returns how many databases are open, being opened or being closed.
func (p *pool) held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken + len(p.closing)
}
