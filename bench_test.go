package firetrail

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type benchCourse struct {
	ID     string    `json:"id"`
	Title  string    `json:"title"`
	Price  float64   `json:"price"`
	Seats  int       `json:"seats"`
	Tags   []string  `json:"tags"`
	Starts time.Time `json:"starts"`
	Open   bool      `json:"open"`
}

// benchEvents are one event of some 500 bytes with its values in three forms.
func benchEvents(tb testing.TB) map[string]Event {
	course := &benchCourse{
		ID: "c-182736", Title: "Introduction to audit trails", Price: 129.5, Seats: 24,
		Tags: []string{"audit", "go", "kafka"}, Starts: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), Open: true,
	}
	raw, err := json.Marshal(course)
	require.NoError(tb, err)
	var asMap map[string]any
	require.NoError(tb, json.Unmarshal(raw, &asMap))
	e := sampleEvent()
	e.Extra, e.Truncated, e.Metadata = Value{}, 0, Value{}
	out := map[string]Event{}
	for name, v := range map[string]Value{"raw": Raw(raw), "struct": JSON(course), "map": JSON(asMap)} {
		e.Old, e.New = Value{}, v
		out[name] = e
	}
	return out
}

// plainEvent is what encoding/json is given to say the same.
type plainEvent struct {
	ID, Source, Type, Tenant string
	Time, Recorded           time.Time
	Seq                      uint64
	Actor                    Actor
	Entity                   Entity
	Outcome                  string
	New                      any
	Request                  Request
}

func plain1(e *Event) plainEvent {
	p := plainEvent{
		ID: e.ID.String(), Source: e.Source, Type: e.Action.String(), Tenant: e.Tenant, Time: e.Time,
		Recorded: e.Recorded, Seq: e.Seq, Actor: e.Actor, Entity: e.Entity, Outcome: e.Outcome.String(), Request: e.Request,
	}
	if p.New = e.New.v; p.New == nil {
		p.New = json.RawMessage(e.New.raw)
	}
	return p
}

func BenchmarkAppendBinary(b *testing.B) {
	events := benchEvents(b)
	for _, form := range []string{"raw", "struct", "map"} {
		e := events[form]
		b.Run(form, func(b *testing.B) {
			buf := make([]byte, 0, 2048)
			b.ReportAllocs()
			for b.Loop() {
				buf, _, _ = e.AppendBinary(buf[:0])
			}
			b.SetBytes(int64(len(buf)))
		})
		b.Run(form+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p := plain1(&e)
				_, _ = json.Marshal(&p)
			}
		})
	}
}

func BenchmarkStampBinary(b *testing.B) {
	e := benchEvents(b)["raw"]
	buf, _, _ := e.AppendBinary(make([]byte, 0, 2048))
	s := Stamp{ID: e.ID, Time: 1, Recorded: 2, Seq: 3, Source: e.Source}
	b.ReportAllocs()
	for b.Loop() {
		_ = StampBinary(buf, s)
	}
}

func BenchmarkDecodeBinary(b *testing.B) {
	e := benchEvents(b)["raw"]
	buf, _, _ := e.AppendBinary(nil)
	buf = StampBinary(buf, Stamp{ID: e.ID, Time: e.Time.UnixMicro(), Seq: 3, Source: e.Source})
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = DecodeBinary(buf)
	}
}

func BenchmarkAppendCloudEvent(b *testing.B) {
	e := benchEvents(b)["raw"]
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = e.AppendCloudEvent(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

// looseEvent is what encoding/json decodes a record into.
type looseEvent struct {
	SpecVersion, ID, Source, Type, Time, Subject, DataContentType string
	TenantID, Sequence, RecordedTime, Traceparent                 string
	Data                                                          struct {
		Actor              Actor
		Entity             Entity
		Outcome            string
		Old, New, Metadata json.RawMessage
		Request            struct {
			IP, ID    string
			UserAgent string `json:"user_agent"`
		}
	}
}

func BenchmarkDecodeCloudEvent(b *testing.B) {
	e := benchEvents(b)["raw"]
	value, err := e.AppendCloudEvent(nil)
	require.NoError(b, err)
	m := Message{Key: []byte(e.Tenant), Value: value, Headers: CloudEventHeaders()}
	b.Run("own", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		b.ReportAllocs()
		for b.Loop() {
			_, _ = DecodeCloudEvent(m)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(value)))
		b.ReportAllocs()
		for b.Loop() {
			var e looseEvent
			_ = json.Unmarshal(value, &e)
		}
	})
}

func BenchmarkContentHash(b *testing.B) {
	e := benchEvents(b)["raw"]
	b.ReportAllocs()
	for b.Loop() {
		_ = e.ContentHash()
	}
}

func BenchmarkID(b *testing.B) {
	b.Run("next", func(b *testing.B) {
		g := NewIDGenerator()
		b.ReportAllocs()
		for us := int64(1e15); b.Loop(); us++ {
			_ = g.Next(us)
		}
	})
	b.Run("from", func(b *testing.B) {
		at := time.UnixMicro(1e15)
		b.ReportAllocs()
		for b.Loop() {
			_ = IDFrom(at, "875240ac-e821-4fc6-a311-8c352a1d20f5")
		}
	})
}
