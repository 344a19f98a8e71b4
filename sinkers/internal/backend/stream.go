package backend

import (
	"context"
	"iter"

	"github.com/firetrail/firetrail/sinkers"
)

type (
	// Begin is how a call of a sink's method begins; see [Calls.Begin].
	Begin func(ctx context.Context) (_ context.Context, end func(), err error)
	// Fail is what a sink makes of the error of an operation.
	Fail func(ctx context.Context, op string, err error) error
)

// Stream returns as an iterator, which is one call of a sink's, what read yields. read must return nil once yield
// has returned false; its error is yielded last.
func Stream[T any](ctx context.Context, begin Begin, fail Fail, op string,
	read func(ctx context.Context, yield func(T, error) bool) error,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ctx, end, err := begin(ctx)
		if err != nil {
			yield(none, err)
			return
		}
		defer end()
		if err := read(ctx, yield); err != nil {
			yield(none, fail(ctx, op, err))
		}
	}
}

// Each yields what there is of list, which may have been cut short by err, and returns err if all of it was wanted.
func Each[T any](list []T, err error, yield func(T, error) bool) error {
	for _, v := range list {
		if !yield(v, nil) {
			return nil
		}
	}
	return err
}

// ScanTenants yields the positions of the scan's tenants, one tenant after the other. one returns whether more is
// wanted.
func ScanTenants(ctx context.Context, scan sinkers.Scan, yield func(sinkers.Position, error) bool,
	tenants func(ctx context.Context) ([]string, error),
	one func(ctx context.Context, tenant string, yield func(sinkers.Position, error) bool) (more bool, err error),
) error {
	list := []string{scan.Tenant}
	if scan.AllTenants {
		var err error
		if list, err = tenants(ctx); err != nil {
			return err
		}
	}
	for _, t := range list {
		if more, err := one(ctx, t, yield); err != nil || !more {
			return err
		}
	}
	return nil
}
