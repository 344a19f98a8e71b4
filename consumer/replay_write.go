package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// write stores b. Where each tenant has a database of its own it does so one by one: what one database stores
// says nothing of another that is away.
func (r *replaying) write(ctx context.Context, b *batch) error {
	perTenant, ok := r.Sink.(sinkers.PerTenant)
	if !ok {
		return r.writeTo(ctx, r.store, b)
	}
	for _, part := range byTenant(b) {
		if err := r.writeTo(ctx, newStore(perTenant.Of(part.rows[0].Tenant), r.Retry), part); err != nil {
			return err
		}
	}
	return nil
}

// byTenant returns the rows of each tenant, in order, as a batch.
func byTenant(b *batch) (parts []*batch) {
	of := map[string]*batch{}
	for i := range b.items {
		part := of[b.rows[i].Tenant]
		if part == nil {
			part = &batch{}
			of[b.rows[i].Tenant] = part
			parts = append(parts, part)
		}
		part.add(b.items[i], recordBytes(b.items[i].rec))
		part.rows = append(part.rows, b.rows[i])
	}
	return parts
}

// writeTo stores b, as often as it takes: it waits for an outage to end. A row that fails by itself, and of which
// nothing tells whether it is at fault or the sink, ends the replay: in Kafka it is safe.
func (r *replaying) writeTo(ctx context.Context, s *store, b *batch) error {
	if b.len() == 0 {
		return nil
	}
	rest, err := s.attempt(ctx, b, r)
	backoff := r.Retry.outage()
	for tries := 0; rest != nil; tries++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.Logger.Warn("write failed; it is tried again", "rows", rest.len(), "err", err)
		if tries >= r.Retry.Attempts || sinkers.IsPermanent(err) {
			if rest, _ = s.isolate(ctx, rest, err, r, tries >= patience); len(r.unsure) > 0 {
				return errors.Join(r.unsure...)
			}
			if rest == nil {
				return nil
			}
		}
		next, _ := backoff.Next()
		if err := sleepOr(ctx, next, nil); err != nil {
			return err
		}
		rest, err = s.attempt(ctx, rest, r)
	}
	return nil
}

// keep implements ruling: nobody takes rows away, but what would overtake an earlier one is left to the next replay.
func (r *replaying) keep(b *batch) *batch {
	return r.open.pass(b)
}

// stored implements ruling.
func (r *replaying) stored(b *batch, res sinkers.Result, _ time.Duration) {
	r.report.Stored += int64(res.Stored)
	r.report.Duplicates += int64(res.Duplicates)
	r.report.Expired += int64(res.Expired)
	r.report.Erased += int64(res.Erased)
	r.report.Conflicts += int64(len(res.Conflicts))
	for i := range conflictRows(res, b.len()) {
		r.letter(b.slice(i, i+1), dlq.ReasonConflict, errConflict(b, i, res))
	}
}

// refused implements ruling.
func (r *replaying) refused(b *batch, err error) { r.letter(b, dlq.ReasonRefused, err) }

// suspected implements ruling.
func (r *replaying) suspected(b *batch, err error, ev evidence) {
	if ev != noEvidence {
		r.refused(b, err)
		return
	}
	r.open.add(b)
	it := &b.items[0]
	r.unsure = append(r.unsure, fmt.Errorf("topic %s, partition %d, offset %d: can't be stored by itself, and nothing tells whether the record "+
		"is at fault or the sink: %w", it.part.topic, it.part.partition, it.rec.Offset, err))
}

func (r *replaying) letter(b *batch, reason string, err error) {
	r.held = append(r.held, &letter{
		item: b.items[0], tenant: b.rows[0].Tenant, reason: reason, stage: stageWrite, err: err,
		attempts: max(b.tries, 1), failedAt: time.Now(), seq: positionOf(&b.rows[0]),
	})
}

// note tells the sink's ledger of the letters, so that verify can explain what is missing for them.
func (r *replaying) note(ctx context.Context) error {
	of := map[string][]sinkers.LedgerEntry{}
	for _, l := range r.held {
		if e, has := ledgerOf(l.seq, l.reason); has {
			of[e.Tenant] = append(of[e.Tenant], e)
		}
	}
	for tenant, entries := range of {
		if err := r.noteOf(ctx, tenant, entries); err != nil {
			return err
		}
	}
	return nil
}

// noteOf waits until it can.
func (r *replaying) noteOf(ctx context.Context, tenant string, entries []sinkers.LedgerEntry) error {
	for backoff := r.Retry.outage(); ; {
		err := appendLedger(ctx, r.Sink, r.Retry, tenant, entries)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case sinkers.IsPermanent(err): // such as that of a tenant that will never have a database
			r.Logger.Error("letters could not be noted in the ledger", "letters", len(entries), "err", err)
			return nil
		}
		r.Logger.Warn("letters can't be noted in the ledger; it is tried again", "letters", len(entries), "err", err)
		next, _ := backoff.Next()
		if err := sleepOr(ctx, next, nil); err != nil {
			return err
		}
	}
}

// replayPost writes letters, in every form there is, and waits until it can. What the directory has already isn't written
// again.
type replayPost struct {
	topic, dir letterForm // nil: not kept in this form
	from       func(*partition) int64
	known      known
	retry      Retry
	log        *slog.Logger
}

func (p *replayPost) send(ctx context.Context, letters []*letter) error {
	if f, ok := p.dir.(dirForm); ok {
		p.known.recall(ctx, f.dir, letters, p.from)
	}
	for from := 0; from < len(letters); from += maxLetters {
		some := letters[from:min(from+maxLetters, len(letters))]
		if err := p.sendForm(ctx, p.topic, some, inTopic); err != nil {
			return err
		}
		if err := p.sendForm(ctx, p.dir, some, inDir); err != nil {
			return err
		}
	}
	return nil
}

func (p *replayPost) sendForm(ctx context.Context, form letterForm, letters []*letter, has func(*letter) *bool) error {
	if form == nil {
		return nil
	}
	for backoff := p.retry.outage(); ; {
		err := sendForm(ctx, form, letters, has)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.log.Error("letters can't be written; they are tried again", "letters", len(letters), "err", err)
		next, _ := backoff.Next()
		if err := sleepOr(ctx, next, nil); err != nil {
			return err
		}
	}
}
