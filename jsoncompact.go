package firetrail

import (
	"encoding/binary"
	"math/bits"
)

// isCompact reports whether b is one JSON value as compactValue knows it.
func isCompact(b []byte) bool { return len(b) > 0 && compactValue(b, 0) == len(b) }

// compactValue returns where the JSON value at b[i] ends, which must be one without white space outside its strings; -1
// where there is none. It is what nearly every value is, and found out in one loop: some times faster than with a scanner, which
// reads the others, and tells what is wrong with them. -1 may also mean that the value nests deeper than 64. b must be valid
// UTF-8.
func compactValue(b []byte, i int) int {
	var objects uint64 // for each level, the outermost last, whether it is an object
	depth := 0
	for i < len(b) {
		switch c := b[i]; c {
		case '{', '[':
			if i++; depth == 64 || i == len(b) {
				return -1
			}
			depth++
			objects <<= 1
			if b[i] != c+2 { // its closing bracket
				if c == '{' {
					objects |= 1
					if i = compactName(b, i); i < 0 {
						return -1
					}
				}
				continue
			}
			objects |= uint64(c>>5) & 1 // as below: '{' has the bit, '[' hasn't
		case '"':
			if i = compactText(b, i); i < 0 {
				return -1
			}
		default:
			if i = compactScalar(b, i); i < 0 {
				return -1
			}
		}
		// Behind a value, or before the closing bracket of an empty one.
		for depth > 0 && i < len(b) && b[i] == closing(objects) {
			i++
			depth--
			objects >>= 1
		}
		if depth == 0 {
			return i
		}
		if i == len(b) || b[i] != ',' {
			return -1
		}
		if i++; objects&1 == 1 {
			if i = compactName(b, i); i < 0 {
				return -1
			}
		}
	}
	return -1
}

// closing is the closing bracket of the innermost level.
func closing(objects uint64) byte { return ']' + byte(objects&1)*('}'-']') }

// compactName returns where the value behind the member's name at b[i] begins, -1 where there is none.
func compactName(b []byte, i int) int {
	if i == len(b) || b[i] != '"' {
		return -1
	}
	if i = compactText(b, i); i < 0 || i == len(b) || b[i] != ':' {
		return -1
	}
	return i + 1
}

// compactText returns where the string at b[i] ends, -1 where it doesn't.
func compactText(b []byte, i int) int {
	for i++; i+8 <= len(b); i += 8 {
		if m := specialMask(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			if i += bits.TrailingZeros64(m) >> 3; b[i] == '"' {
				return i + 1 // nearly always
			}
			break
		}
	}
	for {
		i = indexSpecial(b, i)
		switch {
		case i == len(b):
			return -1
		case b[i] == '"':
			return i + 1
		case b[i] != '\\':
			return -1
		}
		n := escapeLen(b[i:])
		if n == 0 {
			return -1
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
