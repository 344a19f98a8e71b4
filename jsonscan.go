package firetrail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep the objects and arrays of one JSON value may nest on the wire. A limit there must
// be, or one record could exhaust the stack of whoever parses it next; 256 is far above real audit data
// and below the limits of the databases behind.
const MaxDepth = 256

// scanner reads JSON text (RFC 8259) strictly and without recursion. b must be valid UTF-8, which
// its callers check once for the whole text.
type scanner struct {
	b []byte
	i int // the next byte to read
}

func (s *scanner) fail(what string) error {
	if s.i >= len(s.b) {
		return fmt.Errorf("invalid JSON: ends too early, %s", what)
	}
	return fmt.Errorf("invalid JSON at byte %d: %s", s.i, what)
}

// peek skips white space and returns the next byte, 0 at the end (NUL is nowhere valid between tokens).
func (s *scanner) peek() byte {
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		return s.b[s.i] // nearly always, and small enough to be inlined
	}
	return s.peekSpace()
}

func (s *scanner) peekSpace() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// end reports an error unless only white space is left.
func (s *scanner) end() error {
	if s.peek(); s.i < len(s.b) {
		return s.fail("want nothing after the value")
	}
	return nil
}

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
	q, e := x^(lowBits*'"'), x^(lowBits*'\\')
	return ((x-lowBits*0x20)&^x | (q-lowBits)&^q | (e-lowBits)&^e) & highBits
}

// text is a JSON string inside a scanner's bytes, without its quotes.
type text struct {
	lo, hi  int
	escaped bool
}

// readText reads the string whose opening quote is the next byte.
func (s *scanner) readText() (t text, err error) {
	t.lo = s.i + 1
	for i := t.lo; ; {
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

// open reads the '{' that must come next.
func (s *scanner) open() error {
	if s.peek() != '{' {
		return s.fail("want an object")
	}
	s.i++
	return nil
}

// member reads up to the next member's value in the object that open has entered, and returns the
// member's name; more is false at the object's end. first tells the first call from the later ones.
func (s *scanner) member(first *bool) (name text, more bool, err error) {
	c := s.peek()
	switch {
	case c == '}':
		s.i++
		return text{}, false, nil
	case *first:
		*first = false
	case c == ',':
		s.i++
		c = s.peek()
	default:
		return text{}, false, s.fail("want ',' or '}'")
	}
	if c != '"' {
		return text{}, false, s.fail("want a member's name")
	}
	name, err = s.readName()
	return name, true, err
}

// readName reads a member's name and the colon, and goes on to the value.
func (s *scanner) readName() (name text, err error) {
	if name, err = s.readText(); err != nil {
		return name, err
	}
	if s.peek() != ':' {
		return name, s.fail("want ':'")
	}
	s.i++
	s.peek()
	return name, nil
}

// skip reads the value that comes next. spaced says whether there is white space inside it.
func (s *scanner) skip() (lo, hi int, spaced bool, err error) {
	s.peek()
	lo = s.i
	var objects [MaxDepth / 64]uint64 // for each level, whether it is an object
	depth := 0
	for {
		opened, err := s.token(depth, &objects)
		if err != nil {
			return lo, s.i, false, err
		}
		if opened {
			depth++
		} else if depth == 0 {
			return lo, s.i, spaced, nil
		}
		if depth, spaced, err = s.between(depth, opened, spaced, &objects); err != nil {
			return lo, s.i, false, err
		} else if depth == 0 {
			return lo, s.i, spaced, nil
		}
	}
}

// token reads a scalar whole, or the opening bracket of the value of the given depth.
func (s *scanner) token(depth int, objects *[MaxDepth / 64]uint64) (opened bool, err error) {
	if s.i >= len(s.b) {
		return false, s.fail("want a value")
	}
	switch c := s.b[s.i]; c {
	case '{', '[':
		if depth == MaxDepth {
			return false, fmt.Errorf("nested deeper than %d at byte %d", MaxDepth, s.i)
		}
		bit := uint64(1) << (depth % 64)
		objects[depth/64] &^= bit
		if c == '{' {
			objects[depth/64] |= bit
		}
		s.i++
		return true, nil
	case '"':
		_, err := s.readText()
		return false, err
	case 't':
		return false, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return false, s.literal("null")
	default:
		return false, s.number()
	}
}

// between reads what stands between two scalars of a value: closing brackets, a comma, a member's name,
// white space. It stops before the next value, or with depth 0 after the last bracket.
func (s *scanner) between(depth int, opened, spaced bool, objects *[MaxDepth / 64]uint64) (int, bool, error) {
	for {
		at := s.i
		c := s.peek()
		spaced = spaced || s.i != at
		object := objects[(depth-1)/64]>>((depth-1)%64)&1 == 1
		switch {
		case object && c == '}', !object && c == ']':
			s.i++
			if depth--; depth == 0 {
				return 0, spaced, nil
			}
			opened = false
			continue
		case opened:
		case c == ',':
			s.i++
			at = s.i
			c = s.peek()
			spaced = spaced || s.i != at
		default:
			return depth, spaced, s.fail("want ',' or a closing bracket")
		}
		if !object {
			return depth, spaced, nil
		}
		if c != '"' {
			return depth, spaced, s.fail("want a member's name")
		}
		name, err := s.readName()
		// The name, its quote and the colon, and nothing else, is what a compact one takes.
		return depth, spaced || s.i != name.hi+2, err
	}
}

func (s *scanner) literal(want string) error {
	if end := s.i + len(want); end <= len(s.b) && string(s.b[s.i:end]) == want {
		s.i = end
		return nil
	}
	return s.fail("want a value")
}

func (s *scanner) number() error {
	if s.byteIs('-') {
		s.i++
	}
	switch {
	case s.byteIs('0'):
		s.i++
	case !s.digits():
		return s.fail("want a value")
	}
	if s.byteIs('.') {
		if s.i++; !s.digits() {
			return s.fail("want a digit")
		}
	}
	if s.byteIs('e') || s.byteIs('E') {
		s.i++
		if s.byteIs('+') || s.byteIs('-') {
			s.i++
		}
		if !s.digits() {
			return s.fail("want a digit")
		}
	}
	return nil
}

func (s *scanner) byteIs(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

// digits reads digits and reports whether there was one.
func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

var errNotUTF8 = errors.New("invalid UTF-8")

// appendCompact appends src, which must be one JSON value, to dst without its white space. When it is not
// valid, dst is returned as it was.
func appendCompact(dst, src []byte) ([]byte, error) {
	if !utf8.Valid(src) {
		return dst, errNotUTF8
	}
	s := scanner{b: src}
	lo, hi, spaced, err := s.skip()
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return dst, err
	}
	return appendSpan(dst, src[lo:hi], spaced), nil
}

// appendSpan appends the value v, known to be valid, without its white space if it has any.
func appendSpan(dst, v []byte, spaced bool) []byte {
	if !spaced {
		return append(dst, v...)
	}
	s := scanner{b: v}
	for s.i < len(v) {
		c := s.peek()
		from := s.i
		switch {
		case s.i == len(v):
			return dst
		case c == '"':
			_, _ = s.readText() // valid already
		default:
			s.i++
		}
		dst = append(dst, v[from:s.i]...)
	}
	return dst
}
