package firetrail

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type (
	asObject struct{ A int }
	asText   struct{ s string }
	badJSON  struct{}
	failing  struct{}
	panicky  struct{}
	node     struct {
		Next *node
		Any  any
	}
	holding  struct{ V Value }
	embedded struct{ X, Y int }
)

func (asObject) MarshalJSON() ([]byte, error) { return []byte(` { "a" : 1 } `), nil }
func (t asText) MarshalText() ([]byte, error) { return []byte("t:" + t.s), nil }
func (badJSON) MarshalJSON() ([]byte, error)  { return []byte(`{bad`), nil }
func (failing) MarshalJSON() ([]byte, error)  { return nil, errors.New("no") }
func (panicky) MarshalJSON() ([]byte, error)  { panic("boom") }

type everything struct {
	embedded
	A  string `json:"a,omitempty"`
	B  int    `json:",string"`
	C  []byte
	D  map[int]string
	E  map[asText]int
	F  *int
	G  any
	H  [3]bool
	I  float32
	J  float64
	K  json.RawMessage
	L  json.Number
	M  time.Time `json:"m,omitzero"`
	N  asObject
	O  *asObject
	P  asText
	Q  encoding.TextMarshaler
	R  []*asObject
	S  string `json:"-"`
	U  time.Duration
	V  *url.URL
	W  netip.Addr
	X1 *big.Int
	Y1 string `json:",string"`
}

// What the chosen library gives is what encoding/json gives, errors too.
func TestEncodesLikeEncodingJSON(t *testing.T) {
	one := 1
	for _, v := range []any{
		everything{L: "0"},
		&everything{
			embedded: embedded{1, 2}, A: "x\u2028\u0001\xff<>&é😀\"\\", B: -1, C: []byte("abc"), D: map[int]string{3: "c", 1: "a", 20: "b"},
			E: map[asText]int{{"b"}: 1, {"a"}: 2}, F: &one, G: map[string]any{"z": 1, "a": []any{nil, 1.5, "s"}}, I: 1e21, J: 1e-7,
			K: json.RawMessage(` {"k" : 1 } `), L: "12.0e5", M: time.Unix(1, 5).UTC(), O: &asObject{}, Q: asText{"q"},
			R: []*asObject{nil, {}}, U: time.Second, V: &url.URL{Host: "x"}, W: netip.MustParseAddr("::1"), X1: big.NewInt(7), Y1: `q"`,
		},
		asObject{},
		&asObject{}, (*asObject)(nil),
		asText{"x"},
		map[asText]int{{"x"}: 1},
		[]any{asObject{}, &asObject{}},
		map[string]any{"b": 1, "a": 2, "": nil},
		map[int64]int{-1: 1, -10: 2, 5: 3},
		url.Values{"a": {"b"}},
		struct{ Only *int }{&one},
		struct{ Only map[string]int }{map[string]int{"a": 1}},
		[1]*int{&one},
		[]string(nil),
		[]string{},
		1e20, 1e21, 1e-6, 1e-7, math.MaxFloat64, float32(3.4028235e38), uint64(math.MaxUint64), math.Copysign(0, -1), "\xff\xfe",
		json.RawMessage(`{"a":[1,  2]}`), json.RawMessage(nil), json.Number(""),
		badJSON{},
		failing{},
		json.RawMessage(`{bad`), json.RawMessage(`1 2`), json.Number("bad"),
		math.NaN(), math.Inf(1), make(chan int), func() {}, complex(1, 2),
		map[bool]int{true: 1},
		struct{ F func() }{},
		time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		wantErr := enc.Encode(v)
		got, err := JSON(v).AppendJSON([]byte("kept"))
		if wantErr != nil {
			require.Error(t, err, "%T", v)
			require.Equal(t, "kept", string(got))
			continue
		}
		require.NoError(t, err, "%T", v)
		require.Equal(t, "kept"+strings.TrimSuffix(want.String(), "\n"), string(got), "%T", v)
	}
}

