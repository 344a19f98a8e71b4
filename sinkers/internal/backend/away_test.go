package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnreachable(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	in := func(err error) error { return &url.Error{Op: "Post", URL: "http://db", Err: err} }
	for _, err := range []error{
		dial(syscall.ECONNREFUSED), in(dial(syscall.EHOSTUNREACH)), &net.DNSError{Err: "no such host", IsNotFound: true},
		dial(&net.DNSError{Err: "no such host"}), io.EOF, in(io.ErrUnexpectedEOF), context.DeadlineExceeded,
		&net.OpError{Op: "read", Err: syscall.ECONNRESET},
	} {
		require.True(t, Unreachable(fmt.Errorf("open: %w", err)), "%v", err)
	}
	for _, err := range []error{
		nil, errors.New("wrong password"), context.Canceled, in(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		in(x509.HostnameError{}), &net.OpError{Op: "remote error", Err: tls.AlertError(42)}, dial(&net.AddrError{Err: "missing port in address"}),
	} {
		require.False(t, Unreachable(err), "%v", err)
	}
}
