package httpaudit

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/firetrail/firetrail"
	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	_, err := New(Config{})
	require.NoError(t, err)
	_, err = New(Config{
		TrustedProxies: []netip.Prefix{
			{},
			netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("::ffff:0.0.0.0/96"),
			netip.MustParsePrefix("10.0.0.0/8"),
		},
		ForwardedHeader: "X Forwarded", RequestIDHeader: "X-Id:",
	})
	require.Error(t, err)
	for _, want := range []string{
		"TrustedProxies[0]: ", "TrustedProxies[1]: 0.0.0.0/0 trusts every client", "TrustedProxies[2]: ", "TrustedProxies[3]: ",
		`ForwardedHeader: "X Forwarded"`, `RequestIDHeader: "X-Id:"`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "TrustedProxies[4]")
}

func TestParsePrefixes(t *testing.T) {
	require.Equal(t, []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.2.3/32"), netip.MustParsePrefix("::1/128"),
		netip.MustParsePrefix("10.1.2.3/32"),
	}, prefixes(t, "10.0.0.0/8", "10.1.2.3", "::1", "::ffff:10.1.2.3"))
	_, err := ParsePrefixes("10.0.0.0/8", "proxy", "10.0.0.0/33")
	require.ErrorContains(t, err, `"proxy"`)
	require.ErrorContains(t, err, `"10.0.0.0/33"`)
}

func TestRequestID(t *testing.T) {
	tests := []struct {
		name string
		peer string
		ids  []string
		kept bool
	}{
		{"from a proxy", "10.0.0.1:1", []string{"f3a1-B_2.c~d:e/f+g=@"}, true},
		{"from a client", "9.9.9.9:1", []string{"f3a1"}, false},
		{"none", "10.0.0.1:1", nil, false},
		{"empty", "10.0.0.1:1", []string{""}, false},
		{"two", "10.0.0.1:1", []string{"a", "b"}, false},
		{"longest", "10.0.0.1:1", []string{strings.Repeat("a", 128)}, true},
		{"too long", "10.0.0.1:1", []string{strings.Repeat("a", 129)}, false},
		{"line end", "10.0.0.1:1", []string{"a\r\nX: y"}, false},
		{"space", "10.0.0.1:1", []string{"a b"}, false},
		{"not ASCII", "10.0.0.1:1", []string{"ä"}, false},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tt.peer
			r.Header["X-Request-Id"] = tt.ids
			got, w := serve(t, Config{TrustedProxies: prefixes(t, "10.0.0.0/8")}, r)
			require.Equal(t, got.Request.ID, w.Header().Get("X-Request-Id"))
			if tt.kept {
				require.Equal(t, tt.ids[0], got.Request.ID)
				return
			}
			require.NotContains(t, tt.ids, got.Request.ID)
			require.True(t, validRequestID(got.Request.ID))
			require.False(t, seen[got.Request.ID])
			seen[got.Request.ID] = true
		})
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.1:1"
	r.Header.Set("X-Correlation-ID", "abc")
	got, w := serve(t, Config{TrustedProxies: prefixes(t, "10.0.0.0/8"), RequestIDHeader: "x-correlation-id"}, r)
	require.Equal(t, "abc", got.Request.ID)
	require.Equal(t, "abc", w.Header().Get("X-Correlation-Id"))
}

func TestTraceparent(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	tests := map[string]string{
		good:                               good,
		" " + good + "\t":                  good,
		good + "-x":                        "",              // version 00 is exactly that long
		"01" + good[2:]:                    "01" + good[2:], // a later version
		"cc" + good[2:] + "-what-comes":    "cc" + good[2:], // may go on
		"cc" + good[2:] + "what":           "",
		"ff" + good[2:]:                    "",
		strings.ToUpper(good):              "",
		strings.Replace(good, "-", "_", 1): "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": "",
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01": "",
		good[:54]: "",
		"":        "",
	}
	for in, want := range tests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Traceparent", in)
		got, _ := serve(t, Config{}, r)
		require.Equal(t, want, got.Request.Traceparent, in)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Traceparent"] = []string{good, good}
	got, _ := serve(t, Config{}, r)
	require.Empty(t, got.Request.Traceparent, "two are none")
}

func FuzzTraceparent(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x")
	f.Fuzz(func(t *testing.T, s string) {
		if got := traceparent(s); got != "" {
			require.Len(t, got, 55)
			require.Regexp(t, `^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`, got)
			require.Equal(t, got, traceparent(got))
		}
	})
}

