//go:build integration && unix

package testenv

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// LibSQL is a real libSQL server (sqld) on loopback, a process of its own. A test calls its methods one at a
// time.
type LibSQL struct {
	process
	options LibSQLOptions
	binary  string
	dir     string
	port    int      // HTTP and WebSocket; the admin's is the next one
	alive   *os.File // closed by the end of this process, whereupon the guard kills the server
	key     ed25519.PrivateKey
}

// LibSQLOptions say what a server is to be like. The zero value serves one database to everybody.
type LibSQLOptions struct {
	// Namespaces makes it serve a database per namespace, which is the first label of the host's name. There
	// is none at first: see [LibSQL.Namespace].
	Namespaces bool
	// Auth makes it ask for a token; see [LibSQL.Token].
	Auth bool
}

// StartLibSQL starts a server of its own for this test, and kills it when the test ends. It takes a fraction of a
// second.
func StartLibSQL(t testing.TB, o LibSQLOptions) *LibSQL {
	t.Helper()
	l, err := startLibSQL(o)
	require.NoError(t, err)
	t.Cleanup(l.remove)
	return l
}

var sharedLibSQL struct {
	once   sync.Once
	server *LibSQL
	err    error
}

// SharedLibSQL returns the server with namespaces that the tests of this binary share. It is started by the
// first to ask, and goes when the binary ends, however that ends.
func SharedLibSQL(t testing.TB) *LibSQL {
	t.Helper()
	s := &sharedLibSQL
	s.once.Do(func() { s.server, s.err = startLibSQL(LibSQLOptions{Namespaces: true}) })
	require.NoError(t, s.err)
	return s.server
}

// URL returns the server's address by a scheme: http or ws.
func (l *LibSQL) URL(scheme string) string { return scheme + "://" + addr(l.port) }

// Namespace makes a namespace of its own for this test and returns the URL of its database, whose host's name
// nobody knows: it must be asked for at [LibSQL.URL].
func (l *LibSQL) Namespace(t testing.TB) string {
	t.Helper()
	// Of a host's name, a label has at the most 63 characters.
	name := Unique(t)
	name = "n" + name[max(0, len(name)-40):]
	require.NoError(t, l.MakeNamespace(name))
	return NamespaceURL(name)
}

// Configure sets what a namespace of [LibSQL.Namespace] allows, as the JSON of the server's admin interface has it: block_reads and
// block_writes, which must be there, block_reason, max_db_size and so on.
func (l *LibSQL) Configure(t testing.TB, url, config string) {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ".")
	status, body, err := request(t.Context(), http.MethodPost, "http://"+addr(l.port+1)+"/v1/namespaces/"+name+"/config", "", config)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%s", body)
}

// NamespaceURL returns the URL of a namespace's database, which may not be there.
func NamespaceURL(name string) string { return "http://" + name + ".libsql.example" }

// LibSQLClaims are what a token allows.
type LibSQLClaims struct {
	ReadOnly  bool
	Namespace string        // the only one it is for; "" is all of them
	Expires   time.Duration // from now on; 0 is never
}

// Token returns a token that the server accepts, as far as the claims go.
func (l *LibSQL) Token(t testing.TB, c LibSQLClaims) string {
	t.Helper()
	return SignLibSQLToken(t, l.key, c)
}

// SignLibSQLToken returns a JWT signed by EdDSA with any key.
func SignLibSQLToken(t testing.TB, key ed25519.PrivateKey, c LibSQLClaims) string {
	t.Helper()
	claims := map[string]any{"a": "rw"}
	if c.ReadOnly {
		claims["a"] = "ro"
	}
	if c.Namespace != "" {
		claims["id"] = c.Namespace
	}
	if c.Expires != 0 {
		claims["exp"] = time.Now().Add(c.Expires).Unix()
	}
	body, err := json.Marshal(claims)
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(`{"alg":"EdDSA","typ":"JWT"}`)) + "." + b64(body)
	return signed + "." + b64(ed25519.Sign(key, []byte(signed)))
}

// Kill ends the server with SIGKILL.
func (l *LibSQL) Kill(t testing.TB) {
	t.Helper()
	require.NoError(t, l.cmd.Process.Kill(), "the server isn't running")
	_ = l.cmd.Wait() // killed: it says so
}

// StartAgain starts the server after [LibSQL.Kill], on the data and the ports it had, and returns when it
// answers.
func (l *LibSQL) StartAgain(t testing.TB) {
	t.Helper()
	require.NoError(t, l.start())
}
