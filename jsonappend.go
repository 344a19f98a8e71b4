package firetrail

import (
	"time"
	"unicode/utf8"
)

// appendString appends s as a JSON string. What JSON doesn't demand isn't escaped; each byte of invalid
// UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[from:i]...), "\uFFFD"...)
		} else {
			dst = appendEscape(append(dst, s[from:i]...), c)
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// plain holds the ASCII bytes that a JSON string may simply hold.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// appendTime appends t in RFC 3339 with microseconds, in UTC. The year must be in 0 to 9999.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = appendDigits(dst, uint64(year), 4)
	dst = appendDigits(append(dst, '-'), uint64(month), 2)
	dst = appendDigits(append(dst, '-'), uint64(day), 2)
	dst = appendDigits(append(dst, 'T'), uint64(hour), 2)
	dst = appendDigits(append(dst, ':'), uint64(minute), 2)
	dst = appendDigits(append(dst, ':'), uint64(second), 2)
	dst = appendDigits(append(dst, '.'), uint64(t.Nanosecond())/1000, 6)
	return append(dst, 'Z')
}

// appendDigits appends the last width digits of v, with zeros in front.
func appendDigits(dst []byte, v uint64, width int) []byte {
	const zeros = "00000000000000000000"
	dst = append(dst, zeros[:width]...)
	for i := len(dst) - 1; v > 0 && width > 0; i, width = i-1, width-1 {
		dst[i] = byte('0' + v%10)
		v /= 10
	}
	return dst
}

// parseTime reads RFC 3339, and cuts what is below the microsecond. The form that appendTime writes has
// a path of its own, several times faster.
func parseTime(s string) (time.Time, error) {
	if t, ok := parseOwnTime(s); ok {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, err
	}
	return t.Truncate(time.Microsecond).UTC(), nil
}

func parseOwnTime(s string) (time.Time, bool) {
	const form = "0000-00-00T00:00:00.000000Z"
	if len(s) != len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		if form[i] != '0' && s[i] != form[i] || form[i] == '0' && (s[i] < '0' || s[i] > '9') {
			return time.Time{}, false
		}
	}
	num := func(from, to int) (n int) {
		for _, c := range []byte(s[from:to]) {
			n = n*10 + int(c-'0')
		}
		return n
	}
	t := time.Date(num(0, 4), time.Month(num(5, 7)), num(8, 10),
		num(11, 13), num(14, 16), num(17, 19), num(20, 26)*1000, time.UTC)
	// time.Date makes 1 March of 30 February; RFC 3339 has no such day.
	return t, t.Month() == time.Month(num(5, 7)) && t.Day() == num(8, 10) &&
		num(11, 13) < 24 && num(14, 16) < 60 && num(17, 19) < 60
}
