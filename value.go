package firetrail

import (
	"errors"
	"fmt"
	"sync"

	"github.com/goccy/go-json"
)

// Value is one JSON value of an event: raw bytes that are JSON already, or a Go value that is encoded
// before Fire returns. The zero Value is none, which is not the same as JSON null.
type Value struct {
	raw []byte
	v   any
}

// JSON returns v as a Value. It is encoded when the event is, by the rules of encoding/json (struct
// tags, MarshalJSON, map keys sorted), but without its HTML escapes. A value that can't be encoded (a
// channel, a cycle, more than 10,000 levels, NaN, a MarshalJSON that fails or panics) is left out, and
// the event says so. A nil v is JSON null. Where this ends: a MarshalJSON of v's own that blocks or calls
// itself for ever, and a map that is written to at the same time.
func JSON(v any) Value {
	if v == nil {
		return Value{raw: []byte("null")}
	}
	return Value{v: v}
}

// Raw returns b, which must be one JSON value, as a Value. b is copied when the event is encoded,
// so the caller may change it after Fire. It is not checked by Fire, which is what makes it the
// cheapest form; it is checked when the event is shipped, and one that is no JSON makes the event a
// dead letter that keeps its bytes. A nil or empty b is none.
func Raw(b []byte) Value {
	return Value{raw: b}
}

// IsZero reports whether there is no value.
func (v Value) IsZero() bool { return len(v.raw) == 0 && v.v == nil }

// Bytes returns the JSON of a value made by [Raw], nil for none and for one made by [JSON]. The values of
// a decoded event are all of the first kind. The result is the value's own memory: do not change it.
func (v Value) Bytes() []byte { return v.raw }

// AppendJSON appends the value to dst and returns the longer slice: the bytes of [Raw] as they are,
// unchecked, and what [JSON] was given encoded. None appends nothing. When there is an error, dst is
// returned as it was. It never panics, whatever a MarshalJSON does.
func (v Value) AppendJSON(dst []byte) ([]byte, error) {
	if v.v == nil {
		return append(dst, v.raw...), nil
	}
	return appendGo(dst, v.v)
}

// Decode stores the value in what into points to, by the rules of encoding/json's Unmarshal.
// None is an error.
func (v Value) Decode(into any) error {
	if v.IsZero() {
		return errors.New("value: there is none")
	}
	b, err := v.AppendJSON(nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// MarshalJSON implements the interface of encoding/json, for the values of decoded events: raw bytes are checked,
// none is null. A value made by [JSON] is an error; use [Value.AppendJSON]. (To encode it here would start
// counting levels anew, so that a value that holds itself by way of a Value would overflow the stack.)
func (v Value) MarshalJSON() ([]byte, error) {
	switch {
	case v.v != nil:
		return nil, errors.New("value: not encoded yet; use AppendJSON")
	case len(v.raw) == 0:
		return []byte("null"), nil
	}
	return appendCompact(make([]byte, 0, len(v.raw)), v.raw)
}

// UnmarshalJSON implements the interface of encoding/json. It keeps a copy of b; null is a value, not
// none.
func (v *Value) UnmarshalJSON(b []byte) error {
	*v = Value{raw: append([]byte(nil), b...)}
	return nil
}

// Go values go through goccy/go-json v0.12. What decided, measured with Go 1.26 on 2 cores (a struct of
// 316 B and a map of 265 B, appended to a slice; "itself" is an interface that points to itself):
//
//	                           struct         map  itself            100,000 deep  5,000,000 deep
//	goccy/go-json, as here     297 ns      717 ns  error             error         error
//	bytedance/sonic            781 ns    1,774 ns  error             error         error
//	encoding/json            1,155 ns    2,779 ns  error             200 ms        ends the program
//	go-json-experiment v2    1,278 ns    4,535 ns  ends the program  error         error
//
// (encoding/json/v2 needs an experiment in Go 1.26.) It allocates nothing as used here, has no dependency, no
// linkname and no code generator, where sonic brings seven modules and a JIT; and its output is that
// of encoding/json, as value_test.go checks. Versions before 0.12 had a data race in their cache of types.
type goEncoder struct {
	json *json.Encoder
	dst  []byte
}

// Write is called once, with the whole value and a newline.
func (g *goEncoder) Write(p []byte) (int, error) {
	g.dst = append(g.dst, p...)
	return len(p), nil
}

var goEncoders = sync.Pool{New: func() any {
	g := &goEncoder{}
	g.json = json.NewEncoder(g)
	g.json.SetEscapeHTML(false)
	return g
}}

func appendGo(dst []byte, v any) (out []byte, err error) {
	g := goEncoders.Get().(*goEncoder)
	defer func() {
		// An encoder whose value panicked is not put back: who knows what state it is in.
		if r := recover(); r != nil {
			out, err = dst, fmt.Errorf("panic while encoding %T: %v", v, r)
		}
	}()
	g.dst = dst
	err = g.json.Encode(v)
	out, g.dst = g.dst, nil
	goEncoders.Put(g)
	if err != nil {
		return dst, err
	}
	return out[:len(out)-1], nil // without the newline
}
