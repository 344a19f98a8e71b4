package consumer

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
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
		letters := w.conflictLetters(found)
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
func (w *Worker) conflictLetters(found []sinkers.Conflict) []*letter {
	letters := make([]*letter, len(found))
	nowhere := &partition{source: source{w.first(), -1}}
	for i := range found {
		c := &found[i]
		err := fmt.Errorf("tenant %q has another event with id %s, whose content hash is %x; this one's is %x, and was stored at the same time",
			c.Event.Tenant, c.Event.ID, c.Winner, c.Hash)
		rec, cannot := conflictRecord(&c.Event)
		if cannot != nil {
			err = fmt.Errorf("%w; it can't be written as an event any more, so its fields are here as they were stored: %w", err, cannot)
		}
		letters[i] = &letter{
			id:   "conflict:" + c.Event.ID.String() + ":" + hex.EncodeToString(c.Hash[:]),
			item: item{part: nowhere, rec: rec}, tenant: c.Event.Tenant, reason: dlq.ReasonConflict, stage: stageWrite,
			err: err, attempts: 1, failedAt: time.Now(),
		}
	}
	return letters
}

// conflictRecord renders a stored event as the record it was; or, with the reason, as JSON of its fields, values in base64:
// someone else may have written a row that is no event of ours, and the others don't wait for it.
func conflictRecord(stored *firetrail.Event) (rec *kgo.Record, cannot error) {
	e := *stored
	e.Source = cmp.Or(e.Source, "unknown") // a CloudEvent must have one
	rec = &kgo.Record{Key: []byte(e.Tenant)}
	if e.Time.After(time.UnixMilli(0)) {
		rec.Timestamp = e.Time
	}
	if rec.Value, cannot = e.AppendCloudEvent(nil); cannot == nil {
		for _, h := range firetrail.CloudEventHeaders() {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		return rec, nil
	}
	rec.Value, _ = json.Marshal(struct { // texts, bytes and numbers: there is nothing that could fail
		ID, Tenant, Source, Action, Outcome string
		Actor                               firetrail.Actor
		Entity                              firetrail.Entity
		Request                             firetrail.Request
		Old, New, Metadata, Extra           []byte
		TimeMicros, RecordedMicros          int64
		Seq                                 uint64
		Truncated                           uint8
	}{
		e.ID.String(), e.Tenant, stored.Source, e.Action.String(), e.Outcome.String(), e.Actor, e.Entity, e.Request,
		e.Old.Bytes(), e.New.Bytes(), e.Metadata.Bytes(), e.Extra.Bytes(), e.Time.UnixMicro(), e.Recorded.UnixMicro(), e.Seq, uint8(e.Truncated),
	})
	return rec, cannot
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
