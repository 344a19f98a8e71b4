package httpaudit

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/firetrail/firetrail"
	"github.com/stretchr/testify/require"
)

func prefixes(t testing.TB, texts ...string) []netip.Prefix {
	t.Helper()
	p, err := ParsePrefixes(texts...)
	require.NoError(t, err)
	return p
}

// serve sends the request through the middleware and returns what a handler's events would get.
func serve(t testing.TB, c Config, r *http.Request) (firetrail.Context, *httptest.ResponseRecorder) {
	t.Helper()
	audit, err := New(c)
	require.NoError(t, err)
	var got firetrail.Context
	w := httptest.NewRecorder()
	audit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var ok bool
		got, ok = firetrail.FromContext(r.Context())
		require.True(t, ok)
	})).ServeHTTP(w, r)
	return got, w
}

func TestClientAddress(t *testing.T) {
	const (
		peer   = "10.0.0.1:4711" // a trusted proxy
		attack = "6.6.6.6"       // what an attacker would like to see in the trail
	)
	forwarded := func(lines ...string) []string { return lines }
	tests := []struct {
		name    string
		remote  string
		header  string // default X-Forwarded-For
		lines   []string
		trusted []string // default 10.0.0.0/8 and fd00::/8
		want    string
	}{
		{name: "no header", remote: peer, want: "10.0.0.1"},
		{name: "peer not trusted", remote: "9.9.9.9:1", lines: forwarded(attack), want: "9.9.9.9"},
		{name: "nobody trusted", remote: peer, trusted: []string{}, lines: forwarded(attack), want: "10.0.0.1"},
		{name: "one proxy", remote: peer, lines: forwarded("1.2.3.4"), want: "1.2.3.4"},
		{name: "two proxies", remote: peer, lines: forwarded("1.2.3.4, 10.0.0.2"), want: "1.2.3.4"},
		{name: "forged entry", remote: peer, lines: forwarded(attack + ", 1.2.3.4"), want: "1.2.3.4"},
		{name: "forged trusted entry", remote: peer, lines: forwarded(attack + ", 10.0.0.9, 1.2.3.4"), want: "1.2.3.4"},
		{name: "forged line of its own", remote: peer, lines: forwarded(attack, "1.2.3.4"), want: "1.2.3.4"},
		{name: "lines are one list", remote: peer, lines: forwarded(attack+", 1.2.3.4", "10.0.0.3, 10.0.0.2"), want: "1.2.3.4"},
		{name: "all trusted", remote: peer, lines: forwarded("10.0.0.3, 10.0.0.2"), want: "10.0.0.3"},
		{name: "garbage at the end", remote: peer, lines: forwarded(attack + ", hello"), want: "10.0.0.1"},
		{name: "garbage before a proxy", remote: peer, lines: forwarded(attack + ", hello, 10.0.0.2"), want: "10.0.0.2"},
		{name: "unknown", remote: peer, lines: forwarded(attack + ", unknown"), want: "10.0.0.1"},
		{name: "empty entry", remote: peer, lines: forwarded(attack + ",,10.0.0.2"), want: "10.0.0.2"},
		{name: "empty line", remote: peer, lines: forwarded(attack, ""), want: "10.0.0.1"},
		{name: "only a comma", remote: peer, lines: forwarded(","), want: "10.0.0.1"},
		{name: "no spaces, tabs", remote: peer, lines: forwarded("6.6.6.6,1.2.3.4,\t10.0.0.2 "), want: "1.2.3.4"},
		{name: "with a port", remote: peer, lines: forwarded("1.2.3.4:5678, 10.0.0.2:80"), want: "1.2.3.4"},
		{name: "bad port", remote: peer, lines: forwarded("1.2.3.4:x"), want: "10.0.0.1"},
		{name: "octal octets", remote: peer, lines: forwarded("010.0.0.2"), want: "10.0.0.1"},
		{name: "too few octets", remote: peer, lines: forwarded("10.1"), want: "10.0.0.1"},
		{name: "a prefix is no address", remote: peer, lines: forwarded("1.2.3.0/24"), want: "10.0.0.1"},
		{name: "unspecified", remote: peer, lines: forwarded("0.0.0.0"), want: "10.0.0.1"},
		{name: "very long", remote: peer, lines: forwarded("fe80::1%" + strings.Repeat("x", 10000)), want: "10.0.0.1"},
		{name: "IPv6", remote: "[fd00::1]:80", lines: forwarded("2001:db8::1"), want: "2001:db8::1"},
		{name: "IPv6 in brackets", remote: peer, lines: forwarded("[2001:db8::1]"), want: "2001:db8::1"},
		{name: "IPv6 with a port", remote: peer, lines: forwarded("[2001:db8::1]:443"), want: "2001:db8::1"},
		{name: "IPv6, bad brackets", remote: peer, lines: forwarded("[2001:db8::1"), want: "10.0.0.1"},
		{name: "IPv6, rubbish after", remote: peer, lines: forwarded("[2001:db8::1]x"), want: "10.0.0.1"},
		{name: "IPv4 in brackets", remote: peer, lines: forwarded("[1.2.3.4]"), want: "10.0.0.1"},
		{name: "IPv6 is written one way", remote: peer, lines: forwarded("2001:DB8:0:0::1"), want: "2001:db8::1"},
		{name: "zone of the peer", remote: "[fe80::1%eth0]:80", trusted: []string{"fe80::/10"}, lines: forwarded("1.2.3.4"), want: "1.2.3.4"},
		{name: "zone of an untrusted peer", remote: "[fe80::1%eth0]:80", want: "fe80::1"},
		{name: "zone of an entry", remote: peer, lines: forwarded("6.6.6.6, fe80::1%<script>"), want: "fe80::1"},
		{name: "zone does not hide a proxy", remote: peer, lines: forwarded("1.2.3.4, fd00::2%eth0"), want: "1.2.3.4"},
		{name: "mapped peer", remote: "[::ffff:10.0.0.1]:80", lines: forwarded("1.2.3.4"), want: "1.2.3.4"},
		{name: "mapped entry", remote: peer, lines: forwarded("1.2.3.4, ::ffff:10.0.0.2"), want: "1.2.3.4"},
		{name: "mapped prefix", remote: "192.0.2.1:1", trusted: []string{"::ffff:192.0.2.0/120"}, lines: forwarded("1.2.3.4"), want: "1.2.3.4"},
		{name: "single address trusted", remote: "192.0.2.1:1", trusted: []string{"192.0.2.1"}, lines: forwarded("1.2.3.4, 192.0.2.2"), want: "192.0.2.2"},
		{name: "no peer", remote: "", lines: forwarded(attack), want: ""},
		{name: "rubbish peer", remote: "pipe", lines: forwarded(attack), want: ""},

		{name: "another header", remote: peer, header: "x-real-ip", lines: forwarded("1.2.3.4"), want: "1.2.3.4"},
		{name: "RFC 7239", remote: peer, header: "Forwarded", lines: forwarded(`for=6.6.6.6, For="[2001:db8::1]:80";proto=https;by=10.0.0.1`), want: "2001:db8::1"},
		{name: "RFC 7239, proxies", remote: peer, header: "forwarded", lines: forwarded(`for=6.6.6.6`, `for=1.2.3.4`, `for=10.0.0.3, for="10.0.0.2:80"`), want: "1.2.3.4"},
		{name: "RFC 7239, hidden", remote: peer, header: "Forwarded", lines: forwarded(`for=6.6.6.6, for=_hidden, for=10.0.0.2`), want: "10.0.0.2"},
		{name: "RFC 7239, no for", remote: peer, header: "Forwarded", lines: forwarded(`for=6.6.6.6, by=10.0.0.1`), want: "10.0.0.1"},
		{name: "RFC 7239, two for", remote: peer, header: "Forwarded", lines: forwarded(`for=6.6.6.6;for=1.2.3.4`), want: "10.0.0.1"},
		{name: "RFC 7239, odd quote", remote: peer, header: "Forwarded", lines: forwarded(`for=6.6.6.6;x=", for=1.2.3.4;proto="https"`), want: "1.2.3.4"},
		{name: "RFC 7239, for in a quoted host", remote: peer, header: "Forwarded", lines: forwarded(`for=1.2.3.4;host="x;for=6.6.6.6, for=6.6.6.6"`), want: "1.2.3.4"},
		{name: "RFC 7239, escaped quotes", remote: peer, header: "Forwarded", lines: forwarded(`for=1.2.3.4;host="a\", for=6.6.6.6;\\"`), want: "1.2.3.4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.trusted == nil {
				tt.trusted = []string{"10.0.0.0/8", "fd00::/8"}
			}
			header := http.CanonicalHeaderKey(tt.header)
			if header == "" {
				header = DefaultForwardedHeader
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tt.remote
			r.Header[header] = tt.lines
			for _, other := range []string{"Forwarded", "X-Real-Ip", "X-Forwarded-For", "X-Client-Ip"} {
				if other != header {
					r.Header.Set(other, "for="+attack) // what isn't configured is never read
				}
			}
			got, _ := serve(t, Config{TrustedProxies: prefixes(t, tt.trusted...), ForwardedHeader: tt.header}, r)
			require.Equal(t, tt.want, got.Request.IP)
		})
	}
}

