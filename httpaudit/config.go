package httpaudit

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	"github.com/firetrail/firetrail"
)

// Headers that are read by default.
const (
	DefaultForwardedHeader = "X-Forwarded-For"
	DefaultRequestIDHeader = "X-Request-Id"
)

// Config of the middleware. The zero value trusts nobody: the address is that of the connection, and every
// request gets an id of its own.
type Config struct {
	// TrustedProxies are the networks of the proxies in front of this service: their word is taken for the
	// client's address and the request's id. Default none. A prefix of length 0 is refused, since with
	// it every client could write what it likes; [ParsePrefixes] reads a list of texts.
	TrustedProxies []netip.Prefix
	// TrustUnixSocket trusts the peers of a Unix socket, which have no address, as if they were in
	// TrustedProxies. Default false.
	TrustUnixSocket bool
	// ForwardedHeader is the header in which the trusted proxies pass on the client's address: a list
	// of addresses to which each proxy adds at the end, a single address, or "Forwarded" (RFC 7239).
	// Exactly one is read, because a proxy that maintains one passes on what a client put in the others.
	// Default [DefaultForwardedHeader].
	ForwardedHeader string
	// RequestIDHeader holds the request's id, in requests from trusted proxies and in every response.
	// Default [DefaultRequestIDHeader].
	RequestIDHeader string
	// Tenant names the tenant of a request, where that can be told before the request is authenticated
	// (from the host name, say). Default: [WithTenant] says it later, or nobody.
	Tenant func(*http.Request) string
	// Actor names who acts, where a middleware further out has authenticated the request. Default:
	// [WithActor] says it later, or nobody.
	Actor func(*http.Request) firetrail.Actor
}

// ParsePrefixes reads networks ("10.0.0.0/8") and single addresses ("10.1.2.3", "::1") for
// [Config].TrustedProxies. It reports every text that is neither.
func ParsePrefixes(texts ...string) ([]netip.Prefix, error) {
	var errs []error
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var addr netip.Addr
			addr, err = netip.ParseAddr(text)
			addr = addr.WithZone("").Unmap()
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("trusted proxies: %q is neither a network such as 10.0.0.0/8 nor an address", text))
			continue
		}
		out = append(out, p)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// normalize fills in the defaults and reports every problem at once, by field name.
func (c Config) normalize() (Config, error) {
	var errs []error
	proxies := make([]netip.Prefix, 0, len(c.TrustedProxies))
	for i, p := range c.TrustedProxies {
		q, err := normalizePrefix(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("TrustedProxies[%d]: %w", i, err))
			continue
		}
		proxies = append(proxies, q)
	}
	c.TrustedProxies = proxies
	var err error
	if c.ForwardedHeader, err = headerName(c.ForwardedHeader, DefaultForwardedHeader); err != nil {
		errs = append(errs, fmt.Errorf("ForwardedHeader: %w", err))
	}
	if c.RequestIDHeader, err = headerName(c.RequestIDHeader, DefaultRequestIDHeader); err != nil {
		errs = append(errs, fmt.Errorf("RequestIDHeader: %w", err))
	}
	return c, errors.Join(errs...)
}

func normalizePrefix(p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return p, errors.New("not a valid prefix")
	}
	// Addresses are compared unmapped, so a mapped prefix would match none.
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p.Bits() == 0 {
		return p, fmt.Errorf("%s trusts every client, and so any address that one cares to send; name the proxies' networks", p)
	}
	return p.Masked(), nil
}

func headerName(name, byDefault string) (string, error) {
	if name == "" {
		return byDefault, nil
	}
	for _, r := range name {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) {
			return name, fmt.Errorf("%q is not the name of a header", name)
		}
	}
	return textproto.CanonicalMIMEHeaderKey(name), nil
}
