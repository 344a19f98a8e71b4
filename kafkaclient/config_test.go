package kafkaclient

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidate(t *testing.T) {
	ok := func(change func(*Config)) Config {
		c := Config{Brokers: []string{"kafka:9092"}}
		if change != nil {
			change(&c)
		}
		return c
	}
	tests := []struct {
		name   string
		config Config
		want   []string // the beginning of each line; none: valid
	}{
		{"least", ok(nil), nil},
		{"several brokers", Config{Brokers: []string{"a", "b:1", "[::1]:9092", "10.0.0.1:65535"}}, nil},
		{"none", Config{}, []string{"brokers: missing"}},
		{
			"bad brokers",
			Config{Brokers: []string{"", " a:1", "kafka://a:1", "a:1,b:2", "a:0", "a:65536", "a:x", ":9092", "::1"}},
			[]string{
				"brokers[0]: ", "brokers[1]: ", "brokers[2]: ", "brokers[3]: ", "brokers[4]: ",
				"brokers[5]: ", "brokers[6]: ", "brokers[7]: ", "brokers[8]: ",
			},
		},
		{"client id", ok(func(c *Config) { c.ClientID = "a\nb" }), []string{"client_id: "}},
		{"tls alone", ok(func(c *Config) { c.TLS.Enabled = true }), nil},
		{
			"tls files without tls",
			ok(func(c *Config) { c.TLS = TLS{CAFile: "a", CertFile: "b", KeyFile: "c", ServerName: "d"} }),
			[]string{"tls.ca_file: ", "tls.cert_file: ", "tls.key_file: ", "tls.server_name: "},
		},
		{"no key", ok(func(c *Config) { c.TLS = TLS{Enabled: true, CertFile: "b"} }), []string{"tls.key_file: missing"}},
		{"no cert", ok(func(c *Config) { c.TLS = TLS{Enabled: true, KeyFile: "b"} }), []string{"tls.cert_file: missing"}},
		{"scram", ok(func(c *Config) { c.SASL = SASL{Mechanism: SASLScramSHA512, User: "u", PasswordFile: "p"} }), nil},
		{"plain", ok(func(c *Config) { c.SASL = SASL{Mechanism: SASLPlain, User: "u", Password: "p"} }), nil},
		{"no mechanism", ok(func(c *Config) { c.SASL = SASL{User: "u"} }), []string{"sasl.mechanism: missing"}},
		{
			"unknown mechanism, nothing else",
			ok(func(c *Config) { c.SASL = SASL{Mechanism: "PLAIN"} }),
			[]string{`sasl.mechanism: "PLAIN" is not known`, "sasl.user: missing", "sasl.password_file: missing"},
		},
		{
			"two passwords",
			ok(func(c *Config) {
				c.SASL = SASL{Mechanism: SASLPlain, User: "u", Password: "hunter2", PasswordFile: "p"}
			}),
			[]string{"sasl.password_file: set beside"},
		},
		{
			"all at once",
			Config{ClientID: "\x00", TLS: TLS{CAFile: "a"}, SASL: SASL{Mechanism: SASLPlain}},
			[]string{"brokers: ", "client_id: ", "tls.ca_file: ", "sasl.user: ", "sasl.password_file: "},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.config.Validate()
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(tt.want), err.Error())
			for i, w := range tt.want {
				require.True(t, strings.HasPrefix(lines[i], w), "%q does not begin with %q", lines[i], w)
			}
			require.NotContains(t, err.Error(), "hunter2")
			_, err = tt.config.Opts()
			require.Error(t, err, "Opts validates too")
		})
	}
}

func TestOptsNamesFileAndField(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	missing := filepath.Join(dir, "missing")
	_, err := Config{
		Brokers: []string{"a:1"},
		TLS:     TLS{Enabled: true, CAFile: empty, CertFile: empty, KeyFile: missing},
		SASL:    SASL{Mechanism: SASLPlain, User: "u", PasswordFile: empty},
	}.Opts()
	require.ErrorContains(t, err, "tls.ca_file: "+empty+" holds no certificate")
	require.ErrorContains(t, err, "tls.key_file: open "+missing)
	require.ErrorContains(t, err, "sasl.password_file: "+empty+" is empty")

	_, err = Config{
		Brokers: []string{"a:1"},
		TLS:     TLS{Enabled: true, CAFile: missing, CertFile: empty, KeyFile: empty},
		SASL:    SASL{Mechanism: SASLPlain, User: "u", PasswordFile: missing},
	}.Opts()
	require.ErrorContains(t, err, "tls.ca_file: open "+missing)
	require.ErrorContains(t, err, "are not a pair")
	require.ErrorContains(t, err, "sasl.password_file: open "+missing)
}

func TestPasswordIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	s := SASL{PasswordFile: file}
	for content, want := range map[string]string{"a": "a", "b\n": "b", "c\r\n": "c", " d \n\n": " d \n"} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		got, err := s.password()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c := Config{
		Brokers: []string{"a:1"},
		SASL:    SASL{Mechanism: SASLPlain, User: "someone", Password: "hunter2"},
	}
	var out bytes.Buffer
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&out, f+"\n", c)
		fmt.Fprintf(&out, f+"\n", c.SASL)
		fmt.Fprintf(&out, f+"\n", &c.SASL)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("config", "sasl", c.SASL, "config", c)
	}
	b, err := json.Marshal(c.SASL)
	require.NoError(t, err)
	out.Write(b)
	require.Contains(t, out.String(), "someone")
	require.NotContains(t, out.String(), "hunter2")
	require.Equal(t, "none", SASL{}.String())
}

func TestWarnings(t *testing.T) {
	plain := SASL{Mechanism: SASLPlain, User: "u", Password: "p"}
	require.Empty(t, Config{}.Warnings())
	require.Empty(t, Config{TLS: TLS{Enabled: true}, SASL: plain}.Warnings())
	require.Contains(t, Config{SASL: plain}.Warnings()[0], "clear text")
	require.Len(t, Config{SASL: SASL{Mechanism: SASLScramSHA256}}.Warnings(), 1)

	var log bytes.Buffer
	_, err := Config{Brokers: []string{"a:1"}, SASL: plain, Logger: slog.New(slog.NewTextHandler(&log, nil))}.Opts()
	require.NoError(t, err)
	require.Contains(t, log.String(), "level=WARN")
	require.Contains(t, log.String(), "sasl.mechanism")
}

func TestTLSClient(t *testing.T) {
	c, err := TLS{}.Client()
	require.NoError(t, err)
	require.Nil(t, c)
	_, err = TLS{CAFile: "ca.pem", KeyFile: "k"}.Client()
	require.ErrorContains(t, err, "tls.ca_file: set, but tls.enabled is false")
	require.ErrorContains(t, err, "tls.key_file: set, but tls.enabled is false")
	_, err = TLS{Enabled: true, CAFile: "/nowhere"}.Client()
	require.ErrorContains(t, err, "tls.ca_file: open /nowhere")
	c, err = TLS{Enabled: true, ServerName: "db"}.Client()
	require.NoError(t, err)
	require.Equal(t, "db", c.ServerName)
}
