package kafkaclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// DefaultClientID is the client id of a [Config] that gives none.
const DefaultClientID = "firetrail"

// Config says how to reach the brokers. The zero value of every field but Brokers is its default. A
// Config is a plain value, and safe to share once it is filled in.
type Config struct {
	// Brokers to begin with, as host:port (IPv6 in brackets); the others are learned from them. A missing
	// port is 9092. Required.
	Brokers []string
	// ClientID names this client in the brokers' logs and quotas. Default [DefaultClientID].
	ClientID string
	// TLS secures the connection. Default off.
	TLS TLS
	// SASL says who we are. Default nobody.
	SASL SASL
	// Dial opens the connections; TLS goes on top when it is enabled. Default: the system's dialer.
	// Either way a connection, TLS included, must stand within 10 s.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Logger receives the Kafka client's own log. Default: none.
	Logger *slog.Logger
}

// TLS is the security of the connection.
type TLS struct {
	// Enabled turns TLS (1.2 or later) on. Default false.
	Enabled bool
	// CAFile is a PEM file of the authorities that may have signed the brokers' certificates. Default:
	// the system's. Read when the client is made.
	CAFile string
	// CertFile and KeyFile are the client's own certificate (PEM, with its chain) and its private key,
	// for brokers that ask for one. Both or neither. Read again at every connection, so that they can
	// be renewed under a running client. Default none.
	CertFile, KeyFile string
	// ServerName that the brokers' certificates must be for. Default: the host being dialled.
	ServerName string
}

// Mechanisms of [SASL].
const (
	SASLPlain       = "plain"         // RFC 4616
	SASLScramSHA256 = "scram-sha-256" // RFC 5802, RFC 7677
	SASLScramSHA512 = "scram-sha-512" // RFC 5802
)

// SASL is the client's identity. It prints, logs and marshals without its password.
type SASL struct {
	// Mechanism is "" (none), [SASLPlain], [SASLScramSHA256] or [SASLScramSHA512].
	Mechanism string
	// User name. Required with a mechanism.
	User string
	// PasswordFile holds the password, without its trailing line end. It is read again at every
	// authentication, so that the password can be rotated under a running client.
	PasswordFile string
	// Password itself, for programs that take it from their environment. Never take it from a flag,
	// which every user of the host can read, nor from a configuration file. Exactly one of PasswordFile
	// and Password is required with a mechanism.
	Password string `json:"-" yaml:"-"`
}

// String describes the identity without its password.
func (s SASL) String() string {
	if s.Mechanism == "" && s.User == "" && s.PasswordFile == "" && s.Password == "" {
		return "none"
	}
	out := fmt.Sprintf("%s user=%q", s.Mechanism, s.User)
	if s.PasswordFile != "" {
		out += fmt.Sprintf(" password_file=%q", s.PasswordFile)
	}
	if s.Password != "" {
		out += " password=(hidden)"
	}
	return out
}

// GoString is [SASL.String], so that %#v hides the password too.
func (s SASL) GoString() string { return "kafkaclient.SASL{" + s.String() + "}" }

// LogValue is [SASL.String], for slog.
func (s SASL) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Validate reports everything that is wrong with the configuration, each problem beginning with its
// field's name; nil when there is nothing. It reads no file and touches no network.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		bad("brokers: missing; give at least one as host:port")
	}
	for i, b := range c.Brokers {
		if err := validateBroker(b); err != nil {
			bad("brokers[%d]: %q %w", i, b, err)
		}
	}
	if strings.ContainsFunc(c.ClientID, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		bad("client_id: %q has a control character", c.ClientID)
	}
	c.TLS.validate(bad)
	c.SASL.validate(bad)
	return errors.Join(errs...)
}

// Warnings tells what is allowed but better not left so: today, a password sent over a connection that
// anybody on the way can read. [Config.Opts] logs them; a program's config check may print them.
func (c Config) Warnings() []string {
	switch {
	case c.TLS.Enabled || c.SASL.Mechanism == "":
		return nil
	case c.SASL.Mechanism == SASLPlain:
		return []string{"sasl.mechanism: plain without tls.enabled sends the password in clear text"}
	default:
		return []string{"tls.enabled: false; the password is not sent in clear text, but the events are"}
	}
}

func validateBroker(b string) error {
	if b == "" || b != strings.TrimSpace(b) {
		return errors.New("is empty or has spaces around it; the form is host:port")
	}
	if strings.Contains(b, "://") {
		return errors.New("is a URL; the form is host:port, without a scheme")
	}
	if strings.ContainsAny(b, " ,;/\t\r\n") {
		return errors.New("is not one address; the form is host:port, one entry for each broker")
	}
	if !strings.Contains(strings.TrimPrefix(b, "["), ":") {
		return nil // a bare host: franz-go adds the port
	}
	host, port, err := net.SplitHostPort(b)
	if err != nil {
		return errors.New("is not host:port (an IPv6 address goes in brackets)")
	}
	if host == "" {
		return errors.New("has no host; the form is host:port")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("has port %q; a port is a number from 1 to 65535", port)
	}
	return nil
}

func (t TLS) validate(bad func(string, ...any)) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		missing, given := "tls.key_file", "tls.cert_file"
		if t.CertFile == "" {
			missing, given = given, missing
		}
		bad("%s: missing; it goes with %s", missing, given)
	}
	if t.Enabled {
		return
	}
	for _, f := range []struct{ name, value string }{
		{"tls.ca_file", t.CAFile},
		{"tls.cert_file", t.CertFile},
		{"tls.key_file", t.KeyFile},
		{"tls.server_name", t.ServerName},
	} {
		if f.value != "" {
			bad("%s: set, but tls.enabled is false; set tls.enabled, or leave %s out", f.name, f.name)
		}
	}
}

func (s SASL) validate(bad func(string, ...any)) {
	switch s.Mechanism {
	case "":
		if s.User != "" || s.Password != "" || s.PasswordFile != "" {
			bad("sasl.mechanism: missing, but a user or a password is set; the mechanisms are %s, %s, %s",
				SASLPlain, SASLScramSHA256, SASLScramSHA512)
		}
		return
	case SASLPlain, SASLScramSHA256, SASLScramSHA512:
	default:
		bad("sasl.mechanism: %q is not known; the mechanisms are %s, %s, %s",
			s.Mechanism, SASLPlain, SASLScramSHA256, SASLScramSHA512)
	}
	if s.User == "" {
		bad("sasl.user: missing; sasl.mechanism %q needs one", s.Mechanism)
	}
	switch {
	case s.Password != "" && s.PasswordFile != "":
		bad("sasl.password_file: set beside a password; give only one of the two")
	case s.Password == "" && s.PasswordFile == "":
		bad("sasl.password_file: missing; give the file, or the password in the environment")
	}
}
