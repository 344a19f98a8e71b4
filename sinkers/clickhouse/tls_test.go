//go:build integration && unix

package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// TestTLS goes through a proxy that ends the TLS, since the server of the tests has none.
func TestTLS(t *testing.T) {
	for _, protocol := range []string{Native, HTTP} {
		c := configOf(t, testenv.SharedClickHouse(t), protocol)
		addr, roots := tlsProxy(t, c.Addrs[0])
		c.Addrs = []string{addr}
		_, err := Open(t.Context(), c)
		require.Error(t, err, "without TLS")
		c.TLS = &tls.Config{}
		_, err = Open(t.Context(), c)
		require.ErrorContains(t, err, "certificate", "the authority is not known")
		require.False(t, sinkers.IsPermanent(err))
		c.TLS = &tls.Config{RootCAs: roots}
		s := openWith(t, c)
		_, err = s.Write(t.Context(), sinkers.Batch{Rows: someRows(t, "a", 0, 10)})
		require.NoError(t, err)
		require.Len(t, found(t, s, sinkers.Query{Tenant: "a"}), 10, protocol)
	}
}

// tlsProxy listens with TLS and hands on to a server without.
func tlsProxy(t *testing.T, to string) (addr string, roots *x509.CertPool) {
	t.Helper()
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	roots = x509.NewCertPool()
	roots.AddCert(certificates.Certificate())
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates.TLS.Certificates})
	require.NoError(t, err)
	proxy(t, l, to, func(server, client net.Conn) {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	return l.Addr().String(), roots
}

// proxy hands on to a server what comes over each connection to l, as upload does, and back what the server says.
func proxy(t *testing.T, l net.Listener, to string, upload func(server, client net.Conn)) {
	t.Helper()
	var (
		wait  sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wait.Wait()
	})
	wait.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, in, out)
			mu.Unlock()
			wait.Go(func() { upload(out, in) })
			wait.Go(func() {
				_, _ = io.Copy(in, out)
				_ = in.Close()
			})
		}
	})
}
