package libsql

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/sinkers"
)

func TestConfigNamesEveryProblem(t *testing.T) {
	err := Config{
		URL: "ftp://x", Proxy: "nonsense", Token: "se cret", Readers: -1, LeaseTTL: time.Millisecond,
		ReadOnly: true, Beside: true, WaitForLease: true, Retention: sinkers.Retention{Days: -1},
	}.Validate()
	for _, field := range []string{"url:", "proxy:", "token:", "readers:", "lease ttl:", "beside:", "wait for lease:", "retention days:"} {
		require.ErrorContains(t, err, field)
	}
	require.NotContains(t, err.Error(), "se cret")
	for url, want := range map[string]string{
		"":                                   "missing",
		"audit.db":                           `scheme ""`,
		"file:audit.db":                      "scheme",
		"https://":                           "names no host",
		"https://h/?authToken=secret":        "the token by itself",
		"https://user:secret@h":              "the token by itself",
		"https://h\x00secret":                "can't be read",
		"libsql://audit.example.com#authkey": "the token by itself",
	} {
		err := Config{URL: url}.Validate()
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret", "a token may be in it")
	}
	for _, url := range []string{"libsql://h", "https://h", "http://h:8080", "ws://h:8080", "wss://h/path"} {
		require.NoError(t, Config{URL: url, Token: "a.b-c_d"}.Validate())
	}
	require.ErrorContains(t, Config{URL: "ws://h", Proxy: "http://p"}.Validate(), "proxy: works over HTTP only")
	require.ErrorContains(t, Config{URL: "http://h", Token: "a", TokenFile: "b"}.Validate(), "token: given twice")
}

func TestTokenIsHidden(t *testing.T) {
	cfg := Config{URL: "http://h", Token: "secret"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(format, cfg), "secret", format)
		require.Contains(t, fmt.Sprintf(format, cfg), "http://h", format)
	}
}

func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	cfg := Config{URL: "http://h", TokenFile: file}
	_, err := cfg.token()
	require.ErrorContains(t, err, "token file:")
	for content, want := range map[string]string{" \n": "is empty", "sec\nret": "a line break"} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		_, err := cfg.token()
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "sec\nret")
	}
	for _, token := range []string{"one", "two"} { // it is read again
		require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
		got, err := cfg.token()
		require.NoError(t, err)
		require.Equal(t, token, got)
	}
}
