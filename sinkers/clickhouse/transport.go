package clickhouse

import (
	"net/http"
	"sync"
)

// transport is the one HTTP transport of a Sink. The driver would make one for each of its connections, and forgets
// the one whose first request is cancelled: a connection that was being dialled then stays open, idle, for the
// connections' lifetime of an hour, with nobody left to close it. This one is closed with the Sink.
type transport struct {
	mu     sync.Mutex
	shared *http.Transport
	conns  int
}

// use is clickhouse.Options.TransportFunc: t is as the driver sets it up, the same each time.
func (r *transport) use(t *http.Transport) (http.RoundTripper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shared == nil {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, r.conns
		r.shared = t
	}
	return r.shared, nil
}

// close closes what is idle, and what becomes so later.
func (r *transport) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shared != nil {
		r.shared.CloseIdleConnections()
	}
}
