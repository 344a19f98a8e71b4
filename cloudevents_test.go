package firetrail

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	foreignTime = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	// foreignRecord is when Kafka took the record.
	foreignRecord = time.Date(2026, 3, 2, 10, 0, 0, 5_000_000, time.UTC)
)

// foreign is another producer's event: required attributes, and more that override them; "" removes one.
func foreign(more map[string]string) string {
	all := map[string]string{
		"specversion": `"1.0"`, "id": `"42"`, "source": `"/shop"`, "type": `"order.paid"`, "time": `"2026-03-01T09:00:00Z"`,
	}
	maps.Copy(all, more)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if all[k] != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", k, all[k]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func structured(key, value string) Message {
	return Message{Key: []byte(key), Value: []byte(value), Headers: CloudEventHeaders(), Time: foreignRecord}
}

func decodeForeign(t *testing.T, m Message) Event {
	t.Helper()
	e, err := DecodeCloudEvent(m)
	require.NoError(t, err, "%s", m.Value)
	require.NoError(t, e.Validate())
	again := viaWire(t, e)
	require.Equal(t, e, again, "stable")
	require.Equal(t, e.ContentHash(), again.ContentHash())
	return e
}

// A foreign event says what it said, wherever an Event has a place for it, and in Extra where not.
func TestForeignEvents(t *testing.T) {
	for name, c := range map[string]struct {
		more  map[string]string
		check func(t *testing.T, e Event)
		extra string // beside the foreign id
	}{
		"least": {check: func(t *testing.T, e Event) {
			require.Equal(t, Event{
				ID: e.ID, Action: Name{"order.paid"}, Entity: Entity{Type: "order"}, Time: foreignTime, Source: "/shop", Extra: e.Extra,
			}, e)
		}},
		"no time":           {map[string]string{"time": ""}, func(t *testing.T, e Event) { require.Equal(t, foreignRecord, e.Time) }, ""},
		"null time":         {map[string]string{"time": "null"}, func(t *testing.T, e Event) { require.Equal(t, foreignRecord, e.Time) }, ""},
		"zone":              {map[string]string{"time": `"2026-03-01T10:00:00+01:00"`}, func(t *testing.T, e Event) { require.Equal(t, foreignTime, e.Time) }, ""},
		"ns":                {map[string]string{"time": `"2026-03-01T09:00:00.000001999Z"`}, func(t *testing.T, e Event) { require.Equal(t, foreignTime.Add(1000), e.Time) }, ""},
		"subject":           {map[string]string{"subject": `"o-1"`}, func(t *testing.T, e Event) { require.Equal(t, Entity{"order", "o-1"}, e.Entity) }, ""},
		"subject like ours": {map[string]string{"subject": `"order/o-1"`}, func(t *testing.T, e Event) { require.Equal(t, Entity{"order", "o-1"}, e.Entity) }, ""},
		"subject and entity": {
			map[string]string{"subject": `"x"`, "data": `{"entity":{"type":"cart","id":"c"}}`},
			func(t *testing.T, e Event) { require.Equal(t, Entity{"cart", "c"}, e.Entity) }, `{"attributes":{"foreignid":"42","foreignsubject":"x"}}`,
		},
		"entity without subject": {
			map[string]string{"data": `{"entity":{"type":"cart","id":"c"}}`},
			func(t *testing.T, e Event) { require.Equal(t, Entity{"cart", "c"}, e.Entity) }, "",
		},
		"sequence text":       {map[string]string{"sequence": `"00012"`}, func(t *testing.T, e Event) { require.EqualValues(t, 12, e.Seq) }, ""},
		"sequence number":     {map[string]string{"sequence": `12`}, func(t *testing.T, e Event) { require.EqualValues(t, 12, e.Seq) }, ""},
		"sequence no number":  {map[string]string{"sequence": `"A7"`}, func(t *testing.T, e Event) { require.Zero(t, e.Seq) }, `{"attributes":{"foreignid":"42","foreignsequence":"A7"}}`},
		"sequence too large":  {map[string]string{"sequence": `"18446744073709551616"`}, func(t *testing.T, e Event) { require.Zero(t, e.Seq) }, `{"attributes":{"foreignid":"42","foreignsequence":"18446744073709551616"}}`},
		"recorded no time":    {map[string]string{"recordedtime": `"x"`}, func(t *testing.T, e Event) { require.True(t, e.Recorded.IsZero()) }, `{"attributes":{"foreignid":"42","foreignrecordedtime":"x"}}`},
		"traceparent no text": {map[string]string{"traceparent": `[1, 2]`}, nil, `{"attributes":{"foreigntraceparent":[1,2],"foreignid":"42"}}`},
		"unknown attributes":  {map[string]string{"dataschema": `"s"`, "x_y-z": `{"a": 1}`, "gone": "null"}, nil, `{"attributes":{"dataschema":"s","x_y-z":{"a":1},"foreignid":"42"}}`},
		"other content type":  {map[string]string{"datacontenttype": `"text/xml"`, "data": `"<a/>"`}, nil, `{"attributes":{"foreignid":"42","foreigndatacontenttype":"text/xml"},"data":{"data":"<a/>"}}`},
		"data array":          {map[string]string{"data": `[1, {"old": 2}]`}, nil, `{"attributes":{"foreignid":"42"},"data":{"data":[1,{"old":2}]}}`},
		"data text":           {map[string]string{"data": `"x"`}, nil, `{"attributes":{"foreignid":"42"},"data":{"data":"x"}}`},
		"data null":           {map[string]string{"data": `null`}, nil, ""},
		"data number":         {map[string]string{"data": `-1.5e3`}, nil, `{"attributes":{"foreignid":"42"},"data":{"data":-1.5e3}}`},
		"data base64":         {map[string]string{"data_base64": `"AAE="`}, nil, `{"attributes":{"foreignid":"42"},"data":{"data_base64":"AAE="}}`},
		"data other object":   {map[string]string{"data": `{"amount": 7, "Actor": "A"}`}, nil, `{"attributes":{"foreignid":"42"},"data":{"amount":7,"Actor":"A"}}`},
		"null value": {map[string]string{"data": `{"old":null,"new": {"a": [ ]}}`}, func(t *testing.T, e Event) {
			require.Equal(t, "null", string(e.Old.Bytes()))
			require.Equal(t, `{"a":[]}`, string(e.New.Bytes()))
		}, ""},
		"known names, other shapes": {
			map[string]string{"data": `{"actor":"bob","entity":{"id":5,"type":null},"request":{"ip":"::1","tls":true},"truncated":["x"]}`},
			func(t *testing.T, e Event) { require.Equal(t, "::1", e.Request.IP); require.Equal(t, Actor{}, e.Actor) },
			`{"attributes":{"foreignid":"42"},"data":{"entity":{"foreign_id":5},"request":{"tls":true},"foreign_actor":"bob","foreign_truncated":["x"]}}`,
		},
		"empty shapes": {
			map[string]string{"data": `{"actor":null,"entity":{},"request":{"ip":""},"truncated":[],"outcome":null,"metadata":[]}`},
			func(t *testing.T, e Event) { require.Equal(t, "[]", string(e.Metadata.Bytes())) }, "",
		},
		"truncated": {map[string]string{"data": `{"truncated":["old", "text"]}`}, func(t *testing.T, e Event) { require.Equal(t, TruncatedOld|TruncatedText, e.Truncated) }, ""},
		"escapes": {
			map[string]string{"data": `{"\u0061ctor":{"\u0069d":"\u00e9\ud83d\ude00\ud800\n\/"},"\u006fld":"\u0041"}`},
			func(t *testing.T, e Event) {
				require.Equal(t, "é😀\uFFFD\n/", e.Actor.ID)
				require.Equal(t, `"\u0041"`, string(e.Old.Bytes()), "values are kept as they were written")
			}, "",
		},
		"outcome": {map[string]string{"data": `{"outcome":"denied"}`}, func(t *testing.T, e Event) { require.Equal(t, Denied, e.Outcome) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := decodeForeign(t, structured("", foreign(c.more)))
			if c.check != nil {
				c.check(t, e)
			}
			if c.extra == "" {
				c.extra = `{"attributes":{"foreignid":"42"}}`
			}
			require.Equal(t, c.extra, string(e.Extra.Bytes()))
			require.Equal(t, foreignIDFrom(e.Time, "/shop", "42"), e.ID)
		})
	}
}

