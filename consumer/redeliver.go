package consumer

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// redeliver is what the directory's retry engine calls: it writes letters to the sink as the worker does
// records, and says what became of each.
func (w *Worker) redeliver(ctx context.Context, letters []dlq.Letter) []dlq.Outcome {
	r := &redelivery{letters: letters, outcomes: make([]dlq.Outcome, len(letters))}
	b := r.decode(time.Now())
	if b.len() == 0 {
		return r.outcomes
	}
	store := w.store
	if w.perTenant != nil {
		store = newStore(w.perTenant.Of(b.rows[0].Tenant), w.cfg.Retry)
	}
	rest, err := store.attempt(ctx, b, r)
	if rest != nil {
		rest, err = store.isolate(ctx, rest, err, r, false)
	}
	if noteErr := r.note(ctx, w.book, b.rows[0].Tenant); noteErr != nil {
		w.log.Warn("letters can't be noted in the ledger; they are tried again", "letters", len(r.dead), "err", noteErr)
	}
	if w.flow.lanes != nil && r.delivered > 0 {
		w.flow.back(b.rows[0].Tenant)
	}
	if rest != nil {
		w.log.Info("letters can't be stored yet", "letters", rest.len(), "err", err)
	}
	w.stats.count(func(s *Stats) { s.Redelivered += int64(r.delivered) })
	return r.outcomes
}

// redelivery is the ruling on letters that are tried again. The item of a row has its letter's index as
// number.
type redelivery struct {
	letters   []dlq.Letter
	outcomes  []dlq.Outcome // Away where nothing else is said
	delivered int
	open      undecided // Away, though others were stored
	dead      []uint64  // letters to be noted in the ledger
	notes     []sinkers.LedgerEntry
}

func (r *redelivery) decode(now time.Time) *batch {
	var d decoder
	b := &batch{}
	for i := range r.letters {
		rec := record(&r.letters[i])
		var row sinkers.Row
		if err := d.decode(rec, now, &row); err != nil {
			r.refuse(uint64(i), err.reason, stageDecode, err.err)
			continue
		}
		size := recordBytes(rec)
		b.add(item{n: uint64(i), size: memory(size), rec: rec}, size)
		b.rows = append(b.rows, row)
	}
	return b
}

// record returns the record that a letter was made of.
func record(l *dlq.Letter) *kgo.Record {
	rec := &kgo.Record{
		Key: l.Key, Value: l.Value, Timestamp: l.Time,
		Topic: l.Topic, Partition: l.Partition, Offset: l.Offset,
	}
	for _, h := range l.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return rec
}

func (r *redelivery) refuse(i uint64, reason, stage string, err error) {
	r.outcomes[i] = dlq.Refused
	l := &r.letters[i]
	l.Reason, l.Stage, l.Error = reason, stage, err.Error()
}

// keep implements ruling: letters are never taken away, but what would overtake an earlier one waits for the next time.
func (r *redelivery) keep(b *batch) *batch {
	return r.open.pass(b)
}

// stored implements ruling.
func (r *redelivery) stored(b *batch, res sinkers.Result, _ time.Duration) {
	conflicts := conflictRows(res, b.len())
	for i := range b.items {
		if conflicts[i] {
			r.dies(b, i, dlq.ReasonConflict, errConflict(b, i, res))
			continue
		}
		r.outcomes[b.items[i].n] = dlq.Delivered
		r.delivered++
	}
}

// refused implements ruling.
func (r *redelivery) refused(b *batch, err error) {
	r.dies(b, 0, dlq.ReasonRefused, err)
}

// dies says that row i of b, which is an event, is refused.
func (r *redelivery) dies(b *batch, i int, reason string, err error) {
	n := b.items[i].n
	r.refuse(n, reason, stageWrite, err)
	if e, ok := ledgerOf(positionOf(&b.rows[i]), reason); ok {
		r.dead, r.notes = append(r.dead, n), append(r.notes, e)
	}
}

// note has the ledger say which events are letters for good. When that fails they are tried again, as if the sink had been
// away: else nobody would note them any more.
func (r *redelivery) note(ctx context.Context, book *bookkeeper, tenant string) error {
	if len(r.notes) == 0 {
		return nil
	}
	err := book.note(ctx, tenant, r.notes)
	if err != nil {
		for _, n := range r.dead {
			r.outcomes[n] = dlq.Away
		}
	}
	return err
}

// suspected implements ruling. The engine itself asks for many refusals until a letter is dead.
func (r *redelivery) suspected(b *batch, err error, ev evidence) {
	if ev != noEvidence {
		r.refused(b, err)
		return
	}
	r.open.add(b)
}
