package dlq

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLetter().Draw(t, "letter")
		if rapid.Bool().Draw(t, "nested") { // a letter that failed again
			for _, h := range anyLetter().Draw(t, "inner").Record("x").Headers {
				l.Headers = append(l.Headers, Header{Key: h.Key, Value: h.Value})
			}
		}
		r := l.Record("letters")
		require.Equal(t, "letters", r.Topic)
		require.True(t, r.Timestamp.IsZero())
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte("added on the way")})
		got, err := ParseRecord(r)
		require.NoError(t, err)
		require.Equal(t, l, got)
	})
}

// Connect's headers are what other tools read.
func TestRecordHeaders(t *testing.T) {
	l := letter("acme", 7)
	l.ID = OriginID(l.TopicID, l.Partition, l.Offset)
	got := map[string]string{}
	var order []string
	for _, h := range l.Record("letters").Headers {
		got[h.Key] = string(h.Value)
		order = append(order, h.Key)
	}
	require.Equal(t, []string{"content-type", "firetrail.letter.id"}, order[:2])
	require.Equal(t, map[string]string{
		"content-type":                          "application/cloudevents+json",
		"firetrail.letter.id":                   "AQIDAAAAAAAAAAAAAAAAAA:4:7",
		"firetrail.attempts":                    "3",
		"firetrail.first.failed":                "2026-03-01T12:00:00.123456789Z",
		"firetrail.tenant":                      "acme",
		"firetrail.topic.id":                    "AQIDAAAAAAAAAAAAAAAAAA",
		"firetrail.time":                        "2026-03-01T11:59:00.005Z",
		"__connect.errors.topic":                "audit.events",
		"__connect.errors.partition":            "4",
		"__connect.errors.offset":               "7",
		"__connect.errors.connector.name":       "firetrail",
		"__connect.errors.stage":                "write",
		"__connect.errors.exception.class.name": "outage",
		"__connect.errors.exception.message":    "connection refused",
	}, got)
}

func headers(kv ...string) []kgo.RecordHeader {
	var h []kgo.RecordHeader
	for i := 0; i < len(kv); i += 2 {
		h = append(h, kgo.RecordHeader{Key: kv[i], Value: []byte(kv[i+1])})
	}
	return h
}

func big32(n int32) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
func big64(n int64) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }

