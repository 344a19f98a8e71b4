package consumer

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

const (
	conflictsFirst   = 24 * time.Hour   // how far back the first look goes: a worker may have died before it looked
	conflictsOverlap = 15 * time.Minute // of two looks: the two rows were stored one after the other, and clocks differ
	conflictsAtOnce  = 256
)

// watchConflicts makes letters, from time to time, of the rows that lost against another in the sink, where
// writers can overtake each other. Of all workers, the one that has the first partition does it.
func (w *Worker) watchConflicts(ctx context.Context) {
	finder, ok := w.cfg.Sink.(sinkers.ConflictFinder)
	if !ok || w.cfg.ConflictInterval < 0 {
		return
	}
	since := time.Now().Add(-conflictsFirst)
	for sleepOr(ctx, w.cfg.ConflictInterval, nil) == nil {
		if !w.hasFirst() {
			continue
		}
		began := time.Now()
		if err := w.settleConflicts(ctx, finder, since); err != nil {
			if ctx.Err() == nil {
				w.log.Error("conflicts in the sink are not letters yet; they are looked for again", "err", err)
			}
			continue
		}
		since = began.Add(-conflictsOverlap)
	}
}

// hasFirst says whether the first topic's first partition is this worker's.
func (w *Worker) hasFirst() bool {
	w.flow.mu.Lock()
	defer w.flow.mu.Unlock()
	return w.flow.parts[source{w.first(), 0}] != nil
}

// settleConflicts makes a letter of each conflict, and has the sink drop its row when that is safe.
func (w *Worker) settleConflicts(ctx context.Context, finder sinkers.ConflictFinder, since time.Time) error {
	for {
		found, err := finder.FindConflicts(ctx, since, conflictsAtOnce)
		if err != nil || len(found) == 0 {
			return err
		}
		letters, err := w.conflictLetters(found)
		if err != nil {
			return err
		}
		w.post.sendForms(ctx, letters)
		for _, l := range letters {
			if !w.post.safe(l) {
				return errors.New("the letters could not be written")
			}
			if w.post.missing(l) {
				w.stats.count(func(s *Stats) { s.HalfLetters++ })
			}
		}
		if err := w.noteConflicts(ctx, found); err != nil {
			return err
		}
		if err := finder.DropConflicts(ctx, found); err != nil {
			return err
		}
		for _, l := range letters {
			w.log.Warn("a stored row becomes a dead letter", "reason", l.reason, "err", l.err)
			w.stats.letter(l.reason)
		}
		w.stats.count(func(s *Stats) { s.Conflicts += int64(len(found)) })
	}
}

// conflictLetters renders rows as the records they were. Nobody knows their offsets any more: the letter's id is
// made of the event's and of its content, and so is the same whoever finds it, and however often.
func (w *Worker) conflictLetters(found []sinkers.Conflict) ([]*letter, error) {
	letters := make([]*letter, len(found))
	nowhere := &partition{source: source{w.first(), -1}}
	for i := range found {
		c := &found[i]
		e := c.Event
		e.Source = cmp.Or(e.Source, "unknown") // a CloudEvent must have one
		value, err := e.AppendCloudEvent(nil)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", e.ID, err)
		}
		rec := &kgo.Record{Key: []byte(e.Tenant), Value: value, Timestamp: e.Time}
		for _, h := range firetrail.CloudEventHeaders() {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		letters[i] = &letter{
			id:   "conflict:" + e.ID.String() + ":" + hex.EncodeToString(c.Hash[:]),
			item: item{part: nowhere, rec: rec}, tenant: e.Tenant, reason: dlq.ReasonConflict, stage: stageWrite,
			err: fmt.Errorf("tenant %q has another event with id %s, whose content hash is %x; this one's is %x, and was stored at the same time",
				e.Tenant, e.ID, c.Winner, c.Hash),
			attempts: 1, failedAt: time.Now(),
		}
	}
	return letters, nil
}

// noteConflicts explains in the sink's ledger why their sequences are missing.
func (w *Worker) noteConflicts(ctx context.Context, found []sinkers.Conflict) error {
	ledger, ok := w.cfg.Sink.(sinkers.Ledger)
	if !ok {
		return nil
	}
	var entries []sinkers.LedgerEntry
	for i := range found {
		e := &found[i].Event
		p := sinkers.Position{Tenant: e.Tenant, Source: e.Source, Seq: e.Seq}
		if entry, ok := ledgerOf(p, dlq.ReasonConflict); ok {
			entries = append(entries, entry)
		}
	}
	return ledger.AppendLedger(ctx, entries)
}
