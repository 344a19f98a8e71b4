package firetrail

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func FuzzDecodeBinary(f *testing.F) {
	e := sampleEvent()
	b, _, err := e.AppendBinary(nil)
	require.NoError(f, err)
	f.Add(b)
	f.Add(StampBinary(b, Stamp{ID: e.ID, Time: e.Time.UnixMicro(), Recorded: 1, Seq: 2, Source: "s"}))
	f.Add(b[:binaryHeader])
	f.Add([]byte{binaryVersion})
	empty := Event{}
	b, _, _ = empty.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeBinary(b)
		if err != nil {
			return
		}
		_ = e.Validate()
		_ = e.ContentHash()
		// Whatever can be decoded and is within the limits comes back from another turn.
		b2, cut, err := e.AppendBinary(nil)
		if err != nil || cut != e.Truncated {
			return
		}
		s := Stamp{ID: e.ID, Time: noTime, Seq: e.Seq, Source: e.Source}
		if !e.Time.IsZero() {
			s.Time = e.Time.UnixMicro()
		}
		if !e.Recorded.IsZero() {
			s.Recorded = e.Recorded.UnixMicro()
		}
		e2, err := DecodeBinary(StampBinary(b2, s))
		require.NoError(t, err)
		if e.Entity.Type == "" {
			e.Entity.Type = e.Action.Noun()
		}
		require.Equal(t, e, e2)
		_, _ = e.AppendCloudEvent(nil)
	})
}

func FuzzDecodeCloudEvent(f *testing.F) {
	e := sampleEvent()
	b, err := e.AppendCloudEvent(nil)
	require.NoError(f, err)
	f.Add([]byte("acme"), b, ContentType, "", "", "", int64(0))
	for _, v := range []string{
		`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":[1,{"x":"\ud800"}]}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"x","data":{"actor":"bob","entity":{"id":5},"request":null,"truncated":["x"],"old":null}}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","time":"2026-03-01T09:00:00+01:00","sequence":"x","recordedtime":"","traceparent":1,"data_base64":"AA=="}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"a.b","sequence":7,"foreignid":"x","ex_t":null,"d":{}}`,
		" { \"specversion\" : \"1.0\" , \"\\u0069d\" : \"1\",\"id\":\"2\"}", "", "null", "[[[[", `{"data":`,
	} {
		f.Add([]byte{}, []byte(v), "", "", "", "", int64(1_772_355_600_000))
	}
	f.Add([]byte("k"), []byte(`{"old":1}`), "application/json", "1", "/s", "a.b", int64(1_772_355_600_000))
	f.Add([]byte("k"), []byte("<a/>"), "text/xml; charset=utf-8", "1", "/s", "a.b", int64(1_772_355_600_000))
	f.Add([]byte("k"), []byte("\xff\x00"), "", "1", "/s", "a.b", int64(1_772_355_600_000))
	f.Fuzz(func(t *testing.T, key, value []byte, contentType, id, source, name string, ms int64) {
		m := Message{Key: key, Value: value, Time: time.UnixMilli(ms % 7e12)}
		if contentType != "" {
			m.Headers = append(m.Headers, Header{ContentTypeHeader, []byte(contentType)})
		}
		if id != "" {
			m.Headers = append(m.Headers, Header{"ce_specversion", []byte("1.0")}, Header{"ce_id", []byte(id)},
				Header{"ce_source", []byte(source)}, Header{"ce_type", []byte(name)})
		}
		e, err := DecodeCloudEvent(m)
		if err != nil {
			var typed *DecodeError
			require.ErrorAs(t, err, &typed)
			require.NotEmpty(t, typed.Field)
			return
		}
		require.NoError(t, e.Validate())
		var own Event
		decoder := Decoder{hashed: []byte("what an earlier one has left")}
		hash, err := decoder.Decode(&m, &own)
		require.NoError(t, err)
		require.Equal(t, e, own)
		require.Equal(t, e.ContentHash(), hash)
		for _, v := range []Value{e.Old, e.New, e.Metadata, e.Extra} {
			require.True(t, v.IsZero() || json.Valid(v.Bytes()), "%s", v.Bytes())
		}
		b, err := e.AppendCloudEvent(nil)
		require.NoError(t, err)
		require.True(t, json.Valid(b) && utf8.Valid(b), "%s", b)
		again, err := DecodeCloudEvent(Message{Key: []byte(e.Tenant), Value: b, Headers: CloudEventHeaders()})
		require.NoError(t, err, "%s", b)
		require.Equal(t, e, again)
		require.Equal(t, e.ContentHash(), again.ContentHash())
	})
}

// The scanner takes exactly what encoding/json takes, depth and UTF-8 apart.
func FuzzCompact(f *testing.F) {
	for _, s := range jsonSamples {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := appendCompact(nil, b)
		if json.Valid(b) && utf8.Valid(b) {
			if err != nil && jsonDepth(b) > MaxDepth {
				return
			}
			require.NoError(t, err)
			var a, c any
			require.Equal(t, json.Unmarshal(b, &a), json.Unmarshal(got, &c))
			require.Equal(t, a, c)
			twice, err := appendCompact(nil, got)
			require.NoError(t, err)
			require.Equal(t, string(got), string(twice))
			return
		}
		require.Error(t, err)
		require.Empty(t, got)
	})
}

func jsonDepth(b []byte) (most int) {
	depth := 0
	for _, c := range b {
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		most = max(most, depth)
	}
	return most
}

var jsonSamples = []string{
	`{}`, `[]`, `""`, ` [ 1 , 2 ] `, `{"a":{"b":[null,true,false]},"c":"\u00e9\\"}`, `-0.5e+10`, `01`, `1.`, `.5`, `-`, `1e`, `tru`,
	`{"a":1,}`, `[1,]`, `[,1]`, `{"a"}`, `{"a" 1}`, `{a:1}`, `"a`, `"\x"`, `"\u12"`, "\"\x01\"", `1 2`, `{"a":1}}`, `[1}`, `{"a":1]`,
	"\"\xff\"", `"\ud800"`, "\t\r\n 1", `{ "a" :1}`, `{"a": [ { } , [ ] ]}`, "\u00a01", `"\/"`, `{"":""}`, `nullnull`,
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"", "a", "a.b", "iam.CreateUser", "a..b", ".a", "a.", "a b.c", "ä.b", "a-b_c.d1", "-a.b", "a._b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			require.True(t, n.IsZero())
			return
		}
		require.Equal(t, s, n.String())
		require.LessOrEqual(t, len(s), MaxName)
		require.Less(t, len(n.Noun()), len(s))
		require.NotEmpty(t, n.Noun())
		// It needs no escape in JSON and in a header.
		require.Equal(t, `"`+s+`"`, string(appendString(nil, s)))
	})
}
