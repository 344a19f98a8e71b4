package sinkers

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"
)

// Ledger can say why events are not there. A Sinker writes itself what it deletes and what it refuses as
// expired or erased, with the act; whoever drives it adds the others.
type Ledger interface {
	// AppendLedger keeps entries, for ever. Adding what is there already changes nothing.
	AppendLedger(ctx context.Context, entries []LedgerEntry) error
	// ReadLedger yields the entries of s, merged and ordered by tenant, source, reason and From. An error is
	// yielded once, last.
	ReadLedger(ctx context.Context, s Scan) iter.Seq2[LedgerEntry, error]
}

// LedgerEntry explains a run of sequences of which every event, From and To included, is missing for one
// reason. Events without a sequence are in no ledger.
type LedgerEntry struct {
	Tenant, Source string
	From, To       uint64
	Reason         LedgerReason
	Time           time.Time // of the last act that is in the entry, µs
}

// Count returns how many events the entry explains.
func (e LedgerEntry) Count() uint64 { return e.To - e.From + 1 }

// LedgerReason says why events are missing.
type LedgerReason string

// The reasons of a ledger.
const (
	LedgerExpired    LedgerReason = "expired"     // older than the retention: pruned, or not stored
	LedgerErased     LedgerReason = "erased"      // covered by an erasure: deleted, or not stored
	LedgerConflict   LedgerReason = "conflict"    // another event has the id; this one is a dead letter
	LedgerDeadLetter LedgerReason = "dead_letter" // refused; it is a dead letter
)

// LedgerOf returns the entry for one event, and false when the event has no sequence.
func LedgerOf(p Position, reason LedgerReason, at time.Time) (LedgerEntry, bool) {
	return LedgerEntry{Tenant: p.Tenant, Source: p.Source, From: p.Seq, To: p.Seq, Reason: reason, Time: at}, p.Seq > 0
}

func compareLedger(a, b LedgerEntry) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Source, b.Source),
		cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.From, b.From))
}

// take makes a the union of a and next, which comes after it, if they meet.
func (e *LedgerEntry) take(next LedgerEntry) bool {
	if e.Tenant != next.Tenant || e.Source != next.Source || e.Reason != next.Reason ||
		next.From > e.To && next.From-e.To > 1 {
		return false
	}
	e.To = max(e.To, next.To)
	if next.Time.After(e.Time) {
		e.Time = next.Time
	}
	return true
}

// CompactLedger sorts entries, in place, into the order of a ledger and merges those that meet.
func CompactLedger(entries []LedgerEntry) []LedgerEntry {
	slices.SortFunc(entries, compareLedger)
	merged := entries[:0]
	for _, e := range entries {
		if n := len(merged); n == 0 || !merged[n-1].take(e) {
			merged = append(merged, e)
		}
	}
	return merged
}

// MergeLedger merges the entries that meet of a ledger that is in order, with bounded memory.
func MergeLedger(entries iter.Seq2[LedgerEntry, error]) iter.Seq2[LedgerEntry, error] {
	return func(yield func(LedgerEntry, error) bool) {
		var last LedgerEntry
		for e, err := range entries {
			switch {
			case err != nil:
				if last.Reason == "" || yield(last, nil) {
					yield(LedgerEntry{}, err)
				}
				return
			case last.Reason != "" && last.take(e):
			case last.Reason != "" && !yield(last, nil):
				return
			default:
				last = e
			}
		}
		if last.Reason != "" {
			yield(last, nil)
		}
	}
}