func TestForeignRecords(t *testing.T) {
	own := Header{Key: "content-type", Value: []byte("text/plain")}
	at := time.UnixMilli(1700000000123).UTC()
	for name, c := range map[string]struct {
		headers []kgo.RecordHeader
		want    Letter
		err     string
	}{
		"connect": {
			headers: headers("__connect.errors.topic", "orders", "__connect.errors.partition", "0", "__connect.errors.offset", "3",
				"__connect.errors.connector.name", "file-sink", "__connect.errors.task.id", "0", "__connect.errors.stage", "VALUE_CONVERTER",
				"__connect.errors.class.name", "io.confluent.connect.avro.AvroConverter",
				"__connect.errors.exception.class.name", "org.apache.kafka.connect.errors.DataException",
				"__connect.errors.exception.message", "Failed to deserialize", "__connect.errors.exception.stacktrace", "at …"),
			want: Letter{
				ID: "orders:0:3", Reason: "org.apache.kafka.connect.errors.DataException", Error: "Failed to deserialize",
				Stage: "VALUE_CONVERTER", Topic: "orders", Partition: 0, Offset: 3,
			},
		},
		"spring": {
			headers: headers("kafka_dlt-exception-fqcn", "org.springframework.kafka.listener.ListenerExecutionFailedException",
				"kafka_dlt-exception-cause-fqcn", "java.lang.IllegalStateException", "kafka_dlt-exception-message", "Listener failed",
				"kafka_dlt-exception-stacktrace", "at …", "kafka_dlt-original-topic", "orders", "kafka_dlt-original-partition", big32(7),
				"kafka_dlt-original-offset", big64(1<<40), "kafka_dlt-original-timestamp", big64(at.UnixMilli()),
				"kafka_dlt-original-timestamp-type", "CREATE_TIME", "kafka_dlt-original-consumer-group", "g"),
			want: Letter{
				ID: "orders:7:1099511627776", Reason: "org.springframework.kafka.listener.ListenerExecutionFailedException",
				Error: "Listener failed", Topic: "orders", Partition: 7, Offset: 1 << 40, Time: at,
			},
		},
		"spring, retried: the first origin and the last error": {
			headers: headers("kafka_dlt-original-topic", "orders", "kafka_dlt-original-partition", big32(7), "kafka_dlt-original-offset", big64(9),
				"kafka_dlt-exception-message", "first", "kafka_dlt-original-topic", "orders-retry-0", "kafka_dlt-original-partition", big32(1),
				"kafka_dlt-original-offset", big64(2), "kafka_dlt-exception-message", "last"),
			want: Letter{ID: "orders:7:9", Error: "last", Topic: "orders", Partition: 7, Offset: 9},
		},
		"spring's names with decimal numbers": {
			headers: headers("kafka_dlt-original-topic", "orders", "kafka_dlt-original-partition", "12", "kafka_dlt-original-offset", "12345678",
				"kafka_dlt-original-timestamp", "1700000000123"),
			want: Letter{ID: "orders:12:12345678", Topic: "orders", Partition: 12, Offset: 12345678, Time: at},
		},
		"streams": {
			headers: headers("__streams.errors.exception", "java.lang.ArithmeticException", "__streams.errors.message", "/ by zero",
				"__streams.errors.stacktrace", "at …", "__streams.errors.topic", "clicks", "__streams.errors.partition", "2", "__streams.errors.offset", "77"),
			want: Letter{ID: "clicks:2:77", Reason: "java.lang.ArithmeticException", Error: "/ by zero", Topic: "clicks", Partition: 2, Offset: 77},
		},
		"origin not told": {
			headers: headers("__connect.errors.exception.message", "boom"),
			want:    Letter{ID: "letters:5:50", Error: "boom", Partition: -1, Offset: -1},
		},
		"bad numbers": {
			headers: headers("__streams.errors.topic", "clicks", "__streams.errors.partition", "two", "__streams.errors.offset", "1e3"),
			want:    Letter{ID: "letters:5:50", Topic: "clicks", Partition: -1, Offset: -1},
			err:     `__streams.errors.partition: "two" is no number`,
		},
		"partition out of range": {
			headers: headers("__streams.errors.topic", "clicks", "__streams.errors.partition", "4294967297", "__streams.errors.offset", "1"),
			want:    Letter{ID: "letters:5:50", Topic: "clicks", Partition: -1, Offset: 1},
			err:     "4294967297 is no partition",
		},
		"no letter": {want: Letter{Partition: -1, Offset: -1}, err: ErrNotLetter.Error()},
		"ours, with a bad number": {
			headers: headers("firetrail.letter.id", "x", "firetrail.attempts", "many", "firetrail.time", "noon", "firetrail.tenant", "acme"),
			want:    Letter{ID: "x", Tenant: "acme", Partition: -1},
			err:     "firetrail.attempts",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &kgo.Record{
				Topic: "letters", Partition: 5, Offset: 50, Key: []byte("acme"), Value: []byte("v"),
				Headers: append([]kgo.RecordHeader{{Key: own.Key, Value: own.Value}}, c.headers...),
			}
			c.want.Key, c.want.Value, c.want.Headers, c.want.Tenant = r.Key, r.Value, []Header{own}, "acme"
			got, err := ParseRecord(r)
			require.Equal(t, c.want, got)
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
		})
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, h := range letter("a", 1).Record("x").Headers {
		f.Add(h.Key, h.Value, []byte("key"), []byte("value"))
	}
	for k := range foreignHeaders {
		f.Add(k, []byte("1"), []byte(nil), []byte{})
	}
	f.Fuzz(func(t *testing.T, name string, header, key, value []byte) {
		r := &kgo.Record{Key: key, Value: value, Headers: []kgo.RecordHeader{
			{Key: "own", Value: []byte("x")}, {Key: HeaderLetterID, Value: []byte("id")}, {Key: name, Value: header},
		}}
		for _, drop := range []bool{false, true} { // as ours, then as somebody else's
			if drop {
				r.Headers = r.Headers[2:]
			}
			l, err := ParseRecord(r)
			require.Equal(t, key, l.Key)
			require.Equal(t, value, l.Value)
			if err == nil {
				back, err := ParseRecord(l.Record("again"))
				require.NoError(t, err)
				require.Equal(t, l, back)
			}
		}
	})
}
