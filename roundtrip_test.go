package firetrail

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// anyText draws texts of all kinds: ASCII, what JSON escapes, what is not UTF-8.
func anyText(max int) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z0-9./:-]{0,20}`),
		rapid.StringN(0, 20, max),
		rapid.SampledFrom([]string{"", "\x00\"\\\n\t\x1f\x7f", "\xff", "a\xed\xa0\x80b", "\u2028<&>", "é😀", "null", `\u0041`}),
	)
}

func anyValue() *rapid.Generator[Value] {
	return rapid.SampledFrom([]Value{
		{},
		Raw([]byte("null")), Raw([]byte(`{"a":[1,2.50,-1e-7,"\ud800\u0041\/"],"a":{}}`)), Raw([]byte("[]")),
		Raw([]byte(" { \"a b\" : [ 1 , { } , \"  \\\" \" ] } \n")), Raw([]byte("\t-0.0e+5")), Raw([]byte(`"é😀"`)),
		JSON(nil), JSON(map[string]any{"z": 1, "a": []string{"<&>", "\xff"}}), JSON(json.RawMessage(` {"k": 1 } `)),
		JSON(struct {
			A int `json:"a"`
			B *int
		}{A: 3}),
	})
}

func anyEvent(t *rapid.T) Event {
	us := rapid.OneOf(
		rapid.Int64Range(0, time.Date(2199, 12, 31, 23, 59, 59, 0, time.UTC).UnixMicro()),
		rapid.Int64Range(1_700_000_000_000_000, 1_900_000_000_000_000),
	).Draw(t, "time")
	text := anyText(MaxText)
	e := Event{
		ID:     newID(us, rapid.Uint64().Draw(t, "tail")),
		Tenant: rapid.SampledFrom([]string{"", "acme", "ü-tenant ✓", strings.Repeat("x", MaxTenant)}).Draw(t, "tenant"),
		Actor:  Actor{text.Draw(t, "actor type"), text.Draw(t, "actor id"), text.Draw(t, "actor name")},
		Entity: Entity{text.Draw(t, "entity type"), text.Draw(t, "entity id")},
		Old:    anyValue().Draw(t, "old"), New: anyValue().Draw(t, "new"), Metadata: anyValue().Draw(t, "metadata"),
		Outcome: Outcome(rapid.IntRange(0, 2).Draw(t, "outcome")),
		Request: Request{text.Draw(t, "ip"), text.Draw(t, "agent"), text.Draw(t, "request"), text.Draw(t, "trace")},
		Time:    time.UnixMicro(us).Add(time.Duration(rapid.IntRange(0, 999).Draw(t, "ns"))).In(time.FixedZone("", 3600)),
		Source:  "src-" + text.Draw(t, "source"), Seq: rapid.Uint64().Draw(t, "seq"),
		Truncated: Truncated(rapid.IntRange(0, int(truncatedAll)).Draw(t, "truncated")),
		Extra: rapid.SampledFrom([]Value{
			{},
			Raw([]byte(`{"attributes":{"foreignid":"7", "x-y_z":[1, 2]}}`)),
			JSON(map[string]any{"data": map[string]any{"actor": map[string]any{"role": "x"}, "amount": 7}}),
			Raw([]byte(`{"data":{"entity":{"foreign_id":5},"request":{"":null},"data":[1],"\ud83d\ude00":1}}`)),
		}).Draw(t, "extra"),
	}
	e.Action = rapid.SampledFrom([]Name{{"course.created"}, {"iam.CreateUser"}, {"a.b-c_d.e"}}).Draw(t, "action")
	if rapid.Bool().Draw(t, "recorded") {
		e.Recorded = time.UnixMicro(us + 5).UTC()
	}
	return e
}

// viaBinary takes the event through the binary form, as the write-ahead log does.
func viaBinary(t require.TestingT, e Event) Event {
	b, _, err := e.AppendBinary(nil)
	require.NoError(t, err)
	s := Stamp{ID: e.ID, Time: e.Time.UnixMicro(), Seq: e.Seq, Source: e.Source}
	if !e.Recorded.IsZero() {
		s.Recorded = e.Recorded.UnixMicro()
	}
	out, err := DecodeBinary(StampBinary(b, s))
	require.NoError(t, err)
	return out
}

// viaWire takes the event through a record.
func viaWire(t require.TestingT, e Event) Event {
	b, err := e.AppendCloudEvent(nil)
	require.NoError(t, err)
	require.True(t, json.Valid(b), "%s", b)
	require.True(t, utf8.Valid(b))
	again, err := e.AppendCloudEvent([]byte("before"))
	require.NoError(t, err)
	require.Equal(t, "before"+string(b), string(again))
	out, err := DecodeCloudEvent(Message{Key: []byte(e.Tenant), Value: b, Headers: CloudEventHeaders()})
	require.NoError(t, err, "%s", b)
	require.NoError(t, out.Validate())
	return out
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent(t)
		hash := e.ContentHash()

		logged := viaBinary(t, e)
		require.Equal(t, hash, logged.ContentHash(), "hash after the log")
		require.Equal(t, e.Source, logged.Source)
		require.Equal(t, e.Seq, logged.Seq)

		sent := viaWire(t, logged)
		require.Equal(t, hash, sent.ContentHash(), "hash after the wire")
		require.Equal(t, viaWire(t, e), sent, "with and without the log between")
		require.Equal(t, sent, viaWire(t, sent), "a decoded event is stable")
		require.Equal(t, sent, viaBinary(t, sent), "a decoded event is stable in the log too")

		require.Equal(t, logged.ID, sent.ID)
		require.True(t, logged.Time.Equal(sent.Time))
		require.True(t, logged.Recorded.Equal(sent.Recorded))
		require.Equal(t, logged.Outcome, sent.Outcome)
		require.Equal(t, logged.Seq, sent.Seq)
		require.Equal(t, logged.Tenant, sent.Tenant)
		require.Equal(t, logged.Truncated, sent.Truncated)
	})
}

// The hash tells any two fields apart.
func TestHashSeesEveryField(t *testing.T) {
	base := Event{
		ID: newID(1e15, 1), Tenant: "t", Action: Name{"a.b"}, Actor: Actor{"1", "2", "3"}, Entity: Entity{"4", "5"},
		Old: Raw([]byte("1")), New: Raw([]byte("2")), Metadata: Raw([]byte("3")), Outcome: Failure,
		Request: Request{"6", "7", "8", "9"}, Time: time.UnixMicro(1e15), Truncated: TruncatedOld,
		Extra: Raw([]byte(`{"data":{"x":1}}`)),
	}
	changes := map[string]func(e *Event){
		"id": func(e *Event) { e.ID[15]++ }, "tenant": func(e *Event) { e.Tenant = "u" },
		"action":     func(e *Event) { e.Action = Name{"a.c"} },
		"actor type": func(e *Event) { e.Actor.Type += "x" }, "actor id": func(e *Event) { e.Actor.ID += "x" },
		"actor name":  func(e *Event) { e.Actor.Name += "x" },
		"entity type": func(e *Event) { e.Entity.Type += "x" }, "entity id": func(e *Event) { e.Entity.ID += "x" },
		"shifted": func(e *Event) { e.Actor = Actor{"12", "", "3"} },
		"old":     func(e *Event) { e.Old = Raw([]byte("0")) }, "no old": func(e *Event) { e.Old = Value{} },
		"null old": func(e *Event) { e.Old = JSON(nil) },
		"new":      func(e *Event) { e.New = Raw([]byte("0")) }, "metadata": func(e *Event) { e.Metadata = Value{} },
		"swapped": func(e *Event) { e.Old, e.New = e.New, e.Old },
		"outcome": func(e *Event) { e.Outcome = Denied }, "ip": func(e *Event) { e.Request.IP = "" },
		"agent": func(e *Event) { e.Request.UserAgent = "" }, "request": func(e *Event) { e.Request.ID = "" },
		"trace": func(e *Event) { e.Request.Traceparent = "" }, "time": func(e *Event) { e.Time = e.Time.Add(time.Microsecond) },
		"truncated": func(e *Event) { e.Truncated = TruncatedNew }, "extra": func(e *Event) { e.Extra = Value{} },
	}
	seen := map[[16]byte]string{base.ContentHash(): "base"}
	for name, change := range changes {
		e := base
		change(&e)
		h := e.ContentHash()
		require.Empty(t, seen[h], "%s has the hash of %s", name, seen[h])
		seen[h] = name
	}
	for name, change := range map[string]func(e *Event){
		"source": func(e *Event) { e.Source = "s" }, "seq": func(e *Event) { e.Seq = 3 },
		"recorded": func(e *Event) { e.Recorded = time.Now() }, "below a microsecond": func(e *Event) { e.Time = e.Time.Add(999) },
		"zone":        func(e *Event) { e.Time = e.Time.In(time.FixedZone("", -7200)) },
		"white space": func(e *Event) { e.Old = Raw([]byte(" 1\n")) }, "encoded": func(e *Event) { e.Old = JSON(1) },
	} {
		e := base
		change(&e)
		require.Equal(t, base.ContentHash(), e.ContentHash(), name)
	}
}

// sampleEvent is an event with every field set.
func sampleEvent() Event {
	at := time.Date(2026, 3, 1, 9, 0, 0, 123456000, time.UTC)
	return Event{
		ID: newID(at.UnixMicro(), 0x0123456789abcdef), Tenant: "acme", Action: Name{"course.updated"},
		Actor: Actor{"user", "u-1", "Ada \"the\" Lovelace"}, Entity: Entity{"course", "c-1"},
		Old: Raw([]byte(`{"title":"Old <b>", "seats": 24}`)), New: Raw([]byte(`{"title":"New","seats":25}`)),
		Metadata: Raw([]byte(`["é",null]`)), Outcome: Denied,
		Request: Request{"203.0.113.7", "curl/8.5", "req-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		Time:    at, Source: "courses/host-1/1", Seq: 42, Recorded: at.Add(7 * time.Microsecond),
		Truncated: TruncatedText, Extra: Raw([]byte(`{"attributes":{"dataschema":"x"},"data":{"actor":{"role":"admin"},"amount":7}}`)),
	}
}