func TestUserAgent(t *testing.T) {
	tests := map[string]string{
		"":                            "",
		"curl/8.5.0":                  "curl/8.5.0",
		"bröwser 🦊":                   "bröwser 🦊",
		"a\tb\r\nc\x00d\x7fe":         "a b  c d e",
		"right\u202eleft\u2028\u0085": "right left  ",
		"bad\xffbyte":                 "bad\ufffdbyte",
		strings.Repeat("a", 512):      strings.Repeat("a", 512),
		strings.Repeat("a", 513):      strings.Repeat("a", 512),
		strings.Repeat("€", 171):      strings.Repeat("€", 170),
		strings.Repeat("\x00", 9000):  strings.Repeat(" ", 512),
	}
	for in, want := range tests {
		require.Equal(t, want, userAgent(in), "%q", in)
	}
}

func FuzzUserAgent(f *testing.F) {
	f.Add("Mozilla/5.0 (X11)")
	f.Add("a\x00\u202e\xff€")
	f.Add(strings.Repeat("€\xff", 300))
	f.Fuzz(func(t *testing.T, s string) {
		got := userAgent(s)
		require.LessOrEqual(t, len(got), 512)
		require.True(t, utf8.ValidString(got))
		require.Equal(t, got, userAgent(got), "nothing is left to clean")
	})
}

func TestTenantAndActor(t *testing.T) {
	who := firetrail.Actor{Type: "user", ID: "7", Name: "Ada"}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "acme.example"
	got, _ := serve(t, Config{
		Tenant: func(r *http.Request) string { return strings.TrimSuffix(r.Host, ".example") },
		Actor:  func(*http.Request) firetrail.Actor { return who },
	}, r)
	require.Equal(t, "acme", got.Tenant)
	require.Equal(t, who, got.Actor)

	// Later on: the authentication adds who it is, and the rest stays.
	audit, err := New(Config{})
	require.NoError(t, err)
	audit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		before, _ := firetrail.FromContext(r.Context())
		r = WithTenant(WithActor(r, who), "globex")
		after, _ := firetrail.FromContext(r.Context())
		require.Equal(t, firetrail.Context{Tenant: "globex", Actor: who, Request: before.Request}, after)
	})).ServeHTTP(httptest.NewRecorder(), r)

	after, ok := firetrail.FromContext(WithActor(r, who).Context())
	require.True(t, ok, "without the middleware too")
	require.Equal(t, who, after.Actor)
}

// The middleware twice is the middleware once, and what an outer one knew stays.
func TestNested(t *testing.T) {
	outer, err := New(Config{TrustedProxies: prefixes(t, "10.0.0.0/8")})
	require.NoError(t, err)
	inner, err := New(Config{})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.1:1"
	r.Header.Set("X-Forwarded-For", "1.2.3.4")
	w := httptest.NewRecorder()
	var ids []string
	outer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, _ := firetrail.FromContext(r.Context())
		ids = append(ids, ctx.Request.ID)
		inner(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx, _ := firetrail.FromContext(r.Context())
			ids = append(ids, ctx.Request.ID)
			require.Equal(t, "1.2.3.4", ctx.Request.IP)
			require.Equal(t, "globex", ctx.Tenant)
		})).ServeHTTP(w, WithTenant(r, "globex"))
	})).ServeHTTP(w, r)
	require.Equal(t, []string{ids[0], ids[0]}, ids)
	require.Equal(t, ids[0], w.Header().Get("X-Request-Id"))
}

// Over a real connection, with a client that forges all it can.
func TestServer(t *testing.T) {
	got := make(chan firetrail.Context, 1)
	audit, err := New(Config{})
	require.NoError(t, err)
	s := httptest.NewServer(audit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, _ := firetrail.FromContext(r.Context())
		got <- c
	})))
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	require.NoError(t, err)
	r.Header.Set("X-Forwarded-For", "6.6.6.6")
	r.Header.Set("X-Request-Id", "forged")
	r.Header.Set("User-Agent", "test/1")
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	c := <-got
	require.Equal(t, "127.0.0.1", c.Request.IP)
	require.NotEqual(t, "forged", c.Request.ID)
	require.Equal(t, c.Request.ID, resp.Header.Get("X-Request-Id"))
	require.Equal(t, "test/1", c.Request.UserAgent)
}

func BenchmarkMiddleware(b *testing.B) {
	header := http.Header{
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		"X-Forwarded-For": {"6.6.6.6, 1.2.3.4, 10.0.0.2"},
		"X-Request-Id":    {"0198c0de-1234-7abc-8def-0123456789ab"},
		"Traceparent":     {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, bb := range []struct {
		name, remote string
	}{{"behind proxies", "10.0.0.1:80"}, {"direct", "9.9.9.9:80"}} {
		b.Run(bb.name, func(b *testing.B) {
			audit, err := New(Config{TrustedProxies: prefixes(b, "10.0.0.0/8", "fd00::/8")})
			require.NoError(b, err)
			h := audit(next)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr, r.Header = bb.remote, header
			w := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