func TestUnixSocket(t *testing.T) {
	for _, remote := range []string{"", "@", "/run/app.sock"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", "1.2.3.4")
		got, _ := serve(t, Config{}, r)
		require.Empty(t, got.Request.IP)
		got, _ = serve(t, Config{TrustUnixSocket: true}, r)
		require.Equal(t, "1.2.3.4", got.Request.IP)
		r.Header.Set("X-Forwarded-For", "hello")
		got, _ = serve(t, Config{TrustUnixSocket: true}, r)
		require.Empty(t, got.Request.IP)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "9.9.9.9:1"
	r.Header.Set("X-Forwarded-For", "1.2.3.4")
	got, _ := serve(t, Config{TrustUnixSocket: true}, r)
	require.Equal(t, "9.9.9.9", got.Request.IP)
}

// A walk of its own, from the words of the rule, must agree with the fast one; and whatever a client puts
// before what the proxies wrote changes nothing.
func FuzzForwardedFor(f *testing.F) {
	f.Add("6.6.6.6", "1.2.3.4, 10.0.0.2")
	f.Add("", "")
	f.Add("6.6.6.6,", "hello, 10.0.0.2")
	f.Add(`for="`, "::ffff:10.0.0.2,[::1]:80,fe80::1%eth0")
	f.Add("6.6.6.6\x00", "10.0.0.3,10.0.0.2:1")
	c := Config{TrustedProxies: prefixes(f, "10.0.0.0/8"), ForwardedHeader: DefaultForwardedHeader}
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, forged, written string) {
		want := peer
		entries := strings.Split(written, ",")
		for i := len(entries) - 1; i >= 0; i-- {
			addr, ok := parseAddr(entries[i])
			if !ok {
				break
			}
			want = addr
			if !c.trusts(addr) {
				break
			}
		}
		require.Equal(t, want, c.clientAddr(peer, []string{written}))
		require.Equal(t, want, c.clientAddr(peer, strings.Split(written, ",")), "several lines are one list")
		require.Empty(t, want.Zone())
		require.False(t, want.Is4In6())
		if want != peer && !c.trusts(want) {
			require.Equal(t, want, c.clientAddr(peer, []string{forged + "," + written}))
			require.Equal(t, want, c.clientAddr(peer, []string{forged, written}))
		}
	})
}

// What a client puts before the element that a proxy wrote does not change who that proxy saw.
func FuzzForwarded(f *testing.F) {
	f.Add(`for=6.6.6.6`)
	f.Add(`for="`)
	f.Add(`for="\`)
	f.Add(`\",;;"`)
	c := Config{TrustedProxies: prefixes(f, "10.0.0.0/8"), ForwardedHeader: "Forwarded"}
	peer, client := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	f.Fuzz(func(t *testing.T, forged string) {
		for _, written := range []string{
			`for="[2001:db8::1]:80"`, `proto=https;for="[2001:db8::1]";host="a,b;c\"d\\"`,
			`for="[2001:db8::1]", for=10.0.0.2;by="x"`,
		} {
			require.Equal(t, client, c.clientAddr(peer, []string{forged + "," + written}))
			require.Equal(t, client, c.clientAddr(peer, []string{forged, written}))
		}
		_ = c.clientAddr(peer, []string{forged})
	})
}
