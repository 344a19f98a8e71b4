package clickhouse

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// Protocols that a server is spoken to by.
const (
	Native = "native" // ClickHouse's own, by default at port 9000, and 9440 with TLS
	HTTP   = "http"   // by default at port 8123, and 8443 with TLS
)

// Compressions of what goes over the network.
const (
	LZ4           = "lz4"
	ZSTD          = "zstd"
	NoCompression = "none"
)

// Config says where ClickHouse is. Only Addrs is required.
type Config struct {
	// Addrs of the servers, as host:port. A new connection goes to the first that answers.
	Addrs []string
	// Protocol is Native or HTTP. Default Native.
	Protocol string
	// Database with the tables. It must be there. Default "default".
	Database string
	// User and Password to log in with. Default: the user "default", without a password.
	User, Password string
	// TLS switches TLS on, with these settings. Default nil: none.
	TLS *tls.Config
	// Compression is LZ4, ZSTD or NoCompression. Default LZ4.
	Compression string
	// ReadOnly opens what is there for queries alone: it makes no table and migrates none; Write, Prune and
	// Probe return an error. It does for users with the profile "readonly".
	ReadOnly bool
	// Retention says which events are too old to be stored; Prune is the caller's business. Default: none is.
	Retention sinkers.Retention
	// TTLDays makes ClickHouse itself drop what is older, once a whole part of the table is: the net under
	// Prune. It can't be less than the retention. Default 0: the table's TTL is left as it is;
	// negative: it is taken off.
	TTLDays int
	// DialTimeout is the longest to connect, and to wait for one of MaxConns. Default 10 s.
	DialTimeout time.Duration
	// ReadTimeout is the longest that a server may be silent within a statement. Default 5 min.
	ReadTimeout time.Duration
	// MaxConns is the most connections: one for writing, the others for queries. Default 5.
	MaxConns int
}

func (c Config) withDefaults() Config {
	c.Protocol = cmp.Or(c.Protocol, Native)
	c.Database = cmp.Or(c.Database, "default")
	c.User = cmp.Or(c.User, "default")
	c.Compression = cmp.Or(c.Compression, LZ4)
	c.DialTimeout = cmp.Or(c.DialTimeout, 10*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 5*time.Minute)
	c.MaxConns = cmp.Or(c.MaxConns, 5)
	return c
}

// maxTTLDays keeps the TTL within ClickHouse's 32-bit times.
const maxTTLDays = 3650

// Validate reports everything that is wrong with the settings, each problem naming its field.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Addrs) == 0 {
		bad("addrs: missing; give at least one as host:port, such as localhost:9000")
	}
	for i, a := range c.Addrs {
		if err := checkAddr(a); err != nil {
			bad("addrs[%d]: %q %w", i, a, err)
		} else if slices.Contains(c.Addrs[:i], a) {
			bad("addrs[%d]: %q is there twice", i, a)
		}
	}
	if c.Protocol != Native && c.Protocol != HTTP {
		bad("protocol: %q is neither %q nor %q", c.Protocol, Native, HTTP)
	}
	if c.Compression != LZ4 && c.Compression != ZSTD && c.Compression != NoCompression {
		bad("compression: %q is none of %q, %q, %q", c.Compression, LZ4, ZSTD, NoCompression)
	}
	if strings.Contains(c.Database, "{tenant}") {
		bad("database: %q would be one for each tenant: %s", c.Database, onlyShared)
	}
	if strings.ContainsFunc(c.Database, isControl) {
		bad("database: %q has a control character", c.Database)
	}
	if strings.ContainsFunc(c.User, isControl) {
		bad("user: %q has a control character", c.User)
	}
	if c.ReadOnly && c.TTLDays != 0 {
		bad("ttl days: a read-only sink sets none; leave it out")
	}
	if err := c.Retention.Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.TTLDays > 0 && c.Retention.Days >= 0 && (c.Retention.Days == 0 || c.TTLDays < c.Retention.Days) {
		bad("ttl days: %d is less than the retention (%d days, 0 being for ever); raise it, or leave it out", c.TTLDays, c.Retention.Days)
	}
	if c.TTLDays > maxTTLDays {
		bad("ttl days: %d is over %d; leave it out and let Prune do it", c.TTLDays, maxTTLDays)
	}
	for _, f := range [...]struct {
		name  string
		value int64
	}{{"dial timeout", int64(c.DialTimeout)}, {"read timeout", int64(c.ReadTimeout)}, {"max conns", int64(c.MaxConns)}} {
		if f.value < 0 {
			bad("%s: %d is negative; 0 is the default", f.name, f.value)
		}
	}
	if c.MaxConns == 1 {
		bad("max conns: 1 lets queries wait for writes; give at least 2")
	}
	return errors.Join(errs...)
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("is not host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("has the port %q; want 1 to 65535", port)
	}
	if host == "" || strings.ContainsAny(host, "/@ ") {
		return fmt.Errorf("has the host %q; want a name or an address", host)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
