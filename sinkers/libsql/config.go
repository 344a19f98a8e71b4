package libsql

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// Config says which database to open, and how. Only URL is required.
type Config struct {
	// URL of the database: libsql:// and https:// for HTTP with TLS, http:// without; wss:// and ws:// for
	// WebSocket. A token is no part of it.
	URL string
	// Proxy is the URL of the server to ask in place of the one that URL names, over HTTP only. It is told URL's
	// host, whose first label is the namespace. Default: none.
	Proxy string
	// Token authenticates. Default: none. It is in no error and no log.
	Token string
	// TokenFile has the token, read again for each new connection, so that a new token needs no restart.
	TokenFile string
	// ReadOnly opens what is there for queries alone. It takes no lease, makes no tables and migrates none; Write,
	// Prune and Probe return an error.
	ReadOnly bool
	// Beside opens what is there to Erase, Prune and AppendLedger beside a live worker: it takes no lease and
	// migrates nothing, and each of its short transactions takes its turn by the server's own lock. Write returns
	// an error.
	Beside bool
	// WaitForLease makes Open wait until the lease is free or its context ends, rather than return ErrLeased
	// at once: the way to stand by for another process.
	WaitForLease bool
	// NoLease does without the lease, for a database of which something else sees to it that it has one writer.
	NoLease bool
	// LeaseTTL is how long a writer that stands still keeps its lease. It is renewed three times as often.
	// Default 30 s, at least 1 s.
	LeaseTTL time.Duration
	// OnLeaseLost is called, once, by whichever goroutine finds out that another has taken the lease: this Sink will
	// store nothing more. It must not wait for the Sink. Default: none.
	OnLeaseLost func(error)
	// Retention says which events are too old to be stored; Prune is the caller's business. Default: none is.
	Retention sinkers.Retention
	// Readers is the most queries at a time, each with a connection of its own. Default 4.
	Readers int
	// Timeout is the deadline of each request to the server. Default 30 s; negative is none.
	Timeout time.Duration
}

// Grace is how long a Write whose context has ended waits for the answer to what it has sent.
const Grace = 5 * time.Second

const minLeaseTTL = time.Second

func (c Config) withDefaults() Config {
	c.Readers = cmp.Or(c.Readers, 4)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.LeaseTTL = cmp.Or(c.LeaseTTL, 30*time.Second)
	return c
}

// Validate reports everything that is wrong with the settings, each problem naming its field.
func (c Config) Validate() error {
	errs := []error{c.checkURL(), c.checkProxy(), c.checkToken(), c.Retention.Validate()}
	if c.Readers < 0 {
		errs = append(errs, fmt.Errorf("readers: %d is negative; 0 is the default", c.Readers))
	}
	if c.LeaseTTL != 0 && c.LeaseTTL < minLeaseTTL {
		errs = append(errs, fmt.Errorf("lease ttl: %s is less than %s; 0 is the default", c.LeaseTTL, minLeaseTTL))
	}
	if c.ReadOnly && c.Beside {
		errs = append(errs, errors.New("beside: a read-only sink deletes nothing; leave one of the two off"))
	}
	if c.WaitForLease && (c.ReadOnly || c.Beside || c.NoLease) {
		errs = append(errs, errors.New("wait for lease: a sink that is read-only, beside another or without a lease takes none; leave it off"))
	}
	return errors.Join(errs...)
}

// checkURL doesn't repeat the URL: there may be a token in it by mistake.
func (c Config) checkURL() error {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return errors.New("url: missing; want the database's address, such as libsql://audit.example.com")
	case err != nil:
		return errors.New("url: can't be read; want the database's address, such as libsql://audit.example.com")
	case !slices.Contains([]string{"libsql", "https", "http", "wss", "ws"}, u.Scheme):
		return fmt.Errorf("url: scheme %q is none of libsql, https, http, wss, ws", u.Scheme)
	case u.Hostname() == "":
		return errors.New("url: names no host; want one such as libsql://audit.example.com")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return errors.New("url: has a user, a query or a fragment; want scheme, host and path alone, and the token by itself")
	}
	return nil
}

func (c Config) checkProxy() error {
	if c.Proxy == "" {
		return nil
	}
	u, err := url.Parse(c.Proxy)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("proxy: want the server's address, such as http://127.0.0.1:8080")
	case c.webSocket():
		return errors.New("proxy: works over HTTP only; want an http, https or libsql url")
	}
	return nil
}

func (c Config) checkToken() error {
	if c.Token != "" && c.TokenFile != "" {
		return errors.New("token: given twice, with token file too; leave one of them off")
	}
	return validToken("token", c.Token)
}

// validToken refuses what can't be sent, without saying what it is.
func validToken(field, token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Errorf("%s: has a space, a line break or another character that no token has", field)
	}
	return nil
}

// token returns the token to use now.
func (c Config) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("token file: %s is empty", c.TokenFile)
	}
	return token, validToken("token file", token)
}

func (c Config) webSocket() bool {
	return strings.HasPrefix(c.URL, "ws:") || strings.HasPrefix(c.URL, "wss:")
}

// String returns the URL alone, so that a Config that is printed shows no token.
func (c Config) String() string { return c.URL }

// GoString does the same for %#v.
func (c Config) GoString() string { return fmt.Sprintf("libsql.Config{URL: %q}", c.URL) }
