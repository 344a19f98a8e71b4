package libsql

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// lease is what a Sink has taken while it may store events.
type lease struct {
	owner, holder string
	ttl           time.Duration
	lost          atomic.Bool
	stop          context.CancelFunc
	ended         chan struct{} // closed when it isn't renewed any more
	give          func()
}

// takeLease takes the lease, or waits for it, and renews it from then on.
func (s *Sink) takeLease(ctx context.Context) error {
	if _, err := s.writer.ExecContext(ctx, sqlstore.CreateLease); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	host, _ := os.Hostname()
	l := &lease{
		owner: rand.Text(), holder: fmt.Sprintf("process %d on %s", os.Getpid(), host),
		ttl: s.cfg.LeaseTTL, ended: make(chan struct{}),
	}
	if err := s.awaitLease(ctx, l); err != nil {
		return err
	}
	renewing, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.give = func() { s.giveLease(l) }
	s.lease = l
	go s.renewLease(renewing, l)
	return nil
}

func (s *Sink) awaitLease(ctx context.Context, l *lease) error {
	tick := time.NewTicker(l.ttl / 10)
	defer tick.Stop()
	for {
		got, err := s.tryLease(ctx, l)
		switch {
		case err != nil && ctx.Err() != nil && s.cfg.WaitForLease:
			return fmt.Errorf("%w: %w", ErrLeased, context.Cause(ctx))
		case err != nil && !s.cfg.WaitForLease:
			return fmt.Errorf("lease: %w", err)
		case got:
			return nil
		case err == nil && !s.cfg.WaitForLease:
			var holder string
			if err := s.writer.QueryRowContext(ctx, sqlstore.SelectHolder).Scan(&holder); err != nil {
				return fmt.Errorf("%w: %w", ErrLeased, err)
			}
			return fmt.Errorf("%w (%s); stop that one, or wait for its lease", ErrLeased, holder)
		}
		select { // whoever waits also waits for a server that is away
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrLeased, context.Cause(ctx))
		}
	}
}

// tryLease takes or renews the lease, unless it is another's.
func (s *Sink) tryLease(ctx context.Context, l *lease) (bool, error) {
	res, err := s.writer.ExecContext(ctx, sqlstore.TakeLease, l.owner, l.holder, l.ttl.Milliseconds())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// renewLease renews the lease until ctx ends or another has it. A server that is away is tried again.
func (s *Sink) renewLease(ctx context.Context, l *lease) {
	defer close(l.ended)
	tick := time.NewTicker(l.ttl / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if s.takeTurn(ctx) != nil {
			return
		}
		trying, cancel := context.WithTimeout(ctx, l.ttl)
		got, err := s.tryLease(trying, l)
		cancel()
		s.endTurn()
		if err == nil && !got {
			s.loseLease(l)
			return
		}
	}
}

// loseLease notes that another has the lease.
func (s *Sink) loseLease(l *lease) {
	if !l.lost.Swap(true) && s.cfg.OnLeaseLost != nil {
		s.cfg.OnLeaseLost(fmt.Errorf("libsql: %s: %w", s.cfg.URL, ErrLeaseLost))
	}
}

// checkLease returns an error when another has the lease.
func (s *Sink) checkLease(ctx context.Context) error {
	if s.lease == nil {
		return nil
	}
	var holds bool
	if err := s.writer.QueryRowContext(ctx, sqlstore.HoldsLease, s.lease.owner).Scan(&holds); err != nil {
		return err
	}
	if !holds {
		s.loseLease(s.lease)
		return ErrLeaseLost
	}
	return nil
}

// end stops renewing the lease and gives it up.
func (l *lease) end() {
	l.stop()
	<-l.ended
	if !l.lost.Load() {
		l.give()
	}
}

// giveLease tries to; if it can't, the lease expires.
func (s *Sink) giveLease(l *lease) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = s.writer.ExecContext(ctx, sqlstore.EndLease, l.owner)
}
