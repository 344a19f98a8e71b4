package kafkaclient

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// handshakeError tells a broker that answers without agreeing on TLS from one that does not answer.
type handshakeError struct {
	addr string
	err  error
}

func (e *handshakeError) Error() string { return fmt.Sprintf("TLS with %s: %v", e.addr, e.err) }
func (e *handshakeError) Unwrap() error { return e.err }

// Check asks one broker after the other for a sign of life, and returns nil at the first. Otherwise the
// error names the brokers, what failed, and the setting to look at; it wraps the last broker's error.
// Whether that is fatal is for the caller to say: to a producer, a broker that is away is not.
//
// Each broker gets one try; ctx bounds the whole.
func Check(ctx context.Context, cl *kgo.Client) error {
	err := cl.Ping(ctx)
	if err == nil {
		return nil
	}
	seeds, _ := cl.OptValue(kgo.SeedBrokers).([]string)
	return fmt.Errorf("brokers %s: %s: %w", strings.Join(seeds, ", "), explain(err), err)
}

// explain says what an error of a first contact means, and what to look at.
func explain(err error) string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		op        *net.OpError
		handshake *handshakeError
		dns       *net.DNSError
		firstRead *kgo.ErrFirstReadEOF
	)
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "the user or the password was refused; see sasl.user and the password"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "the broker does not offer this sasl.mechanism"
	case errors.As(err, &authority):
		return "the broker's certificate is not signed by an authority of tls.ca_file"
	case errors.As(err, &hostname):
		return "the broker's certificate is for another name; see tls.server_name"
	case errors.As(err, &op) && op.Op == "remote error": // crypto/tls's word for an alert of the other side
		return "the broker refused the TLS connection; see tls.cert_file and tls.key_file"
	case errors.As(err, &handshake):
		return "no TLS with the broker; see tls.enabled, and whether this port speaks TLS"
	case errors.As(err, &firstRead):
		return "the broker closed the connection at once; does it want TLS (tls.enabled) or SASL (sasl.mechanism)?"
	case errors.As(err, &dns):
		return "the name is not known"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case strings.Contains(err.Error(), "tls alert record"): // franz-go has no type for it
		return "the broker answered in TLS; set tls.enabled"
	default:
		return "unreachable"
	}
}
