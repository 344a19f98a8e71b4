package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// The reasons of a degraded log whose disk has not failed. What is in the ring is as safe as ever then.
var (
	// ErrHang: a call to the disk doesn't return.
	ErrHang = errors.New("wal: the disk hangs")
	// ErrRingFull: records come faster than the disk takes them, for a second and more.
	ErrRingFull = errors.New("wal: the ring is full: records come faster than the disk takes them")
)

const (
	watchEvery = 250 * time.Millisecond
	fullAfter  = time.Second // shorter bursts are counted in Stats.Unprotected, no more
)

// watch knows which call to the file system the drain is in. The drain can't tell that itself while the call
// doesn't return.
type watch struct {
	clock func() time.Time
	mu    sync.Mutex
	what  string // "" when in none
	since time.Time
}

func (w *watch) enter(op, name string) {
	now := w.clock()
	w.mu.Lock()
	w.what, w.since = op+" of "+filepath.Base(name), now
	w.mu.Unlock()
}

func (w *watch) leave() {
	w.mu.Lock()
	w.what = ""
	w.mu.Unlock()
}

// longer returns the call that has lasted for d or more.
func (w *watch) longer(d time.Duration) (what string, lasts time.Duration, ok bool) {
	now := w.clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Before(w.since) { // the clock jumped back
		w.since = now
	}
	lasts = now.Sub(w.since)
	return w.what, lasts, w.what != "" && lasts >= d
}

// look looks, until the log is stopped, whether the drain gets on.
func (d *disk) look() {
	l := d.l
	every := watchEvery
	if h := l.cfg.HangAfter; h > 0 {
		every = min(every, max(h/4, time.Millisecond))
	}
	t := time.NewTicker(every)
	defer t.Stop()
	var queuedSince time.Time
	for {
		select {
		case <-l.stop:
			return
		case <-t.C:
		}
		if h := l.cfg.HangAfter; h > 0 {
			if what, lasts, ok := d.watch.longer(h); ok {
				d.strain(fmt.Errorf("%w: %s has not returned for %v", ErrHang, what, lasts.Round(time.Millisecond)), true)
				continue
			}
		}
		now := l.clock()
		switch {
		case !d.queued():
			queuedSince = time.Time{}
		case queuedSince.IsZero():
			queuedSince = now
		case passed(now, queuedSince, fullAfter):
			d.strain(ErrRingFull, false)
		}
	}
}

// strain makes the log Degraded for a disk that has not failed, but hangs or is too slow.
func (d *disk) strain(reason error, hung bool) {
	l := d.l
	l.mu.Lock()
	if l.closed || l.hung || l.strained && !hung {
		l.mu.Unlock()
		return
	}
	changed := l.state.State != Degraded
	if !changed && !hung { // it has a better reason
		l.mu.Unlock()
		return
	}
	if changed {
		l.stats.DegradedTimes++
		l.state = StateChange{State: Degraded, Since: l.clock()}
		l.strained = true
	}
	l.state.Reason = reason
	if hung {
		l.hung, l.queue.pinned = true, true
		l.fail(fmt.Errorf("%w: %w", ErrDegraded, reason))
	}
	state := l.state
	l.tellReaders()
	l.mu.Unlock()
	if changed {
		l.cfg.Logger.Error("wal: degraded: what the ring has no room for is in memory only", "dir", l.cfg.Dir, "reason", reason)
		l.tellState(state)
	}
}

// relax is called by the drain when a cycle went well: nothing hangs, then.
func (d *disk) relax() {
	l := d.l
	l.mu.Lock()
	l.hung, l.queue.pinned = false, false
	well := l.strained && !l.queued
	l.mu.Unlock()
	if well {
		d.recovered()
	}
}
