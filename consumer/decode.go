package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// Stages a record can fail at.
const (
	stageDecode = "decode"
	stageWrite  = "write"
)

// maxAhead is how far in the future an event may have happened: further is a clock fault, and would stay
// at the head of every query for years.
const maxAhead = 24 * time.Hour

// decodeError is what makes a record a letter before it is written.
type decodeError struct {
	reason string
	err    error
}

func (e *decodeError) Error() string { return e.err.Error() }
func (e *decodeError) Unwrap() error { return e.err }

// decoder turns records into rows. It is not for concurrent use.
type decoder struct {
	events  firetrail.Decoder
	message firetrail.Message  // reused
	headers []firetrail.Header // reused
}

// decode checks rec and fills row from it; row shares rec's memory.
func (d *decoder) decode(rec *kgo.Record, now time.Time, row *sinkers.Row) *decodeError {
	d.headers = d.headers[:0]
	for _, h := range rec.Headers {
		d.headers = append(d.headers, firetrail.Header{Key: h.Key, Value: h.Value})
	}
	d.message = firetrail.Message{Key: rec.Key, Value: rec.Value, Headers: d.headers, Time: rec.Timestamp}
	var err error
	row.Hash, err = d.events.Decode(&d.message, &row.Event) // what it returns is valid
	if err == nil && row.Tenant != string(rec.Key) {
		err = &firetrail.DecodeError{Field: "tenantid", Err: fmt.Errorf("%q, but the record's key is %q", row.Tenant, rec.Key)}
	}
	if err != nil {
		return &decodeError{reasonOf(err), err}
	}
	if ahead := row.Time.Sub(now); ahead > maxAhead {
		return &decodeError{dlq.ReasonInvalid, fmt.Errorf("time: %s is %v in the future; the most is %v",
			row.Time.UTC().Format(time.RFC3339), ahead.Round(time.Hour), maxAhead)}
	}
	return nil
}

// reasonOf tells a record that is no event from an event that breaks a rule.
func reasonOf(err error) string {
	var d *firetrail.DecodeError
	if !errors.As(err, &d) {
		return dlq.ReasonUndecodable
	}
	switch d.Field {
	case "tenantid":
		return dlq.ReasonTenantMismatch
	case "id", "time":
		return dlq.ReasonInvalid
	default:
		return dlq.ReasonUndecodable
	}
}

// decodeStage is the goroutine between the queue and the writer: it decodes a batch while the one before it is being
// written, on all processors where the batch is large enough for that to pay.
type decodeStage struct {
	*Worker
	out chan *batch
}

// decodeChunk is how many records a goroutine decodes at a time: few beside a batch, so that none is idle for long while
// another has the last of it.
const decodeChunk = 256

// run decodes until the flow is closed and empty, or ctx ends; it closes out then. A batch on its way to the
// writer is in nobody's hands, so that a rebalance need not wait for it.
func (s *decodeStage) run(ctx context.Context) error {
	defer close(s.out)
	for {
		b, err := s.flow.take(ctx)
		if errors.Is(err, errClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if b = s.decode(b, s.rows.get(b.len()), runtime.GOMAXPROCS(0)); b.len() == 0 {
			s.flow.passed()
			continue
		}
		select {
		case s.out <- b:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// decode is decodeBatch, and hands the letters over to the postman.
func (w *Worker) decode(b *batch, rows []sinkers.Row, goroutines int) *batch {
	b, letters := decodeBatch(b, rows, time.Now(), goroutines)
	for _, l := range letters {
		w.post.send(l)
	}
	return b
}

// rowPool keeps the memory of rows that are stored for those of the next batches. The garbage collector takes what is not
// used, so that a worker that has caught up holds none.
type rowPool struct{ free sync.Pool }

// get returns n rows, which may hold anything.
func (p *rowPool) get(n int) []sinkers.Row {
	if rows, _ := p.free.Get().(*[]sinkers.Row); rows != nil && cap(*rows) >= n {
		return (*rows)[:n]
	}
	return make([]sinkers.Row, n)
}

// put takes rows that nobody uses any more.
func (p *rowPool) put(rows []sinkers.Row) {
	clear(rows) // so that they hold no record's memory
	p.free.Put(&rows)
}

// decodeRows fills in rows from to to of b, and returns those that are letters, and which they are.
func (d *decoder) decodeRows(b *batch, from, to int, now time.Time) (letters []*letter, bad map[int]bool) {
	for i := from; i < to; i++ {
		err := d.decode(b.items[i].rec, now, &b.rows[i])
		if err == nil {
			continue
		}
		if bad == nil {
			bad = map[int]bool{}
		}
		bad[i] = true
		letters = append(letters, &letter{
			item: b.items[i], tenant: string(b.items[i].rec.Key), reason: err.reason,
			stage: stageDecode, err: err.err, attempts: 1, failedAt: now,
		})
	}
	return letters, bad
}

// decodeBatch fills in the rows of b, in the memory given for them, with so many goroutines, and returns it without the
// records that are letters.
func decodeBatch(b *batch, rows []sinkers.Row, now time.Time, goroutines int) (*batch, []*letter) {
	n := b.len()
	b.rows, b.whole = rows, true
	chunks := (n + decodeChunk - 1) / decodeChunk
	var (
		group   errgroup.Group
		taken   atomic.Int64 // chunks
		letters = make([][]*letter, chunks)
		bad     = make([]map[int]bool, chunks)
	)
	for range max(min(goroutines, chunks), 1) {
		group.Go(func() error {
			var d decoder
			for {
				c := int(taken.Add(1)) - 1
				if c >= chunks {
					return nil
				}
				letters[c], bad[c] = d.decodeRows(b, c*decodeChunk, min((c+1)*decodeChunk, n), now)
			}
		})
	}
	_ = group.Wait()
	all := slices.Concat(letters...)
	if len(all) == 0 {
		return b, nil
	}
	return b.only(func(i int) bool { return !bad[i/decodeChunk][i] }), all
}
