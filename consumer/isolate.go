package consumer

import (
	"cmp"
	"context"
	"errors"
	"math/bits"
	"slices"

	"github.com/firetrail/firetrail/sinkers"
)

// errNothingStored is why a batch is taken for an outage although the sink answers.
var errNothingStored = errors.New("nothing of the batch can be stored")

// isolation is the search for the rows at fault in a batch.
type isolation struct {
	*store
	ruling
	patient bool

	failed []part // the largest is first
	turn   int
	trust  int   // how many more wrong guesses than right ones there may be
	begin  int64 // store.fresh at the beginning
	dry    int   // writes that failed since the last that stored something new, but for those of a guess
	limit  int   // of dry
	alone  []accused
}

// part is rows, more than one, whose write has failed.
type part struct {
	*batch
	err error
}

// maxWrong is how many guesses of a sink may be wrong in one search, beyond those that were right, until no more are followed.
const maxWrong = 3

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
// Where the sink guesses which row it is ([sinkers.Suspect]), that one is written by itself, and then the halves of
// the others, or at first, since mostly one row is bad, all of them: while its guesses are right that takes 3 writes for each
// bad row, and 2 if it is the only one. A wrong guess costs the write of that row, and a sink that is wrong
// more often than right isn't followed for long: whatever it says, it takes at most 2k+4 writes more than without.
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
		store: s, ruling: r, patient: patient, trust: maxWrong,
		failed: []part{{b, cause}}, begin: s.fresh.Load(), limit: 4*bits.Len(uint(b.len())) + 16,
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

// next takes the part to be searched next.
func (i *isolation) next() (p part) {
	last := len(i.failed) - 1
	if i.turn++; i.turn%2 == 0 {
		p, i.failed = i.failed[last], i.failed[:last]
	} else {
		p, i.failed = i.failed[0], i.failed[1:]
	}
	return p
}

// split writes p in pieces. If it gives up it returns all that is left.
func (i *isolation) split(ctx context.Context, p part) (left *batch, why error) {
	pieces := p.halves()
	if at, ok := i.guess(p); ok {
		others := p.only(func(n int) bool { return n != at })
		rest, why := i.try(ctx, p.slice(at, at+1), 0)
		if why != nil {
			return i.left([]*batch{rest, others}), why
		}
		if pieces = others.halves(); rest == nil {
			i.trust--
		} else if i.trust++; i.turn == 1 {
			pieces = []*batch{others}
		}
	}
	for n, piece := range pieces {
		if rest, why := i.try(ctx, piece, 1); why != nil {
			return i.left(append([]*batch{rest}, pieces[n+1:]...)), why
		}
	}
	return nil, nil
}

// guess returns the row of p that the sink suspects, if it is believed.
func (i *isolation) guess(p part) (at int, ok bool) {
	at, ok = sinkers.Suspected(p.err)
	return at, ok && i.trust > 0 && at >= 0 && at < p.len()
}

// try writes b, and keeps what fails to be searched, or as accused. It returns that, with the reason if it is time to give up.
// A failure counts as dry for that.
func (i *isolation) try(ctx context.Context, b *batch, dry int) (rest *batch, why error) {
	before := i.fresh.Load()
	rest, err := i.attempt(ctx, b, i.ruling)
	if rest == nil {
		if i.fresh.Load() > before {
			i.dry = 0
		}
		return nil, nil
	}
	i.dry += dry
	if why := i.giveUp(ctx, rest, err); why != nil {
		return rest, why
	}
	if rest.len() == 1 {
		i.alone = append(i.alone, accused{rest, err})
		return rest, nil
	}
	at, _ := slices.BinarySearchFunc(i.failed, rest, func(p part, b *batch) int { return cmp.Compare(b.len(), p.len()) })
	i.failed = slices.Insert(i.failed, at, part{rest, err})
	return rest, nil
}

// left returns pieces and all parts that are still to be searched.
func (i *isolation) left(pieces []*batch) *batch {
	for _, p := range i.failed {
		pieces = append(pieces, p.batch)
	}
	return join(pieces)
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
