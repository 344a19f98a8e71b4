package backend

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

var errEnd = errors.New("closed")

func TestCallsAreCutOffAndWaitedFor(t *testing.T) {
	c := NewCalls(errEnd)
	ctx, end, err := c.Begin(t.Context())
	require.NoError(t, err)
	closed := make(chan struct{})
	go func() {
		c.Close()
		close(closed)
	}()
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), errEnd)
	select {
	case <-closed:
		t.Fatal("Close has not waited for the call")
	default:
	}
	_, _, err = c.Begin(t.Context())
	require.ErrorIs(t, err, errEnd)
	end()
	<-closed
	c.Close() // again
}

func TestCallsHeedTheirContext(t *testing.T) {
	c := NewCalls(errEnd)
	cancelled, cancel := context.WithCancel(t.Context())
	ctx, end, err := c.Begin(cancelled)
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, context.Cause(ctx), context.Canceled)
	end()
	_, _, err = c.Begin(cancelled)
	require.ErrorIs(t, err, context.Canceled)
	c.Close()
}

func TestStream(t *testing.T) {
	c := NewCalls(errEnd)
	failed := errors.New("failed")
	fail := func(_ context.Context, op string, err error) error { return errors.Join(errors.New(op), err) }
	stream := func(end error) (got []int, last error) {
		for n, err := range Stream(t.Context(), c.Begin, fail, "reading", func(_ context.Context, yield func(int, error) bool) error {
			return Each([]int{1, 2, 3}, end, yield)
		}) {
			if err != nil {
				return got, err
			}
			if got = append(got, n); end == nil && n == 2 {
				break
			}
		}
		return got, nil
	}
	got, err := stream(nil)
	require.Equal(t, []int{1, 2}, got)
	require.NoError(t, err)
	got, err = stream(failed)
	require.Equal(t, []int{1, 2, 3}, got)
	require.ErrorIs(t, err, failed)
	require.ErrorContains(t, err, "reading")
	c.Close()
	got, err = stream(nil)
	require.Empty(t, got)
	require.ErrorIs(t, err, errEnd)
}

func TestScanTenants(t *testing.T) {
	failed := errors.New("failed")
	scan := func(s sinkers.Scan, most int) (seen []string, err error) {
		err = ScanTenants(t.Context(), s, func(p sinkers.Position, _ error) bool {
			seen = append(seen, p.Tenant)
			return len(seen) < most
		}, func(context.Context) ([]string, error) { return []string{"a", "b", "bad"}, nil },
			func(_ context.Context, tenant string, yield func(sinkers.Position, error) bool) (bool, error) {
				if tenant == "bad" {
					return true, failed
				}
				return yield(sinkers.Position{Tenant: tenant}, nil), nil
			})
		return seen, err
	}
	seen, err := scan(sinkers.Scan{Tenant: "b"}, 9)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, seen)
	seen, err = scan(sinkers.Scan{AllTenants: true}, 9)
	require.ErrorIs(t, err, failed)
	require.Equal(t, []string{"a", "b"}, seen)
	seen, err = scan(sinkers.Scan{AllTenants: true}, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, seen)
}
