package clickhouse

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestTransportLeavesNothing cancels a request while its connection is being dialled. The connection comes into being
// after the transport was closed, and must not stay.
func TestTransportLeavesNothing(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	before := goleak.IgnoreCurrent()
	dialling, dial := make(chan struct{}), make(chan struct{})
	dialled := make(chan net.Conn, 1)
	r := transport{conns: 2}
	rt, err := r.use(&http.Transport{DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
		close(dialling)
		<-dial
		c, err := net.Dial(network, addr)
		dialled <- c
		return c, err
	}})
	require.NoError(t, err)
	again, err := r.use(&http.Transport{})
	require.NoError(t, err)
	require.Same(t, rt, again, "one for all connections")

	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
	require.NoError(t, err)
	failed := make(chan error)
	go func() {
		res, err := rt.RoundTrip(req)
		if err == nil {
			_ = res.Body.Close()
		}
		failed <- err
	}()
	<-dialling
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	r.close()
	close(dial)
	require.NotNil(t, <-dialled)
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
}
