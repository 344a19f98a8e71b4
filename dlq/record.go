package dlq

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The headers of a letter in Kafka. The first block is Kafka Connect's (KIP-298), so that tools made for
// its letters read ours; the reason stands where Connect has the exception's class. The second is ours.
const (
	headerTopic     = "__connect.errors.topic"
	headerPartition = "__connect.errors.partition"
	headerOffset    = "__connect.errors.offset"
	headerConnector = "__connect.errors.connector.name"
	headerStage     = "__connect.errors.stage"
	headerReason    = "__connect.errors.exception.class.name"
	headerError     = "__connect.errors.exception.message"

	// HeaderLetterID holds Letter.ID. It begins the block of headers that make a record a letter: those
	// before it are the original's, as they were.
	HeaderLetterID = "firetrail.letter.id"
	// HeaderAttempts holds Letter.Attempts, in decimal.
	HeaderAttempts = "firetrail.attempts"

	headerFirstFailed = "firetrail.first.failed"
	headerTenant      = "firetrail.tenant"
	headerTopicID     = "firetrail.topic.id"
	headerTime        = "firetrail.time"

	connectorName = "firetrail"
)

// Record returns the letter as a record of the letter topic: key, value and headers are the original's,
// and behind its headers come those that make it a letter. Its timestamp is not set, so that the client
// sets it to now: with the original's, a delivery timeout would be over before it began.
func (l Letter) Record(topic string) *kgo.Record {
	h := make([]kgo.RecordHeader, 0, len(l.Headers)+13)
	for _, o := range l.Headers {
		h = append(h, kgo.RecordHeader{Key: o.Key, Value: o.Value})
	}
	add := func(key, value string) {
		if value != "" {
			h = append(h, kgo.RecordHeader{Key: key, Value: []byte(value)})
		}
	}
	h = append(h, kgo.RecordHeader{Key: HeaderLetterID, Value: []byte(l.ID)})
	add(HeaderAttempts, strconv.Itoa(l.Attempts))
	add(headerFirstFailed, formatTime(l.FirstFailed))
	add(headerTenant, l.Tenant)
	add(headerTopicID, formatTopicID(l.TopicID))
	add(headerTime, formatTime(l.Time))
	add(headerTopic, l.Topic)
	add(headerPartition, strconv.FormatInt(int64(l.Partition), 10))
	add(headerOffset, strconv.FormatInt(l.Offset, 10))
	add(headerConnector, connectorName)
	add(headerStage, l.Stage)
	add(headerReason, l.Reason)
	add(headerError, l.Error)
	return &kgo.Record{Topic: topic, Key: l.Key, Value: l.Value, Headers: h}
}

// ErrNotLetter says that a record has none of the headers that make one a letter.
var ErrNotLetter = errors.New("dlq: the record has no headers of a dead letter")

// ParseRecord reads a letter from a record of a letter topic: ours (see [Letter.Record]), Kafka Connect's
// (__connect.errors.*, KIP-298), Spring's (kafka_dlt-*) or Kafka Streams' (__streams.errors.*, KIP-1034).
// A foreign letter's ID is made of its origin's topic, partition and offset, its reason is the exception's
// class, and its attempts are 0, since they are not told. With an error, the letter holds what could be
// read, and key and value always; without any headers of a letter the error is ErrNotLetter.
func ParseRecord(r *kgo.Record) (Letter, error) {
	begin := -1
	for i, h := range r.Headers {
		if h.Key == HeaderLetterID {
			begin = i // the last: a letter's own letter has the first one's headers before it
		}
	}
	if begin < 0 {
		return parseForeign(r)
	}
	l := Letter{Key: r.Key, Value: r.Value, Headers: headersOf(r.Headers[:begin]), ID: string(r.Headers[begin].Value), Partition: -1}
	var errs []error
	for _, h := range r.Headers[begin+1:] {
		if err := l.parseHeader(h); err != nil {
			errs = append(errs, fmt.Errorf("dlq: header %s: %w", h.Key, err))
		}
	}
	return l, errors.Join(errs...)
}

// parseHeader takes over one of the headers that Record adds. Others were added on the way, and are not
// the original's.
func (l *Letter) parseHeader(h kgo.RecordHeader) (err error) {
	v := string(h.Value)
	switch h.Key {
	case HeaderAttempts:
		l.Attempts, err = strconv.Atoi(v)
	case headerFirstFailed:
		l.FirstFailed, err = parseTime(v)
	case headerTenant:
		l.Tenant = v
	case headerTopicID:
		l.TopicID, err = parseTopicID(v)
	case headerTime:
		l.Time, err = parseTime(v)
	case headerTopic:
		l.Topic = v
	case headerPartition:
		l.Partition, err = parseInt32(v)
	case headerOffset:
		l.Offset, err = strconv.ParseInt(v, 10, 64)
	case headerStage:
		l.Stage = v
	case headerReason:
		l.Reason = v
	case headerError:
		l.Error = v
	}
	return err
}

func parseInt32(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	return int32(n), err
}

func headersOf(in []kgo.RecordHeader) []Header {
	var out []Header
	for _, h := range in {
		out = append(out, Header{Key: h.Key, Value: h.Value})
	}
	return out
}
