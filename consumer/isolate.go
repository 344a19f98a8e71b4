package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// store writes batches to the sink and finds out which rows are at fault when that fails. It keeps no batch;
// what becomes of the rows it tells a ruling.
type store struct {
	sink   sinkers.Sinker
	prober sinkers.Prober // nil when the sink is none
	retry  Retry

	// fresh counts the bytes of rows that were new to the sink, ever: the proof, without a prober, that
	// it stored something new between two moments.
	fresh atomic.Int64
}

func newStore(sink sinkers.Sinker, r Retry) *store {
	prober, _ := sink.(sinkers.Prober)
	return &store{sink: sink, prober: prober, retry: r}
}

// ruling is told what becomes of rows, exactly once for each, unless it asks for the row no more.
type ruling interface {
	// keep returns what of b is still wanted; it may be empty.
	keep(b *batch) *batch
	// stored: all rows of b are in the sink, but for the conflicts that res names.
	stored(b *batch, res sinkers.Result, took time.Duration)
	// refused: the sink named the only row of b as one it will never take.
	refused(b *batch, err error)
	// suspected: the only row of b failed by itself. Proof says whether the sink has stored other new
	// things of its size in the meantime.
	suspected(b *batch, err error, proof bool)
}

// attempt writes b once, and again without the rows that the sink names, which are refused. It returns what
// is still to be stored, nil if nothing is, with the error.
func (s *store) attempt(ctx context.Context, b *batch, r ruling) (*batch, error) {
	for {
		if b = r.keep(b); b.len() == 0 {
			return nil, nil
		}
		began := time.Now()
		res, err := s.write(ctx, b.rows)
		if err == nil {
			s.fresh.Add(b.bytes * int64(res.Stored) / int64(b.len()))
			r.stored(b, res, time.Since(began))
			return nil, nil
		}
		if b.tries++; b.failedAt.IsZero() {
			b.failedAt, b.seen = began, s.fresh.Load()
		}
		named := namedRows(err, b.len())
		if len(named) == 0 {
			return b, err
		}
		for i, rowErr := range named {
			r.refused(b.slice(i, i+1), rowErr)
		}
		b = b.only(func(i int) bool { return named[i] == nil })
	}
}

func (s *store) write(ctx context.Context, rows []sinkers.Row) (sinkers.Result, error) {
	writeCtx, cancel := s.retry.writeContext(ctx)
	defer cancel()
	res, err := s.sink.Write(writeCtx, sinkers.Batch{Rows: rows})
	if err != nil && ctx.Err() == nil && writeCtx.Err() != nil {
		err = errors.Join(err, context.Cause(writeCtx))
	}
	return res, err
}

// namedRows returns the rows that err names, of n; indexes that are none of the batch's are ignored.
func namedRows(err error, n int) map[int]error {
	var be *sinkers.BatchError
	if !errors.As(err, &be) {
		return nil
	}
	named := make(map[int]error, len(be.Rows))
	for _, row := range be.Rows {
		if row.Index < 0 || row.Index >= n {
			continue
		}
		if row.Err == nil {
			row.Err = errors.New("refused without a reason")
		}
		named[row.Index] = row.Err
	}
	return named
}

// maxProbe bounds a probe row: a batch of more bytes than this is taken for one of this size.
const maxProbe = 1 << 20

// probe asks the sink whether it stores new things of b's size. Without a prober it can't be asked.
func (s *store) probe(ctx context.Context, b *batch) error {
	if s.prober == nil {
		return nil
	}
	probeCtx, cancel := s.retry.writeContext(ctx)
	defer cancel()
	if err := s.prober.Probe(probeCtx, int(min(b.bytes, maxProbe))); err != nil {
		return fmt.Errorf("the probe failed too: %w", err)
	}
	return nil
}

// proof reports whether the sink stored something new of the size of b's row since that failed first. It
// is asked right after a probe that did not fail.
func (s *store) proof(b *batch) bool {
	return s.prober != nil || s.fresh.Load()-b.seen >= b.bytes
}

// errNothingStored is why a batch is taken for an outage although the sink answers.
var errNothingStored = errors.New("nothing of the batch can be stored")

// isolate looks for the rows at fault in b, whose write has failed with cause, by halving: every half is
// written, and those that fail are halved again, breadth first, so that what is good is stored early. Of
// n rows, k of them bad, that takes at most 2k(1+log2(n/k)) writes, and as many probes as writes that fail.
//
// It gives up and returns what is left, with the reason, as soon as it looks like an outage: when the probe
// fails, or when the first halvings run dry, with nothing new stored at all. Patient goes on in the
// second case while the probe succeeds: see Worker.store.
func (s *store) isolate(ctx context.Context, b *batch, cause error, r ruling, patient bool) (*batch, error) {
	if err := s.probe(ctx, b); err != nil {
		return b, errors.Join(cause, err)
	}
	if b.len() == 1 {
		r.suspected(b, cause, s.proof(b))
		return nil, nil
	}
	var (
		failed = []*batch{b} // their write has failed; they have more than one row
		begin  = s.fresh.Load()
		dry    = 0 // writes that failed since the last that stored something new
		limit  = 2*bits.Len(uint(b.len())) + 8
	)
	for len(failed) > 0 {
		halves := failed[0].halves()
		for i, half := range halves {
			before := s.fresh.Load()
			rest, err := s.attempt(ctx, half, r)
			if rest == nil {
				if s.fresh.Load() > before {
					dry = 0
				}
				continue
			}
			dry++
			// Without a probe a dry spell is all there is to tell that the sink has gone away meanwhile.
			dried := dry > limit && (s.prober == nil || !patient && s.fresh.Load() == begin)
			if err := s.giveUp(ctx, rest, err, dried); err != nil {
				left := append([]*batch{rest}, halves[i+1:]...)
				return join(append(left, failed[1:]...)), err
			}
			if rest.len() == 1 {
				r.suspected(rest, err, s.proof(rest))
				continue
			}
			failed = append(failed, rest)
		}
		failed = failed[1:]
	}
	return nil, nil
}

// giveUp returns why isolating is of no use any more after a write of rest has failed with err, or nil.
func (s *store) giveUp(ctx context.Context, rest *batch, err error, dry bool) error {
	if ctx.Err() != nil {
		return err
	}
	if probeErr := s.probe(ctx, rest); probeErr != nil {
		return errors.Join(err, probeErr)
	}
	if dry {
		return errors.Join(err, errNothingStored)
	}
	return nil
}