// A value that would be endless, or that only a huge stack could hold, is an error. It must never be the
// end of the program, which is what overflowing the stack is in Go.
func TestEndlessValues(t *testing.T) {
	loop := &node{}
	loop.Next = loop
	ring := map[string]any{}
	ring["x"] = ring
	list := make([]any, 1)
	list[0] = list
	var self any
	self = &self
	hidden := &holding{}
	hidden.V = JSON(hidden)
	var deepList, deepMap any
	var chain *node
	for range 100_000 {
		deepList, deepMap, chain = []any{deepList}, map[string]any{"a": deepMap}, &node{Next: chain}
	}
	for name, v := range map[string]any{
		"pointer": loop, "map": ring, "slice": list, "interface": self, "any": &node{Any: loop}, "value": hidden,
		"deep slices": deepList, "deep maps": deepMap, "deep pointers": chain,
	} {
		_, err := JSON(v).AppendJSON(nil)
		require.Error(t, err, name)
		e := Event{Action: Name{"a.b"}, Old: JSON(v), New: Raw([]byte("1")), Metadata: JSON(v)}
		b, cut, err := e.AppendBinary(nil)
		require.Error(t, err, name)
		require.Equal(t, TruncatedOld|TruncatedMetadata, cut, name)
		d, err := DecodeBinary(b)
		require.NoError(t, err)
		require.Equal(t, "1", string(d.New.Bytes()))
		require.True(t, d.Old.IsZero() && d.Metadata.IsZero())
		_ = e.ContentHash()
	}
}

func TestMarshalJSONThatPanics(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				b, err := JSON(map[string]any{"a": "some text", "b": panicky{}}).AppendJSON([]byte("kept"))
				require.ErrorContains(t, err, "boom")
				require.Equal(t, "kept", string(b))
				b, err = JSON(map[string]any{"a": 1}).AppendJSON(nil)
				require.NoError(t, err)
				require.Equal(t, `{"a":1}`, string(b))
			}
		})
	}
	wg.Wait()
}

func TestValue(t *testing.T) {
	var none Value
	require.True(t, none.IsZero())
	require.True(t, Raw(nil).IsZero())
	require.True(t, Raw([]byte{}).IsZero())
	require.False(t, JSON(nil).IsZero())
	require.False(t, JSON((*int)(nil)).IsZero())
	require.Nil(t, none.Bytes())
	require.Nil(t, JSON(1).Bytes())
	require.Equal(t, "1 ", string(Raw([]byte("1 ")).Bytes()))

	b, err := none.AppendJSON([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, "x", string(b))

	var into struct{ A int }
	require.NoError(t, Raw([]byte(` {"A": 3}`)).Decode(&into))
	require.Equal(t, 3, into.A)
	require.NoError(t, JSON(map[string]int{"A": 4}).Decode(&into))
	require.Equal(t, 4, into.A)
	require.Error(t, none.Decode(&into))
	require.Error(t, Raw([]byte("{")).Decode(&into))
	require.Error(t, JSON(make(chan int)).Decode(&into))
}

func TestValueInJSON(t *testing.T) {
	type holder struct{ A, B, C Value }
	b, err := json.Marshal(holder{A: Raw([]byte(`[1, 2]`)), B: JSON(nil)})
	require.NoError(t, err)
	require.Equal(t, `{"A":[1,2],"B":null,"C":null}`, string(b))
	var back holder
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, "[1,2]", string(back.A.Bytes()))
	b[6] = 'x' // the copy is the value's own
	require.Equal(t, "[1,2]", string(back.A.Bytes()))
	_, err = json.Marshal(Raw([]byte("[1")))
	require.Error(t, err)
	_, err = json.Marshal(JSON(1))
	require.ErrorContains(t, err, "use AppendJSON")
}

func TestCompact(t *testing.T) {
	for _, s := range jsonSamples {
		got, err := appendCompact([]byte("kept"), []byte(s))
		if !json.Valid([]byte(s)) || s == "\"\xff\"" {
			require.Error(t, err, "%q", s)
			require.Equal(t, "kept", string(got))
			continue
		}
		require.NoError(t, err, "%q", s)
		var want bytes.Buffer
		require.NoError(t, json.Compact(&want, []byte(s)))
		require.Equal(t, "kept"+want.String(), string(got))
	}
	nested := func(open, closing string, n int) []byte {
		return []byte(strings.Repeat(open, n) + "1" + strings.Repeat(closing, n))
	}
	for _, c := range []struct {
		open, closing string
		levels        int
	}{{"[", "]", 1}, {`{"a":`, "}", 1}, {`[ {"b":`, "} ]", 2}} {
		_, err := appendCompact(nil, nested(c.open, c.closing, MaxDepth/c.levels))
		require.NoError(t, err, c.open)
		_, err = appendCompact(nil, nested(c.open, c.closing, MaxDepth/c.levels+1))
		require.ErrorContains(t, err, "nested deeper", c.open)
		_, err = appendCompact(nil, bytes.Repeat([]byte(c.open), 1_000_000))
		require.ErrorContains(t, err, "nested deeper", c.open)
	}
}
