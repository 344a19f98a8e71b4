package httpaudit

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest texts that are taken from a request, in bytes. A request id over its limit is replaced, a
// user agent is cut.
const (
	maxRequestID = 128
	maxUserAgent = 512
)

// validRequestID says whether the id is one that may be passed on: 1 to 128 letters, digits and -._~:/+=@,
// among which are UUIDs, ULIDs, base64 and the ids of the well-known proxies.
func validRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			continue
		}
		if strings.IndexByte("-._~:/+=@", c) < 0 {
			return false
		}
	}
	return true
}

// traceparent returns the header as it is when it is valid by W3C Trace Context, and "" otherwise:
//
//	version "-" trace-id "-" parent-id "-" flags
//	  2           32           16           2      lower-case hexadecimal digits
//
// Version ff is invalid, and so is an id of zeros. Version 00 is exactly that; a later one may go on after
// another "-", and of that only the part known here is kept.
func traceparent(s string) string {
	const length = 55
	s = trim(s)
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:length]
	if !isHex(version) || !isHex(trace) || !isHex(parent) || !isHex(flags) ||
		version == "ff" || strings.Trim(trace, "0") == "" || strings.Trim(parent, "0") == "" {
		return ""
	}
	if len(s) > length && (version == "00" || s[length] != '-') {
		return ""
	}
	return s[:length]
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// userAgent makes the header fit to be stored and shown: at most 512 bytes of UTF-8, with a space for each
// character that is not printable, such as those that turn the direction of the text or end its line.
func userAgent(s string) string {
	if isPlain(s) && len(s) <= maxUserAgent {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != utf8.RuneError {
			return ' '
		}
		return r // an invalid byte arrives, and stays, as the replacement character
	}, cut(s, 4*maxUserAgent)) // what becomes a space is at most 4 bytes long
	return cut(s, maxUserAgent)
}

// cut returns at most n bytes of s, and no part of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
