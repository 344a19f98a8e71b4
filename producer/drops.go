package producer

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail/wal"
)

// DropReason says why events were dropped.
type DropReason uint8

// The reasons.
const (
	DropFull       DropReason = iota // no room in the log, nor in the letters
	DropTooLarge                     // over the log's MaxRecord
	DropClosed                       // fired after Close
	DropPanic                        // the context given to Fire panicked, or a value ended the goroutine
	DropUnsent                       // in memory alone, and Close ended before they were sent
	DropRefused                      // no event, or refused by the broker, and no directory for letters
	DropLost                         // they were in a log, an earlier run's perhaps, and can't be read any more
	DropTenantFull                   // over Config.MaxTenantBytes, and no room in the letters
	dropReasons
)

// String returns the reason as metrics and logs name it.
func (r DropReason) String() string {
	return name(r, "full", "too_large", "closed", "panic", "unsent", "refused", "lost", "tenant_full")
}

// Drop says that events were dropped.
type Drop struct {
	Reason DropReason
	Events uint64 // since the last call with this reason
}

// drops counts dropped events and tells of them, apart from whoever dropped them.
type drops struct {
	counts [dropReasons]atomic.Uint64
	told   [dropReasons]uint64 // the teller's alone
}

// tellEvery is how often drops are told of, so that a flood of them is one line a reason.
const tellEvery = time.Second

func (d *drops) add(r DropReason, n uint64) { d.counts[r].Add(n) }

func (d *drops) run(ctx context.Context, cfg *Config) {
	t := time.NewTicker(tellEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			d.tell(cfg)
		case <-ctx.Done():
			return
		}
	}
}

// tell is called by one goroutine at a time.
func (d *drops) tell(cfg *Config) {
	for i := range d.counts {
		n := d.counts[i].Load() - d.told[i]
		if n == 0 {
			continue
		}
		d.told[i] += n
		r := DropReason(i)
		cfg.Logger.Error("producer: events dropped", "reason", r.String(), "events", n, "in_all", d.told[i])
		if cfg.OnDrop != nil {
			cfg.OnDrop(Drop{Reason: r, Events: n})
		}
	}
}

func dropReason(err error) DropReason {
	switch {
	case errors.Is(err, errTenantFull):
		return DropTenantFull
	case errors.Is(err, wal.ErrFull):
		return DropFull
	case errors.Is(err, wal.ErrTooLarge):
		return DropTooLarge
	default: // wal.ErrClosed: Append has no other
		return DropClosed
	}
}
