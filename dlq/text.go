package dlq

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bytes stand in a line as a JSON string where they are text, since a person reads these files, and as
// {"base64":"…"} where they are not. Both are exact: a JSON string of valid UTF-8 has one meaning only.
// Null is nil, "" is empty.

// appendText appends s in the form above.
func appendText[T string | []byte](b []byte, s T) []byte {
	if !isText(s) {
		b = append(b, `{"base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s))
		return append(b, `"}`...)
	}
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && !isC1(s, i) {
			continue
		}
		b = append(b, s[from:i]...)
		b, i = appendEscape(b, s, i)
		from = i + 1
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// appendEscape escapes the character at s[i] and returns the index of its last byte.
func appendEscape[T string | []byte](b []byte, s T, i int) ([]byte, int) {
	const hex = "0123456789abcdef"
	switch c := s[i]; c {
	case '"', '\\':
		return append(b, '\\', c), i
	case '\n':
		return append(b, `\n`...), i
	case '\r':
		return append(b, `\r`...), i
	case '\t':
		return append(b, `\t`...), i
	default:
		if c == 0xc2 {
			i++
			c = s[i] // U+0080 to U+009F are 0xc2 and the code point
		}
		return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15]), i
	}
}

// isC1 reports whether one of the control characters U+0080 to U+009F begins at s[i]. They are escaped
// because terminals act on some of them.
func isC1[T string | []byte](s T, i int) bool {
	return s[i] == 0xc2 && i+1 < len(s) && s[i+1] >= 0x80 && s[i+1] < 0xa0
}

// isText reports whether s is better written as a string: it is UTF-8, and not so full of control
// characters, six bytes each, that base64 would be shorter.
func isText[T string | []byte](s T) bool {
	controls := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\n' && c != '\r' && c != '\t' || c == 0x7f || isC1(s, i) {
			controls++
		}
	}
	if controls > 4+len(s)/16 {
		return false
	}
	switch v := any(s).(type) {
	case string:
		return utf8.ValidString(v)
	case []byte:
		return utf8.Valid(v)
	}
	return false
}

// text reads what appendText wrote. Nil is null.
type text []byte

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		*t = nil
		return nil
	case len(b) > 0 && b[0] == '"':
		*t = unescape(b[1 : len(b)-1])
		return nil
	}
	var o struct {
		Base64 *string `json:"base64"`
	}
	if err := json.Unmarshal(b, &o); err != nil || o.Base64 == nil {
		return errors.New(`neither null, a string nor {"base64":"…"}`)
	}
	raw, err := base64.StdEncoding.DecodeString(*o.Base64)
	if err != nil {
		return err
	}
	*t = append(make([]byte, 0, len(raw)), raw...)
	return nil
}

// unescape undoes appendEscape. The JSON around it has been checked to be valid, and its crc to be that of
// what appendText wrote; what that doesn't write, such as \u2028, is left to the library.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(out, b...)
		}
		out = append(out, b[:i]...)
		n := 2
		switch c := b[i+1]; c {
		case '"', '\\':
			out = append(out, c)
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		default:
			n = escapeLen(b[i:])
			var s string
			_ = json.Unmarshal(append(append([]byte{'"'}, b[i:i+n]...), '"'), &s) // valid, as the whole is
			out = append(out, s...)
		}
		b = b[i+n:]
	}
	return out
}

// escapeLen is how long the escape is that b begins with, a pair of surrogates being one.
func escapeLen(b []byte) int {
	switch {
	case b[1] != 'u':
		return 2
	case len(b) >= 12 && b[6] == '\\' && b[7] == 'u':
		return 12
	default:
		return 6
	}
}

// formatTime writes a time so that it comes back to the nanosecond: RFC 3339 where that has a form for
// it, and "@seconds.nanoseconds" since 1970 for the absurd times that some letters are letters for. The
// zero time is "".
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.UTC()
	if y := t.Year(); y >= 1 && y <= 9999 {
		return t.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("@%d.%09d", t.Unix(), t.Nanosecond())
}

// parseTime reads what formatTime wrote.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	rest, ok := strings.CutPrefix(s, "@")
	if !ok {
		t, err := time.Parse(time.RFC3339Nano, s)
		return t.UTC(), err
	}
	sec, nano, _ := strings.Cut(rest, ".")
	seconds, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("time %.50q: %w", s, err)
	}
	nanos, err := strconv.ParseUint(nano, 10, 30)
	if err != nil || nanos >= 1e9 {
		return time.Time{}, fmt.Errorf("time %.50q: not @seconds.nanoseconds", s)
	}
	return time.Unix(seconds, int64(nanos)).UTC(), nil
}
