package firetrail

import (
	"math/bits"
	"time"
	"unicode/utf8"
)

// appendString appends s as a JSON string. What JSON doesn't demand isn't escaped; each byte of invalid
// UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	return append(appendText(append(dst, '"'), s), '"')
}

// appendText is appendString without the quotes.
func appendText(dst []byte, s string) []byte {
	from := 0
	for i := plainLen(s); i < len(s); i += plainLen(s[i:]) {
		c := s[i]
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
	return append(dst, s[from:]...)
}

// plainLen returns how many bytes at the start of s are ASCII that a JSON string may simply hold. Eight at a
// time.
func plainLen(s string) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		b := s[i : i+8]
		x := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		if m := specialMask(x) | x&highBits; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

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

// timeLen is how many bytes appendTime appends.
const timeLen = len("2006-01-02T15:04:05.000000Z")

// appendTime appends t in RFC 3339 with microseconds, in UTC. The year must be in 0 to 9999.
func appendTime(dst []byte, t time.Time) []byte {
	const day = 24 * 60 * 60
	seconds := t.Unix()
	days := seconds / day
	if seconds -= days * day; seconds < 0 {
		seconds, days = seconds+day, days-1
	}
	y, m, d := civil(days)
	year, month, second, us := uint(y), uint(m), uint(seconds), uint(t.Nanosecond())/1000
	b := [...]byte{26: 'Z', 4: '-', 7: '-', 10: 'T', 13: ':', 16: ':', 19: '.'}
	twoDigits(b[0:], year/100)
	twoDigits(b[2:], year%100)
	twoDigits(b[5:], month)
	twoDigits(b[8:], uint(d))
	twoDigits(b[11:], second/3600)
	twoDigits(b[14:], second/60%60)
	twoDigits(b[17:], second%60)
	twoDigits(b[20:], us/10000)
	twoDigits(b[22:], us/100%100)
	twoDigits(b[24:], us%100)
	return append(dst, b[:]...)
}

func twoDigits(b []byte, n uint) { b[0], b[1] = byte('0'+n/10), byte('0'+n%10) }

// civil returns the date of a day since 1970 in the proleptic Gregorian calendar. It counts years from March on, in
// eras of 400, so that the odd day comes last (H. Hinnant, "chrono-compatible low-level date algorithms").
func civil(days int64) (year, month, day int64) {
	const era = 146_097 // days
	days += 719_468     // since 0000-03-01
	n := days / era
	if days < 0 {
		n = (days - era + 1) / era
	}
	of := days - n*era
	y := (of - of/1460 + of/36_524 - of/(era-1)) / 365
	of -= 365*y + y/4 - y/100
	m := (5*of + 2) / 153
	day = of - (153*m+2)/5 + 1
	if month = m + 3; month > 12 {
		month -= 12
		y++
	}
	return y + 400*n, month, day
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
	if len(s) != len("0000-00-00T00:00:00.000000Z") {
		return time.Time{}, false
	}
	if s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[19] != '.' || s[26] != 'Z' {
		return time.Time{}, false
	}
	digits := true
	two := func(i int) int64 {
		tens, ones := s[i]-'0', s[i+1]-'0'
		digits = digits && tens < 10 && ones < 10
		return int64(tens)*10 + int64(ones)
	}
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	us := two(20)*10000 + two(22)*100 + two(24)
	days := daysTo(year, month, day)
	// There is no 30 February, and RFC 3339 has no 24:00 and no leap second that a time.Time could hold.
	y, m, d := civil(days)
	if !digits || y != year || m != month || d != day || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return time.Unix(days*86_400+hour*3600+minute*60+second, us*1000).UTC(), true
}

// daysTo is the inverse of civil.
func daysTo(year, month, day int64) int64 {
	if month -= 3; month < 0 {
		month += 12
		year--
	}
	n := year / 400
	if year < 0 {
		n = (year - 399) / 400
	}
	y := year - n*400
	return n*146_097 + y*365 + y/4 - y/100 + (153*month+2)/5 + day - 1 - 719_468
}
