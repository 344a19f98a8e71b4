package firetrail

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// isCompact reports whether b is one JSON value as compactValue knows it, and valid UTF-8.
func isCompact(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	end, seen := compactValue(b, 0)
	return end == len(b) && (isASCII(seen) || utf8.Valid(b))
}

// isASCII reports whether bytes that were or-ed, eight by eight, are ASCII.
func isASCII(seen uint64) bool { return seen&highBits == 0 }

// compactValue returns where the JSON value at b[i] ends, which must be one without white space outside its strings; -1
// where there is none. It is what nearly every value is, and found out in one loop: some times faster than with a scanner, which
// reads the others, and tells what is wrong with them. -1 may also mean that the value nests deeper than 64. Strings may
// be no UTF-8: see compactText for seen.
func compactValue(b []byte, i int) (end int, seen uint64) {
	var objects uint64 // for each level, the outermost last, whether it is an object
	var x uint64
	depth := 0
	for i < len(b) {
		switch c := b[i]; c {
		case '{', '[':
			if i++; depth == 64 || i == len(b) {
				return -1, seen
			}
			depth++
			objects <<= 1
			if b[i] != c+2 { // its closing bracket
				if c == '{' {
					objects |= 1
					i, x = compactName(b, i)
					if seen |= x; i < 0 {
						return -1, seen
					}
				}
				continue
			}
			objects |= uint64(c>>5) & 1 // as below: '{' has the bit, '[' hasn't
		case '"':
			i, x, _ = compactText(b, i+1)
			if seen |= x; i < 0 {
				return -1, seen
			}
		default:
			if i = compactScalar(b, i); i < 0 {
				return -1, seen
			}
		}
		// Behind a value, or before the closing bracket of an empty one.
		for depth > 0 && i < len(b) && b[i] == closing(objects) {
			i++
			depth--
			objects >>= 1
		}
		if depth == 0 {
			return i, seen
		}
		if i == len(b) || b[i] != ',' {
			return -1, seen
		}
		if i++; objects&1 == 1 {
			i, x = compactName(b, i)
			if seen |= x; i < 0 {
				return -1, seen
			}
		}
	}
	return -1, seen
}

// closing is the closing bracket of the innermost level.
func closing(objects uint64) byte { return ']' + byte(objects&1)*('}'-']') }

// compactName returns where the value behind the member's name at b[i] begins, -1 where there is none.
func compactName(b []byte, i int) (value int, seen uint64) {
	if i == len(b) || b[i] != '"' {
		return -1, 0
	}
	if i, seen, _ = compactText(b, i+1); i < 0 || i == len(b) || b[i] != ':' {
		return -1, seen
	}
	return i + 1, seen
}

// compactText returns the end of the string whose text begins at b[i], behind its closing quote, or -1 where it has none, and
// whether there are escapes in it. seen is the string's bytes or-ed, eight by eight, so that it needn't be read again to know
// that it is ASCII, and maybe some bytes behind it.
func compactText(b []byte, i int) (end int, seen uint64, escaped bool) {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		seen |= x
		if m := specialMask(x); m != 0 {
			if i += bits.TrailingZeros64(m) >> 3; b[i] == '"' {
				return i + 1, seen, false // nearly always
			}
			break
		}
	}
	return compactRest(b, i, seen)
}

// compactRest is compactText from byte i of the string on.
func compactRest(b []byte, i int, seen uint64) (int, uint64, bool) {
	for escaped := false; ; escaped = true {
		from := i
		i = indexSpecial(b, i)
		for _, c := range b[from:i] {
			seen |= uint64(c)
		}
		switch {
		case i == len(b):
			return -1, seen, escaped
		case b[i] == '"':
			return i + 1, seen, escaped
		case b[i] != '\\':
			return -1, seen, escaped
		}
		n := escapeLen(b[i:])
		if n == 0 {
			return -1, seen, escaped
		}
		i += n
	}
}

// compactScalar returns where the number or literal at b[i] ends, -1 where there is none.
func compactScalar(b []byte, i int) int {
	if c := b[i] - '1'; c < 9 { // a whole number, nearly always
		j := i + 1
		for j < len(b) && b[j]-'0' < 10 {
			j++
		}
		if j == len(b) || b[j] != '.' && b[j]|0x20 != 'e' {
			return j
		}
	}
	s := scanner{b: b, i: i}
	var objects [MaxDepth / 64]uint64
	if opened, err := s.token(0, &objects); opened || err != nil {
		return -1
	}
	return s.i
}
