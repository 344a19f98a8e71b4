package firetrail

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// indexSpecial returns the index, from i on, of the first byte that a JSON string may not simply hold: '"',
// '\\' or a control character; len(b) when there is none. Eight bytes at a time.
func indexSpecial(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		if m := specialMask(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < 0x20 {
			return i
		}
	}
	return i
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// specialMask has the high bit set of the lowest byte of x that is '"', '\\' or below 0x20. Bits above that
// one may be wrong (a borrow runs into them).
func specialMask(x uint64) uint64 {
	// With bit 1 turned over, '"' is 0x20, and all that is below 0x20 stays there: both are what is below 0x21 then.
	q, e := x^(lowBits*0x02), x^(lowBits*'\\')
	return ((q - lowBits*0x21) | (e - lowBits)) &^ x & highBits
}

// text is a JSON string inside a scanner's bytes, without its quotes.
type text struct {
	lo, hi  int
	escaped bool
}

// readText reads the string whose opening quote is the next byte.
func (s *scanner) readText() (t text, err error) {
	b, i := s.b, s.i+1
	t.lo = i
	for ; i+8 <= len(b); i += 8 {
		if m := specialMask(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			if i += bits.TrailingZeros64(m) >> 3; b[i] == '"' {
				t.hi, s.i = i, i+1
				return t, nil // nearly always
			}
			break
		}
	}
	return s.readRest(t, i)
}

// readRest is readText from byte i of the string on.
func (s *scanner) readRest(t text, i int) (text, error) {
	for {
		i = indexSpecial(s.b, i)
		if i == len(s.b) {
			s.i = i
			return t, s.fail("a string is not closed")
		}
		switch s.b[i] {
		case '"':
			t.hi, s.i = i, i+1
			return t, nil
		case '\\':
			n := escapeLen(s.b[i:])
			if n == 0 {
				s.i = i
				return t, s.fail("bad escape in a string")
			}
			t.escaped = true
			i += n
		default:
			s.i = i
			return t, s.fail("control character in a string")
		}
	}
}

// escapeLen returns the length of the escape at the start of b, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape returns the text of a JSON string that readText has accepted. An escaped surrogate
// without its other half becomes U+FFFD, as in encoding/json.
func unescape(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			j := indexSpecial(b, i)
			out.Write(b[i:j])
			i = j
			continue
		}
		if b[i+1] != 'u' {
			out.WriteByte(unescaped[b[i+1]])
			i += 2
			continue
		}
		r, n := unescapeRune(b[i:])
		out.WriteRune(r)
		i += n
	}
	return out.String()
}

var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func unescapeRune(b []byte) (r rune, n int) {
	r, _ = hex4(b[2:])
	switch {
	case r < 0xd800 || r > 0xdfff:
		return r, 6
	case r < 0xdc00 && len(b) >= 12 && b[6] == '\\' && b[7] == 'u':
		if low, _ := hex4(b[8:]); 0xdc00 <= low && low <= 0xdfff {
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, 12
		}
	}
	return utf8.RuneError, 6
}
