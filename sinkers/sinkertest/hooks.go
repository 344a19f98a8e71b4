package sinkertest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// Hook is what a [Memory] calls before it stores a batch. An error is what Write returns; nothing is
// stored then. It may block until ctx is done, and may be called concurrently.
type Hook func(ctx context.Context, b sinkers.Batch) error

// Fail returns a Hook that fails every batch with err: one marked by [sinkers.Permanent] for a data error,
// any other for an outage of writing alone (the rest of the sink works; see [Memory.Away]).
func Fail(err error) Hook {
	return func(context.Context, sinkers.Batch) error { return err }
}

// FailRows returns a Hook that refuses the batches in which bad finds something wrong with a row, with a
// *sinkers.BatchError that names those rows.
func FailRows(bad func(*sinkers.Row) error) Hook {
	return func(_ context.Context, b sinkers.Batch) error {
		var rows []sinkers.RowError
		for i := range b.Rows {
			if err := bad(&b.Rows[i]); err != nil {
				rows = append(rows, sinkers.RowError{Index: i, Err: err})
			}
		}
		if rows == nil {
			return nil
		}
		return &sinkers.BatchError{Rows: rows}
	}
}

// FailBatches returns a Hook that fails the batches in which bad finds something wrong with a row, with
// the error of the first such row as it is: without naming the row, as a database does that can't.
func FailBatches(bad func(*sinkers.Row) error) Hook {
	return func(_ context.Context, b sinkers.Batch) error {
		for i := range b.Rows {
			if err := bad(&b.Rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// Hang returns a Hook that blocks until the Write's context is done, and returns its error.
func Hang() Hook {
	return func(ctx context.Context, _ sinkers.Batch) error {
		<-ctx.Done()
		return ctx.Err()
	}
}

// Delay returns a Hook that takes d, or until the Write's context is done.
func Delay(d time.Duration) Hook {
	return func(ctx context.Context, _ sinkers.Batch) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Times returns a Hook that is hook for the first n writes and does nothing after that.
func Times(n int64, hook Hook) Hook {
	var calls atomic.Int64
	return func(ctx context.Context, b sinkers.Batch) error {
		if calls.Add(1) > n {
			return nil
		}
		return hook(ctx, b)
	}
}

// Chain returns a Hook that calls hooks in turn until one fails.
func Chain(hooks ...Hook) Hook {
	return func(ctx context.Context, b sinkers.Batch) error {
		for _, h := range hooks {
			if err := h(ctx, b); err != nil {
				return err
			}
		}
		return nil
	}
}

// ActorName returns a function for [FailRows] and [FailBatches] that finds fault with the rows whose
// actor's name holds part. Permanent says whether the errors are marked by [sinkers.Permanent].
func ActorName(part string, permanent bool) func(*sinkers.Row) error {
	return func(r *sinkers.Row) error {
		if !strings.Contains(r.Actor.Name, part) {
			return nil
		}
		err := errors.New("the actor's name has " + part + " in it")
		if permanent {
			return sinkers.Permanent(err)
		}
		return err
	}
}
