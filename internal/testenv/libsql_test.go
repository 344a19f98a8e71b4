//go:build integration && unix

package testenv

import (
	"context"
	"crypto/ed25519"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSharedLibSQLIsOne(t *testing.T) {
	l := SharedLibSQL(t)
	require.Same(t, l, SharedLibSQL(t))
	require.NotEqual(t, l.Namespace(t), l.Namespace(t))
}

// A server killed with -9 comes back with what it had stored; one that is paused does not answer.
func TestLibSQLKillAndPause(t *testing.T) {
	l := StartLibSQL(t, LibSQLOptions{})
	ask := func(sql string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, body, err := request(ctx, http.MethodPost, l.URL("http")+"/v2/pipeline", "",
			`{"requests":[{"type":"execute","stmt":{"sql":"`+sql+`"}},{"type":"close"}]}`)
		return string(body), err
	}
	_, err := ask("CREATE TABLE t (n)")
	require.NoError(t, err)
	_, err = ask("INSERT INTO t VALUES (4711)")
	require.NoError(t, err)
	l.Kill(t)
	_, err = ask("SELECT n FROM t")
	require.Error(t, err)
	l.StartAgain(t)
	answer, err := ask("SELECT n FROM t")
	require.NoError(t, err)
	require.Contains(t, answer, "4711")
	l.Pause(t)
	_, err = ask("SELECT n FROM t")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	l.Resume(t)
	_, err = ask("SELECT n FROM t")
	require.NoError(t, err)
}

// Only tokens of the server's own key, not expired, are taken.
func TestLibSQLTokens(t *testing.T) {
	l := StartLibSQL(t, LibSQLOptions{Auth: true})
	_, stranger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	for token, want := range map[string]int{
		l.Token(t, LibSQLClaims{}):                    http.StatusOK,
		l.Token(t, LibSQLClaims{Expires: time.Hour}):  http.StatusOK,
		l.Token(t, LibSQLClaims{Expires: -time.Hour}): http.StatusUnauthorized,
		SignLibSQLToken(t, stranger, LibSQLClaims{}):  http.StatusUnauthorized,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, l.URL("http")+"/v2/pipeline", strings.NewReader(`{"requests":[]}`))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := transport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, want, response.StatusCode)
	}
}

func TestSumIsChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sqld")
	require.NoError(t, os.WriteFile(file, []byte("abc"), 0o600))
	require.NoError(t, checkSum(file, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
	require.ErrorContains(t, checkSum(file, "00"), "sqld is not what it was")
}
