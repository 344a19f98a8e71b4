//go:build integration && unix

package libsql

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

// TestRoundTrips: a batch of new rows is one request, and one of which some were there takes one question more.
func TestRoundTrips(t *testing.T) {
	cfg := namespaceConfig(t)
	cfg.NoLease = true // its renewals would be counted
	to, err := url.Parse(cfg.Proxy)
	require.NoError(t, err)
	var trips atomic.Int64
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // the namespace
	}}
	counting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trips.Add(1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(counting.Close)
	cfg.Proxy = counting.URL
	s := openWith(t, cfg)
	rows := someRows(t, 0, 6_000)
	mustWrite(t, s, rows[:10]) // a stream is there now
	write := func(rows []sinkers.Row) int64 {
		before := trips.Load()
		_, err := s.Write(t.Context(), sinkers.Batch{Rows: rows})
		require.NoError(t, err)
		return trips.Load() - before
	}
	for _, c := range []struct {
		rows []sinkers.Row
		want int64
	}{{rows[10:1_000], 1}, {rows[1_000:6_000], 1}, {rows[:2_000], 2}} {
		require.Equal(t, c.want, write(c.rows))
	}
}
