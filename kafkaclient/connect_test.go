package kafkaclient

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(1, "t")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// client makes a client that gives up on a first contact at once.
func client(t *testing.T, c Config) *kgo.Client {
	t.Helper()
	opts, err := c.Opts()
	require.NoError(t, err)
	cl, err := kgo.NewClient(append(opts, kgo.RequestRetries(0))...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

func check(t *testing.T, c Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return Check(ctx, client(t, c))
}

func TestCheck(t *testing.T) {
	require.NoError(t, check(t, Config{Brokers: cluster(t).ListenAddrs(), Logger: slog.New(slog.DiscardHandler)}))
}

func TestCheckUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	err = check(t, Config{Brokers: []string{addr}})
	require.ErrorContains(t, err, "brokers "+addr+": unreachable: ")

	err = check(t, Config{
		Brokers: []string{"a:1"},
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "a", IsNotFound: true}
		},
	})
	require.ErrorContains(t, err, "the name is not known")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Check(ctx, client(t, Config{Brokers: []string{addr}})), context.Canceled)
}

func TestDialIsUsed(t *testing.T) {
	var dials atomic.Int32
	files := newPKI(t)
	addrs := cluster(t, kfake.TLS(files.server(false))).ListenAddrs()
	require.NoError(t, check(t, Config{
		Brokers: []string{"broker.invalid:9092"},
		TLS:     TLS{Enabled: true, CAFile: files.ca, ServerName: "127.0.0.1"},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addrs[0])
		},
	}))
	require.Positive(t, dials.Load())
}

// closing is a broker that speaks no TLS: like Kafka's, and unlike kfake's, it closes a connection that
// begins with something that is no request.
func closing(t *testing.T) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 5))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return []string{l.Addr().String()}
}

func TestTLS(t *testing.T) {
	files, other := newPKI(t), newPKI(t)
	open := closing(t)
	secure := cluster(t, kfake.TLS(files.server(false))).ListenAddrs()
	mutual := cluster(t, kfake.TLS(files.server(true))).ListenAddrs()
	tests := []struct {
		name    string
		brokers []string
		tls     TLS
		want    string // "": connects
	}{
		{"right authority", secure, TLS{Enabled: true, CAFile: files.ca}, ""},
		{"server name", secure, TLS{Enabled: true, CAFile: files.ca, ServerName: "kafka.test"}, ""},
		{"wrong authority", secure, TLS{Enabled: true, CAFile: other.ca}, "tls.ca_file"},
		{"system's authorities", secure, TLS{Enabled: true}, "tls.ca_file"},
		{"wrong server name", secure, TLS{Enabled: true, CAFile: files.ca, ServerName: "else.test"}, "tls.server_name"},
		{"client certificate", mutual, TLS{Enabled: true, CAFile: files.ca, CertFile: files.cert, KeyFile: files.key}, ""},
		{"none where one is asked for", mutual, TLS{Enabled: true, CAFile: files.ca}, "tls.cert_file"},
		{"one of another authority", mutual, TLS{Enabled: true, CAFile: files.ca, CertFile: other.cert, KeyFile: other.key}, "tls.cert_file"},
		{"broker without tls", open, TLS{Enabled: true, CAFile: files.ca}, "whether this port speaks TLS"},
		{"broker with tls", secure, TLS{}, "does it want TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := check(t, Config{Brokers: tt.brokers, TLS: tt.tls})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, tt.brokers[0])
		})
	}
}

// A certificate that was renewed on disk is used by the next connection of a running client.
func TestClientCertificateIsReadAnew(t *testing.T) {
	files, other := newPKI(t), newPKI(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	move := func(from pki) {
		for to, name := range map[string]string{cert: from.cert, key: from.key} {
			b, err := os.ReadFile(name)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, b, 0o600))
		}
	}
	move(other)
	cl := client(t, Config{
		Brokers: cluster(t, kfake.TLS(files.server(true))).ListenAddrs(),
		TLS:     TLS{Enabled: true, CAFile: files.ca, CertFile: cert, KeyFile: key},
	})
	require.Error(t, Check(t.Context(), cl))
	move(files)
	require.NoError(t, Check(t.Context(), cl))
}

func TestSASL(t *testing.T) {
	files := newPKI(t)
	for mechanism, name := range map[string]string{
		SASLPlain: "PLAIN", SASLScramSHA256: "SCRAM-SHA-256", SASLScramSHA512: "SCRAM-SHA-512",
	} {
		for _, secure := range []bool{false, true} {
			t.Run(mechanism+map[bool]string{false: " in the clear", true: " over TLS"}[secure], func(t *testing.T) {
				opts := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(name, "someone", "hunter2")}
				config := Config{SASL: SASL{Mechanism: mechanism, User: "someone", Password: "hunter2"}}
				if secure {
					opts = append(opts, kfake.TLS(files.server(false)))
					config.TLS = TLS{Enabled: true, CAFile: files.ca}
				}
				config.Brokers = cluster(t, opts...).ListenAddrs()
				require.NoError(t, check(t, config))

				cl := client(t, config)
				require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr())

				config.SASL.Password = "letmein"
				err := check(t, config)
				require.Error(t, err)
				require.NotContains(t, err.Error(), "letmein")

				config.SASL = SASL{}
				require.ErrorContains(t, check(t, config), "SASL")
			})
		}
	}
}

// A password that was rotated is used by the next authentication of a running client.
func TestPasswordRotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("old\n"), 0o600))
	cl := client(t, Config{
		Brokers: cluster(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "u", "new")).ListenAddrs(),
		SASL:    SASL{Mechanism: SASLScramSHA256, User: "u", PasswordFile: file},
	})
	require.Error(t, Check(t.Context(), cl))
	require.NoError(t, os.WriteFile(file, []byte("new\n"), 0o600))
	require.NoError(t, Check(t.Context(), cl))
	require.NoError(t, os.Remove(file))
}
