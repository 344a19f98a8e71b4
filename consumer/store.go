package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// store writes batches to the sink and finds out which rows are at fault when that fails. It keeps no batch;
// what becomes of the rows it tells a ruling.
type store struct {
	sink   sinkers.Sinker
	prober sinkers.Prober // nil when the sink is none
	mute   atomic.Bool    // the prober turned out to be none
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
	// suspected: the only row of b failed by itself.
	suspected(b *batch, err error, ev evidence)
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
	if !s.probes() {
		return nil
	}
	probeCtx, cancel := s.retry.writeContext(ctx)
	defer cancel()
	err := s.prober.Probe(probeCtx, int(min(b.bytes, maxProbe)))
	if errors.Is(err, errors.ErrUnsupported) {
		s.mute.Store(true)
		return nil
	}
	if err != nil {
		return fmt.Errorf("the probe failed too: %w", err)
	}
	return nil
}

// probes reports whether the sink can be asked.
func (s *store) probes() bool { return s.prober != nil && !s.mute.Load() }

// evidence says what is known of the sink when a row fails by itself.
type evidence uint8

const (
	noEvidence   evidence = iota // it may be away
	probeStored                  // it stored a probe row of that size just now
	eventsStored                 // it stored other new events of that size since the row failed first
)

// evidence against b's only row, which has failed by itself without the probe failing.
func (s *store) evidence(b *batch) evidence {
	switch {
	case s.fresh.Load()-b.seen >= b.bytes:
		return eventsStored
	case s.probes():
		return probeStored
	default:
		return noEvidence
	}
}
