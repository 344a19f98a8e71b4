package consumer

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"slices"
)

// errNothingStored is why a batch is taken for an outage although the sink answers.
var errNothingStored = errors.New("nothing of the batch can be stored")

// isolation is the search for the rows at fault in a batch.
type isolation struct {
	*store
	ruling
	patient bool

	failed []*batch // their write has failed; they have more than one row; the largest is first
	turn   int
	begin  int64 // store.fresh at the beginning
	dry    int   // writes that failed since the last that stored something new
	limit  int   // of dry
	alone  []accused
}

// accused is a row that failed by itself.
type accused struct {
	row *batch
	err error
}

// isolate looks for the rows at fault in b, whose write has failed with cause, by halving: every half is
// written, and those that fail are halved again. It goes on in turn with the largest part, which finds what
// is good where the bad rows are close together, and with the smallest, which does where they are
// scattered. Of n rows, k of them bad, that takes at most 2k(1+log2(n/k)) writes, and a probe for each
// that fails.
//
// Rows with an id that a row before them has wait until that one's fate is known, since of several with one id the first is
// to be stored: else a forged row in a good half would come before the event that it is forged from, in a bad one.
//
// It gives up and returns what is left, with the reason, as soon as it looks like an outage: when the probe
// fails, or when the first halvings run dry, with nothing new stored at all. Patient goes on in the
// second case while the probe succeeds: see writer.write.
func (s *store) isolate(ctx context.Context, b *batch, cause error, r ruling, patient bool) (rest *batch, err error) {
	if err := s.probe(ctx, b); err != nil {
		return b, errors.Join(cause, err)
	}
	if b.len() == 1 {
		r.suspected(b, cause, s.evidence(b))
		return nil, nil
	}
	if first, again := b.firsts(); again != nil {
		return s.inTurn(ctx, first, again, r, patient)
	}
	i := &isolation{
		store: s, ruling: r, patient: patient,
		failed: []*batch{b}, begin: s.fresh.Load(), limit: 4*bits.Len(uint(b.len())) + 16,
	}
	for rest == nil && len(i.failed) > 0 {
		rest, err = i.split(ctx, i.next())
	}
	for _, a := range i.alone { // now, when there is most to say for and against them
		r.suspected(a.row, a.err, s.evidence(a.row))
	}
	return rest, err
}

// inTurn writes parts of a batch one after the other, isolating what is at fault in each. If it gives up it returns all that
// is left.
func (s *store) inTurn(ctx context.Context, first, again *batch, r ruling, patient bool) (rest *batch, err error) {
	if rest, err = s.attempt(ctx, first, r); rest != nil {
		rest, err = s.isolate(ctx, rest, err, r, patient)
	}
	if rest != nil {
		return join([]*batch{rest, again}), err
	}
	if rest, err = s.attempt(ctx, again, r); rest != nil {
		rest, err = s.isolate(ctx, rest, err, r, patient)
	}
	return rest, err
}

// next takes the part to be halved next.
func (i *isolation) next() (part *batch) {
	last := len(i.failed) - 1
	if i.turn++; i.turn%2 == 0 {
		part, i.failed = i.failed[last], i.failed[:last]
	} else {
		part, i.failed = i.failed[0], i.failed[1:]
	}
	return part
}

// split writes the halves of part. If it gives up it returns all that is left.
func (i *isolation) split(ctx context.Context, part *batch) (left *batch, why error) {
	halves := part.halves()
	for n, half := range halves {
		before := i.fresh.Load()
		rest, err := i.attempt(ctx, half, i.ruling)
		if rest == nil {
			if i.fresh.Load() > before {
				i.dry = 0
			}
			continue
		}
		i.dry++
		if why := i.giveUp(ctx, rest, err); why != nil {
			return join(slices.Concat([]*batch{rest}, halves[n+1:], i.failed)), why
		}
		if rest.len() == 1 {
			i.alone = append(i.alone, accused{rest, err})
			continue
		}
		at, _ := slices.BinarySearchFunc(i.failed, rest, func(a, b *batch) int { return cmp.Compare(b.len(), a.len()) })
		i.failed = slices.Insert(i.failed, at, rest)
	}
	return nil, nil
}

// giveUp returns why isolating is of no use any more after a write of rest has failed with err, or nil.
func (i *isolation) giveUp(ctx context.Context, rest *batch, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if probeErr := i.probe(ctx, rest); probeErr != nil {
		return errors.Join(err, probeErr)
	}
	// Without a probe a dry spell is all there is to tell that the sink has gone away meanwhile.
	if i.dry > i.limit && (!i.probes() || !i.patient && i.fresh.Load() == i.begin) {
		return errors.Join(err, errNothingStored)
	}
	return nil
}
