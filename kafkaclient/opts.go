package kafkaclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/twmb/franz-go/plugin/kslog"
)

// dialTimeout bounds a connection, its TLS handshake included. It is franz-go's own default, which does
// not hold for a dialer that it was given.
const dialTimeout = 10 * time.Second

// Opts validates the configuration, reads the files it names and returns franz-go's options for it.
// Every problem is reported at once, naming file and field. It logs [Config.Warnings].
func (c Config) Opts() ([]kgo.Opt, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	tlsConfig, tlsErr := c.TLS.load()
	mechanism, saslErr := c.SASL.load()
	if err := errors.Join(tlsErr, saslErr); err != nil {
		return nil, err
	}
	id := c.ClientID
	if id == "" {
		id = DefaultClientID
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(id),
		kgo.Dialer(c.dialer(tlsConfig)),
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	if c.Logger != nil {
		opts = append(opts, kgo.WithLogger(kslog.New(c.Logger)))
		for _, w := range c.Warnings() {
			c.Logger.Warn("kafka configuration: " + w)
		}
	}
	return opts, nil
}

// dialer puts TLS, when there is a configuration for it, over the connections of c.Dial.
func (c Config) dialer(conf *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil || conf == nil {
			return conn, err
		}
		conf := conf.Clone()
		if conf.ServerName == "" {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				_ = conn.Close()
				return nil, err
			}
			conf.ServerName = host
		}
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, &handshakeError{addr, err}
		}
		return secure, nil
	}
}

// Client checks the settings, reads the files and returns them for crypto/tls; nil when TLS is off. It is what
// [Config.Opts] uses, for programs that reach a database in the same way.
func (t TLS) Client() (*tls.Config, error) {
	var errs []error
	t.validate(func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t.load()
}

// load reads the files; nil when TLS is off.
func (t TLS) load() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	var errs []error
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		conf.RootCAs = x509.NewCertPool()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("tls.ca_file: %w", err))
		case !conf.RootCAs.AppendCertsFromPEM(pem):
			errs = append(errs, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM form", t.CAFile))
		}
	}
	if t.CertFile != "" {
		if _, err := t.certificate(nil); err != nil {
			errs = append(errs, err)
		}
		conf.GetClientCertificate = t.certificate
	}
	return conf, errors.Join(errs...)
}

// certificate reads the client's certificate; it is called at every handshake that asks for one.
func (t TLS) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	// Read apart, so that the message names the one that is missing.
	cert, err := os.ReadFile(t.CertFile)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file: %w", err)
	}
	key, err := os.ReadFile(t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls.key_file: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file, tls.key_file: %s and %s are not a pair: %w", t.CertFile, t.KeyFile, err)
	}
	return &pair, nil
}

// load checks that the password can be read; nil when there is no mechanism.
func (s SASL) load() (sasl.Mechanism, error) {
	if s.Mechanism == "" {
		return nil, nil
	}
	if _, err := s.password(); err != nil {
		return nil, err
	}
	auth := func(context.Context) (scram.Auth, error) {
		password, err := s.password()
		return scram.Auth{User: s.User, Pass: password}, err
	}
	switch s.Mechanism {
	case SASLScramSHA256:
		return scram.Sha256(auth), nil
	case SASLScramSHA512:
		return scram.Sha512(auth), nil
	default:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := s.password()
			return plain.Auth{User: s.User, Pass: password}, err
		}), nil
	}
}

// password reads the file anew each time, so that a rotated password is found.
func (s SASL) password() (string, error) {
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("sasl.password_file: %w", err)
	}
	b = bytes.TrimSuffix(b, []byte("\n"))
	b = bytes.TrimSuffix(b, []byte("\r"))
	if len(b) == 0 {
		return "", fmt.Errorf("sasl.password_file: %s is empty", s.PasswordFile)
	}
	return string(b), nil
}
