package httpaudit

import (
	"net/netip"
	"strings"
)

// trusts says whether the address is a trusted proxy's. addr comes from parseAddr: unmapped, without zone.
func (c *Config) trusts(addr netip.Addr) bool {
	for _, p := range c.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// clientAddr walks the forwarding header from its end, over the addresses of trusted proxies, to the first
// that isn't one. peer is a trusted proxy's own address. An entry that is no address ends the walk, and the
// last good one counts: to guess beyond it would be to believe somebody unknown.
func (c *Config) clientAddr(peer netip.Addr, lines []string) netip.Addr {
	client := peer
	for i := len(lines) - 1; i >= 0; i-- { // several lines are one list, in their order
		for line, more := lines[i], true; more; {
			var entry string
			if c.ForwardedHeader == "Forwarded" {
				line, entry, more = cutLast(line, lastUnquoted(line, ','))
				entry = forNode(entry)
			} else {
				line, entry, more = cutLast(line, strings.LastIndexByte(line, ','))
			}
			addr, ok := parseAddr(entry)
			if !ok {
				return client
			}
			client = addr
			if !c.trusts(addr) {
				return client
			}
		}
	}
	return client
}

// cutLast cuts a list at i, its last separator; more says whether there was one.
func cutLast(list string, i int) (rest, last string, more bool) {
	if i < 0 {
		return "", list, false
	}
	return list[:i], list[i+1:], true
}

// lastUnquoted is the place of the last sep that is not within quotes; -1 when there is none. Quotes are
// counted from the right: an odd one that a client put into its part of a list can't swallow what the proxies
// added after it, as it would if they were counted from the left.
func lastUnquoted(s string, sep byte) int {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch s[i] {
		case '"':
			before := strings.TrimRight(s[:i], `\`)
			if escaped := (i-len(before))%2 == 1; !escaped {
				quoted = !quoted
			}
		case sep:
			if !quoted {
				return i
			}
		}
	}
	return -1
}

// forNode returns the node of an element's for parameter, without its quotes; "" when it has none or two.
func forNode(element string) string {
	node, found := "", false
	for more := true; more; {
		var pair string
		element, pair, more = cutLast(element, lastUnquoted(element, ';'))
		name, value, ok := strings.Cut(pair, "=")
		if !ok || !strings.EqualFold(trim(name), "for") {
			continue
		}
		if found {
			return ""
		}
		node, found = trim(value), true
	}
	if n := len(node); n >= 2 && node[0] == '"' && node[n-1] == '"' {
		node = node[1 : n-1]
	}
	return node
}

// trim takes the spaces off that RFC 9110 allows around the elements of a list.
func trim(s string) string { return strings.Trim(s, " \t") }

// parseAddr reads an address as proxies and net/http write it, with or without a port: 192.0.2.1,
// 192.0.2.1:80, 2001:db8::1, [2001:db8::1], [2001:db8::1]:80. A zone is dropped, since it means something on
// one host only and is free text; an IPv4 address mapped into IPv6 becomes the IPv4 address.
func parseAddr(s string) (netip.Addr, bool) {
	s = trim(s)
	if len(s) > 128 { // the longest address is 45 bytes; the rest is for zone and port
		return netip.Addr{}, false
	}
	if strings.HasPrefix(s, "[") {
		inside, after, ok := strings.Cut(s[1:], "]")
		if !ok || !strings.Contains(inside, ":") || after != "" && !isPort(after) {
			return netip.Addr{}, false
		}
		s = inside
	} else if host, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(port, ":") {
		if !isPort(s[len(host):]) {
			return netip.Addr{}, false
		}
		s = host
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.IsUnspecified() {
		return netip.Addr{}, false
	}
	return addr.WithZone("").Unmap(), true
}

// isPort says whether s is a colon and a port number.
func isPort(s string) bool {
	if len(s) < 2 || len(s) > 6 || s[0] != ':' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// isUnixSocket says whether this is how net/http writes the peer of a Unix socket: "@" or a path.
func isUnixSocket(remote string) bool {
	return remote == "" || remote[0] == '@' || remote[0] == '/'
}
