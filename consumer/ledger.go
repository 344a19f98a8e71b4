package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sethvargo/go-retry"
	"golang.org/x/sync/errgroup"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// maxNotes bounds the notes that wait for a tenant's database which is away, and for which no offset waits.
const maxNotes = 100_000

// maxLedgers is the most ledgers that are written to at a time.
const maxLedgers = 8

// bookkeeper is the goroutine that notes in the sinks' ledgers which events became letters, so that verify can tell why they
// are missing. A letter's record is done when that is noted, or else the note of a worker that is killed would be lost.
// Where each tenant has a database of its own one try must do: a tenant whose database is away holds up no others.
type bookkeeper struct {
	*Worker
	wake chan struct{}

	mu     sync.Mutex
	notes  map[string][]note // by tenant
	loose  int               // of notes, such as no offset waits for
	closed bool
}

// note is that an event is a letter.
type note struct {
	entry  sinkers.LedgerEntry
	letter *letter // that is done with it; nil: no offset waits
	held   bool    // the letter is in hand
}

func newBookkeeper(w *Worker) *bookkeeper {
	return &bookkeeper{Worker: w, wake: make(chan struct{}, 1), notes: map[string][]note{}}
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

// take takes over those letters, which are sent and in hand, of which there is something to note, and returns the others.
func (k *bookkeeper) take(sent []*letter) (others []*letter) {
	if _, keeps := k.cfg.Sink.(sinkers.Ledger); !keeps {
		return sent
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range sent {
		if e, ok := ledgerOf(l.seq, l.reason); ok {
			k.notes[e.Tenant] = append(k.notes[e.Tenant], note{e, l, true})
		} else {
			others = append(others, l)
		}
	}
	signal(k.wake)
	return others
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
		case err == nil: // what is left came meanwhile, and has waked this
			backoff = nil
		case closed || ctx.Err() != nil:
			k.mu.Lock()
			k.lost(k.loose)
			k.mu.Unlock()
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

// write writes all notes and returns how many are left, with an error.
func (k *bookkeeper) write(ctx context.Context) (left int, last error) {
	k.mu.Lock()
	all := k.notes
	k.notes, k.loose = map[string][]note{}, 0
	k.mu.Unlock()
	if len(all) == 0 {
		return 0, nil
	}
	var group errgroup.Group
	group.SetLimit(maxLedgers)
	for tenant, notes := range all {
		group.Go(func() error { return k.writeTo(ctx, tenant, notes) })
	}
	last = group.Wait()
	k.lettersMoved()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, notes := range k.notes {
		left += len(notes)
	}
	return left, last
}

// writeTo writes the notes of one tenant, and keeps what is to be tried again.
func (k *bookkeeper) writeTo(ctx context.Context, tenant string, notes []note) error {
	notes = k.hold(notes)
	if len(notes) == 0 {
		return nil
	}
	entries := make([]sinkers.LedgerEntry, len(notes))
	for i := range notes {
		entries[i] = notes[i].entry
	}
	err := k.note(ctx, tenant, entries)
	switch {
	case err == nil:
		k.flow.lettersDone(lettersOf(notes), nil)
		return nil
	case k.perTenant != nil:
		k.flow.lettersDone(lettersOf(notes), nil)
		for i := range notes {
			notes[i].letter = nil
		}
	default:
		k.flow.lettersDone(nil, lettersOf(notes))
		for i := range notes {
			notes[i].held = false
		}
	}
	k.keep(tenant, notes)
	return err
}

// hold takes the letters of notes in hand, and leaves out those of partitions that are another's now, who reads them again.
func (k *bookkeeper) hold(notes []note) (held []note) {
	for _, n := range notes {
		if n.letter == nil || n.held || len(k.flow.holdLetters([]*letter{n.letter})) > 0 {
			held = append(held, n)
		}
	}
	return held
}

func (k *bookkeeper) keep(tenant string, notes []note) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, n := range notes {
		if n.letter == nil {
			if k.loose >= maxNotes {
				k.lost(1)
				continue
			}
			k.loose++
		}
		k.notes[tenant] = append(k.notes[tenant], n)
	}
}

func lettersOf(notes []note) (letters []*letter) {
	for _, n := range notes {
		if n.letter != nil {
			letters = append(letters, n.letter)
		}
	}
	return letters
}

// note writes entries of one tenant, as far as that is of any use. An error says that it is to be tried again.
func (k *bookkeeper) note(ctx context.Context, tenant string, entries []sinkers.LedgerEntry) error {
	err := appendLedger(ctx, k.cfg.Sink, k.cfg.Retry, tenant, entries)
	if sinkers.IsPermanent(err) { // such as a tenant that will never have a database: they would only fill the room
		k.lost(len(entries))
		k.log.Error("letters will not be noted in the ledger", "tenant", tenant, "letters", len(entries), "err", err)
		return nil
	}
	return err
}

// appendLedger writes entries of one tenant into the ledger of a sink, if it keeps one.
func appendLedger(ctx context.Context, sink sinkers.Sinker, r Retry, tenant string, entries []sinkers.LedgerEntry) error {
	ledger, keeps := sink.(sinkers.Ledger)
	if perTenant, ok := sink.(sinkers.PerTenant); ok {
		ledger, keeps = perTenant.Of(tenant), true
	}
	if !keeps {
		return nil
	}
	ctx, cancel := r.writeContext(ctx)
	defer cancel()
	if err := ledger.AppendLedger(ctx, entries); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil // a tenant's database keeps none
}