// What is refused says which field is at fault.
func TestDecodeCloudEventRefuses(t *testing.T) {
	v7 := newID(foreignTime.UnixMicro(), 9)
	late := newID(foreignTime.UnixMicro()+1000, 9).String()
	more := func(k, v string) string { return foreign(map[string]string{k: v}) }
	data := func(s string) string { return more("data", s) }
	deep := strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1)
	for _, c := range []struct{ name, field, value string }{
		{"empty", "value", ""},
		{"no object", "value", "[]"},
		{"cut", "value", foreign(nil)[:40]},
		{"twice", "value", foreign(nil) + "{}"},
		{"not UTF-8", "value", data("\"\xff\"")},
		{"no version", "specversion", more("specversion", "")},
		{"version", "specversion", more("specversion", `"0.3"`)},
		{"no id", "id", more("id", "")},
		{"empty id", "id", more("id", `""`)},
		{"number id", "id", more("id", "7")},
		{"id of another time", "id", more("id", `"`+late+`"`)},
		{"no source", "source", more("source", "")},
		{"no type", "type", more("type", "")},
		{"bad type", "type", more("type", `"order"`)},
		{"slash", "type", more("type", `"com.x/order.paid"`)},
		{"bad time", "time", more("time", `"yesterday"`)},
		{"30 February", "time", more("time", `"2026-02-30T09:00:00.000000Z"`)},
		{"hour 24", "time", more("time", `"2026-02-03T24:00:00.000000Z"`)},
		{"old time", "time", more("time", `"1969-12-31T23:59:59Z"`)},
		{"far time", "time", more("time", `"2200-01-01T00:00:00Z"`)},
		{"number time", "time", more("time", "1772355600")},
		{"tenant of another key", "tenantid", more("tenantid", `"acme"`)},
		{"tenant no text", "tenantid", more("tenantid", `{}`)},
		{"upper case", "attribute", more("ID", `"43"`)},
		{"bad name", "attribute", more("a b", `1`)},
		{"empty name", "attribute", more("", `1`)},
		{"foreignid taken", "foreignid", more("foreignid", `"x"`)},
		{"outcome", "data.outcome", data(`{"outcome":"ok"}`)},
		{"outcome number", "data.outcome", data(`{"outcome":1}`)},
		{"base64 no text", "data_base64", more("data_base64", "7")},
		{"deep", "data.old", data(`{"old":` + deep + `}`)},
		{"deep data", "data", data(deep)},
		{"deep attribute", "x", more("x", deep)},
		{"bad value", "data.new", data(`{"new":tru}`)},
		{"bad actor", "data.actor", data(`{"actor":{"id":"a" "b"}}`)},
		{"bad text", "data.actor.id", data(`{"actor":{"id":"\x"}}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeCloudEvent(structured("", c.value))
			var typed *DecodeError
			require.ErrorAs(t, err, &typed)
			require.Equal(t, c.field, typed.Field, err.Error())
			require.ErrorContains(t, err, "cloudevent: "+c.field+": ")
		})
	}
	_, err := DecodeCloudEvent(structured("", more("id", `"`+v7.String()+`"`)))
	require.NoError(t, err)
	_, err = DecodeCloudEvent(Message{Value: []byte(more("time", "")), Headers: CloudEventHeaders()})
	require.ErrorContains(t, err, "cloudevent: time: missing")
	_, err = DecodeCloudEvent(structured("", strings.Repeat(" ", MaxMessage+1)))
	require.ErrorContains(t, err, "value: 33554433 bytes")
}

// Two members of one name could be read differently by two readers of one piece of evidence.
func TestDuplicateMembers(t *testing.T) {
	for field, s := range map[string]string{
		"id": `"id":"43"`, "tenantid": `"tenantid":"","tenantid":"x"`, "type": `"t\u0079pe":"a.b"`, "x": `"x":1,"x":2`,
		"data": `"data":1,"data":2`, "data_base64": `"data":1,"data_base64":"AA=="`,
		"data.old": `"data":{"old":1,"\u006fld":2}`, "data.actor": `"data":{"actor":{},"actor":null}`, "data.actor.id": `"data":{"actor":{"id":"a","id":"b"}}`,
		"data.amount": `"data":{"amount":1,"amount":1}`, "data.actor.role": `"data":{"actor":{"role":1,"role":1}}`, "data.outcome": `"data":{"outcome":"denied","outcome":"success"}`,
		"data.m3": `"data":{"m0":0,"m1":0,"m2":0,"m3":0,"m4":0,"m5":0,"m6":0,"m7":0,"m8":0,"m9":0,"ma":0,"mb":0,"mc":0,"md":0,"me":0,"mf":0,"mg":0,"mh":0,"m3":0}`,
	} {
		value := foreign(nil)
		_, err := DecodeCloudEvent(structured("", value[:len(value)-1]+","+s+"}"))
		var typed *DecodeError
		require.ErrorAs(t, err, &typed, field)
		require.Equal(t, field, typed.Field, err.Error())
	}
}

func TestManyMembersAreFast(t *testing.T) {
	var b strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&b, `"m%d":0,`, i)
	}
	e, err := DecodeCloudEvent(structured("", foreign(map[string]string{"data": "{" + b.String() + `"last":1}`})))
	require.NoError(t, err)
	require.Contains(t, string(e.Extra.Bytes()), `"m199999":0,"last":1`)
}

func TestForeignIDs(t *testing.T) {
	id := func(more map[string]string) ID {
		return decodeForeign(t, structured("", foreign(more))).ID
	}
	base := id(nil)
	require.Equal(t, base, id(map[string]string{"data": "1"}), "content is not in it")
	require.NotEqual(t, base, id(map[string]string{"id": `"43"`}))
	require.NotEqual(t, base, id(map[string]string{"source": `"/shop2"`}))
	require.NotEqual(t, id(map[string]string{"source": `"ab"`, "id": `"c"`}), id(map[string]string{"source": `"a"`, "id": `"bc"`}))
	require.NotEqual(t, id(map[string]string{"source": `"a\u0000b"`, "id": `"c"`}), id(map[string]string{"source": `"a"`, "id": `"b\u0000c"`}))
	require.Equal(t, "019ca8a0-3e80-7000-add1-3449fa8abcd5", base.String(), "every import must give it again")

	v4 := decodeForeign(t, structured("", foreign(map[string]string{"id": `"875240ac-e821-4fc6-a311-8c352a1d20f5"`})))
	require.Equal(t, `{"attributes":{"foreignid":"875240ac-e821-4fc6-a311-8c352a1d20f5"}}`, string(v4.Extra.Bytes()))

	// A UUIDv7 stays, whatever its maker put below the milliseconds, and gives the time if there is no other.
	own := newID(foreignTime.UnixMicro()+999, 5)
	e := decodeForeign(t, structured("", foreign(map[string]string{"id": `"` + strings.ToUpper(own.String()) + `"`})))
	require.Equal(t, own, e.ID)
	require.Equal(t, foreignTime, e.Time)
	require.True(t, e.Extra.IsZero())
	e = decodeForeign(t, structured("", foreign(map[string]string{"id": `"` + own.String() + `"`, "time": ""})))
	require.Equal(t, foreignTime, e.Time)
}

func TestTenantAndKey(t *testing.T) {
	for _, c := range []struct {
		key    []byte
		tenant string
		want   string
		ok     bool
	}{
		{nil, "", "", true},
		{[]byte{}, "", "", true},
		{nil, `""`, "", true},
		{[]byte("acme"), "", "acme", true},
		{[]byte("acme"), `"acme"`, "acme", true},
		{[]byte("acme"), `"a\u0063me"`, "acme", true},
		{[]byte("ü"), `"ü"`, "ü", true},
		{nil, `"acme"`, "", false},
		{[]byte("acme"), `"other"`, "", false},
		{[]byte("acme"), `""`, "", false},
		{[]byte("Acme"), `"acme"`, "", false},
		{[]byte("acme"), `null`, "", false},
		{[]byte("a\nb"), "", "", false},
		{[]byte("\xff"), "", "", false},
		{[]byte("\xff"), `"\ufffd"`, "", false},
		{[]byte(strings.Repeat("x", 129)), "", "", false},
	} {
		m := structured("", foreign(map[string]string{"tenantid": c.tenant}))
		m.Key = c.key
		e, err := DecodeCloudEvent(m)
		if !c.ok {
			var typed *DecodeError
			require.ErrorAs(t, err, &typed, "%q %s", c.key, c.tenant)
			require.Equal(t, "tenantid", typed.Field)
			continue
		}
		require.NoError(t, err, "%q %s", c.key, c.tenant)
		require.Equal(t, c.want, e.Tenant)
	}
}

func TestContentModes(t *testing.T) {
	value := foreign(nil)
	header := func(k, v string) Header { return Header{k, []byte(v)} }
	ce := []Header{header("ce_specversion", "1.0"), header("ce_id", "42"), header("ce_source", "/shop"), header("ce_type", "order.paid"), header("ce_time", "2026-03-01T09:00:00Z"), header("other", "\xff")}
	type headers = []Header
	for name, c := range map[string]struct {
		headers headers
		value   string
		extra   string // "" is an error
	}{
		"charset":            {headers{header("content-type", "Application/CloudEvents+JSON; charset=UTF-8")}, value, `{"attributes":{"foreignid":"42"}}`},
		"no header":          {nil, value, `{"attributes":{"foreignid":"42"}}`},
		"plain JSON header":  {headers{header("Content-Type", "application/json")}, value, `{"attributes":{"foreignid":"42"}}`},
		"structured wins":    {append(headers{header("content-type", ContentType)}, ce...), value, `{"attributes":{"foreignid":"42"}}`},
		"batch":              {headers{header("content-type", "application/cloudevents-batch+json")}, "[" + value + "]", ""},
		"avro":               {headers{header("content-type", "application/cloudevents+avro")}, value, ""},
		"two types":          {headers{header("content-type", ContentType), header("content-type", "text/plain")}, value, ""},
		"other JSON":         {nil, `{"hello":1}`, ""},
		"binary, no data":    {ce, "", `{"attributes":{"foreignid":"42"}}`},
		"binary, JSON":       {append(headers{header("content-type", "application/json")}, ce...), ` {"amount": 1} `, `{"attributes":{"foreignid":"42"},"data":{"amount":1}}`},
		"binary, charset":    {append(headers{header("content-type", "application/json; charset=utf-8")}, ce...), `{}`, `{"attributes":{"foreignid":"42","foreigndatacontenttype":"application/json; charset=utf-8"}}`},
		"binary, +json":      {append(headers{header("content-type", "application/x+json")}, ce...), `[1]`, `{"attributes":{"foreignid":"42","foreigndatacontenttype":"application/x+json"},"data":{"data":[1]}}`},
		"binary, guessed":    {ce, `{"amount":1}`, `{"attributes":{"foreignid":"42"},"data":{"amount":1}}`},
		"binary, text":       {append(headers{header("content-type", "text/plain")}, ce...), `{"x`, `{"attributes":{"foreignid":"42","foreigndatacontenttype":"text/plain"},"data":{"data":"{\"x"}}`},
		"binary, bytes":      {ce, "\xff\x00", `{"attributes":{"foreignid":"42"},"data":{"data_base64":"/wA="}}`},
		"binary, bad JSON":   {append(headers{header("content-type", "application/json")}, ce...), `{"x`, ""},
		"binary, JSON bytes": {append(headers{header("content-type", "application/json")}, ce...), "\"\xff\"", ""},
		"binary, two values": {append(headers{header("content-type", "application/json")}, ce...), "1 2", ""},
		"extension":          {append(headers{header("ce_ext", "a\"b")}, ce...), "", `{"attributes":{"ext":"a\"b","foreignid":"42"}}`},
		"duplicate":          {append(headers{header("ce_id", "43")}, ce...), "", ""},
		"duplicate other":    {append(headers{header("ce_ext", "1"), header("ce_ext", "1")}, ce...), "", ""},
		"header not UTF-8":   {append(headers{header("ce_ext", "\xff")}, ce...), "", ""},
		"data header":        {append(headers{header("ce_data", "{}")}, ce...), "", ""},
		"foreign sequence":   {append(headers{header("ce_sequence", "7")}, ce...), "", `{"attributes":{"foreignid":"42"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			m := Message{Value: []byte(c.value), Headers: c.headers, Time: foreignRecord}
			if c.extra == "" {
				_, err := DecodeCloudEvent(m)
				var typed *DecodeError
				require.ErrorAs(t, err, &typed)
				return
			}
			e := decodeForeign(t, m)
			require.Equal(t, c.extra, string(e.Extra.Bytes()))
			require.Equal(t, foreignIDFrom(foreignTime, "/shop", "42"), e.ID)
		})
	}
}

// Both modes read one event the same.
func TestBinaryModeReadsTheSame(t *testing.T) {
	want := sampleEvent()
	value, err := want.AppendCloudEvent(nil)
	require.NoError(t, err)
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(value, &all))
	m := Message{Key: []byte("acme"), Value: all["data"], Headers: []Header{{"content-type", []byte("application/json")}}}
	for k, v := range all {
		if k != "data" && k != "datacontenttype" {
			var s string
			require.NoError(t, json.Unmarshal(v, &s))
			m.Headers = append(m.Headers, Header{"ce_" + k, []byte(s)})
		}
	}
	got, err := DecodeCloudEvent(m)
	require.NoError(t, err)
	require.Equal(t, want.ContentHash(), got.ContentHash())
	require.Equal(t, viaWire(t, want), got)
}

func TestAppendCloudEventRefuses(t *testing.T) {
	for want, change := range map[string]func(e *Event){
		"id: missing": func(e *Event) { e.ID = ID{} }, "time: missing": func(e *Event) { e.Time = time.Time{} }, "source: missing": func(e *Event) { e.Source = "" },
		"action: missing": func(e *Event) { e.Action = Name{} }, "action: '\"' at byte 1": func(e *Event) { e.Action = Name{"x\"y"} },
		"tenant: ": func(e *Event) { e.Tenant = "\n" }, "outcome: ": func(e *Event) { e.Outcome = 9 },
		"recorded: ": func(e *Event) { e.Recorded = time.Unix(-1, 0) }, "is of 2026": func(e *Event) { e.Time = e.Time.Add(time.Second) },
		"time: 9999-":       func(e *Event) { e.Time = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) },
		"old: invalid JSON": func(e *Event) { e.Old = Raw([]byte("{")) }, "new: invalid JSON at byte 2": func(e *Event) { e.New = Raw([]byte("1 2")) },
		"metadata: invalid UTF-8": func(e *Event) { e.Metadata = Raw([]byte("\"\xff\"")) }, "old: panic": func(e *Event) { e.Old = JSON(panicky{}) },
		"metadata: nested deeper":                       func(e *Event) { e.Metadata = Raw([]byte(strings.Repeat("[", 1000))) },
		"extra: invalid JSON":                           func(e *Event) { e.Extra = Raw([]byte("[]")) },
		"extra: \"x\" is neither":                       func(e *Event) { e.Extra = Raw([]byte(`{"x":1}`)) },
		"extra: attributes.id: is the event's own":      func(e *Event) { e.Extra = Raw([]byte(`{"attributes":{"id":"x"}}`)) },
		"extra: attributes.data: is the event's own":    func(e *Event) { e.Extra = Raw([]byte(`{"attributes":{"data":"x"}}`)) },
		"extra: attributes.A: bad name":                 func(e *Event) { e.Extra = Raw([]byte(`{"attributes":{"A":"x"}}`)) },
		"extra: data.outcome is the event's own":        func(e *Event) { e.Extra = Raw([]byte(`{"data":{"outcome":"success"}}`)) },
		"extra: data.actor.id: is the event's own":      func(e *Event) { e.Extra = Raw([]byte(`{"data":{"actor":{"\u0069d":"root"}}}`)) },
		"extra: data.x: twice":                          func(e *Event) { e.Extra = Raw([]byte(`{"data":{"x":1,"x":2}}`)) },
		"extra: data.request.x: twice":                  func(e *Event) { e.Extra = Raw([]byte(`{"data":{"request":{"x":1,"x":2}}}`)) },
		"extra: json: unsupported":                      func(e *Event) { e.Extra = JSON(make(chan int)) },
		"extra: invalid JSON at byte 0: want an object": func(e *Event) { e.Extra = Raw([]byte(`{"data":{"actor":"x"}}`)) },
	} {
		e := sampleEvent()
		change(&e)
		b, err := e.AppendCloudEvent([]byte("kept"))
		require.ErrorContains(t, err, want)
		require.Equal(t, "kept", string(b))
	}
}

// The encoding is what another JSON reader takes for the same event.
func TestWireIsPlainJSON(t *testing.T) {
	e := sampleEvent()
	b, err := e.AppendCloudEvent(nil)
	require.NoError(t, err)
	var loose looseEvent
	require.NoError(t, json.Unmarshal(b, &loose))
	require.Equal(t, e.Actor, loose.Data.Actor)
	require.Equal(t, "course/c-1", loose.Subject)
	require.Equal(t, e.Request.UserAgent, loose.Data.Request.UserAgent)
	at, err := time.Parse(time.RFC3339, loose.Time)
	require.NoError(t, err)
	require.True(t, e.Time.Equal(at))
}

func TestAppendCloudEventAllocatesNothing(t *testing.T) {
	e := sampleEvent()
	e.Extra = Value{}
	buf := make([]byte, 0, 4096)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		var err error
		if buf, err = e.AppendCloudEvent(buf[:0]); err != nil {
			panic(err)
		}
	}))
}

func TestTimes(t *testing.T) {
	for _, at := range []time.Time{
		time.UnixMicro(0), foreignTime, time.Date(2000, 2, 29, 23, 59, 59, 999_999_999, time.UTC), time.Date(2199, 12, 31, 12, 34, 56, 7_000, time.FixedZone("", 3600)),
	} {
		s := string(appendTime(nil, at))
		require.Equal(t, at.UTC().Format("2006-01-02T15:04:05.000000Z"), s)
		own, ok := parseOwnTime(s)
		require.True(t, ok)
		require.Equal(t, time.UnixMicro(at.UnixMicro()).UTC(), own)
	}
	for _, s := range []string{"2026-02-30T00:00:00.000000Z", "2026-00-01T00:00:00.000000Z", "2026-13-01T00:00:00.000000Z", "2026-01-01T00:60:00.000000Z", "2026-01-01T00:00:60.000000Z", "2026-01-01T24:00:00.000000Z", "2026-01-01 00:00:00.000000Z", ""} {
		_, err := parseTime(s)
		require.Error(t, err, s)
	}
}

func TestDecodeErrorIsTyped(t *testing.T) {
	_, err := DecodeCloudEvent(Message{})
	var typed *DecodeError
	require.ErrorAs(t, err, &typed)
	require.Equal(t, "value", typed.Field)
	require.NotNil(t, errors.Unwrap(err))
}
