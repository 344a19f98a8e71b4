package firetrail

import (
	"errors"
	"fmt"
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
	if isCompact(src) {
		return append(dst, src...), nil
	}
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
