package clickhouse

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// transport is the one HTTP transport of a Sink. The driver would make one for each of its connections, and forgets
// the one whose first request is cancelled: a connection that was being dialled then stays open, idle, for the
// connections' lifetime of an hour, with nobody left to close it. This one is closed with the Sink.
type transport struct {
	mu     sync.Mutex
	shared *http.Transport
	conns  int
	mute   bool // sends no settings of the driver's own
}

// use is clickhouse.Options.TransportFunc: t is as the driver sets it up, the same each time.
func (r *transport) use(t *http.Transport) (http.RoundTripper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shared == nil {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, r.conns
		r.shared = t
	}
	if r.mute {
		return mute{r.shared}, nil
	}
	return r.shared, nil
}

// mute leaves out the settings that the driver sends with each statement, for which a user who may set nothing is refused: how
// long it may take, by the context's deadline, which still ends it, and the compression of the answer, which has its own name in it.
type mute struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (m mute) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	q.Del("max_execution_time")
	q.Del("network_compression_method")
	q.Del("network_zstd_compression_level")
	r = r.Clone(r.Context())
	r.URL.RawQuery = q.Encode()
	return m.Transport.RoundTrip(r)
}

// timeless is a context without a deadline that the driver could see, for the same reason: it ends when it ends.
type timeless struct{ context.Context }

// Deadline implements context.Context.
func (timeless) Deadline() (time.Time, bool) { return time.Time{}, false }

// close closes what is idle, and what becomes so later.
func (r *transport) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shared != nil {
		r.shared.CloseIdleConnections()
	}
}
