package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// maxNotes bounds the notes that wait for a sink which is away.
const maxNotes = 100_000

// bookkeeper is the goroutine that notes in the sinks' ledgers which events became letters, so that verify can tell why they
// are missing. No offset waits for it: the letter is safe, and without a note it is a gap that nobody explains.
type bookkeeper struct {
	*Worker
	wake chan struct{}

	mu     sync.Mutex
	notes  map[string][]sinkers.LedgerEntry // by tenant
	count  int
	closed bool
}

func newBookkeeper(w *Worker) *bookkeeper {
	return &bookkeeper{Worker: w, wake: make(chan struct{}, 1), notes: map[string][]sinkers.LedgerEntry{}}
}

func positionOf(r *sinkers.Row) sinkers.Position {
	return sinkers.Position{Tenant: r.Tenant, Source: r.Source, Seq: r.Seq, ID: r.ID, Time: r.Time}
}

// ledgerOf is the ledger's entry for an event that is a letter for one of dlq's reasons; false where it has no sequence.
func ledgerOf(p sinkers.Position, reason string) (sinkers.LedgerEntry, bool) {
	why := sinkers.LedgerDeadLetter
	if reason == dlq.ReasonConflict {
		why = sinkers.LedgerConflict
	}
	return sinkers.LedgerOf(p, why, time.Now())
}

// letters notes those that were sent.
func (k *bookkeeper) letters(sent []*letter) {
	for _, l := range sent {
		k.add(l.seq, l.reason)
	}
}

// add notes that an event is a letter for one of dlq's reasons. It never blocks.
func (k *bookkeeper) add(p sinkers.Position, reason string) {
	e, ok := ledgerOf(p, reason)
	if _, keeps := k.cfg.Sink.(sinkers.Ledger); !ok || !keeps {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count >= maxNotes {
		k.lost(1)
		return
	}
	k.notes[p.Tenant] = append(k.notes[p.Tenant], e)
	k.count++
	signal(k.wake)
}

func (k *bookkeeper) lost(n int) {
	k.stats.count(func(s *Stats) { s.LedgerLost += int64(n) })
}

// close says that nothing more comes: run returns after one more try.
func (k *bookkeeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	signal(k.wake)
}

func (k *bookkeeper) run(ctx context.Context) {
	var backoff retry.Backoff
	for {
		k.mu.Lock()
		closed := k.closed
		k.mu.Unlock()
		left, err := k.write(ctx)
		wait := time.Duration(0)
		switch {
		case left == 0:
			backoff = nil
		case closed || ctx.Err() != nil:
			k.lost(left)
			k.log.Error("letters could not be noted in the ledger", "letters", left, "err", err)
		default:
			wait = k.cfg.Retry.next(&backoff)
			k.log.Warn("letters can't be noted in the ledger; it is tried again", "letters", left, "err", err)
		}
		if closed || sleepOr(ctx, wait, k.wake) != nil {
			return
		}
	}
}

// write writes all notes and returns how many are left, with the last error.
func (k *bookkeeper) write(ctx context.Context) (left int, last error) {
	k.mu.Lock()
	notes := k.notes
	k.notes, k.count = map[string][]sinkers.LedgerEntry{}, 0
	k.mu.Unlock()
	for tenant, entries := range notes {
		err := k.append(ctx, tenant, entries)
		switch {
		case err == nil, errors.Is(err, errors.ErrUnsupported):
		case sinkers.IsPermanent(err): // such as a tenant that will never have a database: they would only fill the room
			k.lost(len(entries))
			k.log.Error("letters will not be noted in the ledger", "tenant", tenant, "letters", len(entries), "err", err)
		default:
			last = err
			continue
		}
		delete(notes, tenant)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for tenant, entries := range notes {
		k.notes[tenant] = append(entries, k.notes[tenant]...)
		k.count += len(entries)
		left += len(entries)
	}
	return left, last
}

func (k *bookkeeper) append(ctx context.Context, tenant string, entries []sinkers.LedgerEntry) error {
	ctx, cancel := k.cfg.Retry.writeContext(ctx)
	defer cancel()
	if k.perTenant != nil {
		return k.perTenant.Of(tenant).AppendLedger(ctx, entries)
	}
	return k.cfg.Sink.(sinkers.Ledger).AppendLedger(ctx, entries) // add has made sure of it
}
