package dlq

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
)

// Header is one header of a Kafka record.
type Header struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// The reasons a record becomes a letter.
const (
	ReasonUndecodable    = "undecodable"     // its bytes are no event
	ReasonInvalid        = "invalid"         // an event, but one that breaks a rule
	ReasonTenantMismatch = "tenant-mismatch" // the tenant in the body isn't the one in the key
	ReasonConflict       = "conflict"        // its id is stored already, with other content
	ReasonRefused        = "refused"         // the destination was reached and refuses this record
	ReasonTooLarge       = "too-large"       // more than the destination takes
	ReasonUnsendable     = "unsendable"      // the broker refuses it
	ReasonOutage         = "outage"          // nothing is wrong with it: its destination is away, and it waits
	ReasonOverflow       = "overflow"        // nothing is wrong with it: the log was full, and it waits
	ReasonParked         = "parked"          // nothing is wrong with it: its partition takes nothing, and it waits
)

// Letter is a record that could not go on, kept with its original bytes, its origin and the reason.
type Letter struct {
	// ID tells letters apart, and is the same for the two forms of one letter. A worker's is made of the
	// origin (see OriginID); a producer's is the event's id.
	ID string
	// Tenant the record is of, as far as it is known.
	Tenant string
	// Reason is one word for the kind of failure, such as "undecodable" or "refused": see the Reason
	// constants.
	Reason string
	// Error is the failure in full.
	Error string
	// Stage is where it failed: "ship", "decode", "write".
	Stage string
	// Attempts is how often it was tried.
	Attempts int
	// FirstFailed is when it failed first.
	FirstFailed time.Time

	// Topic, TopicID, Partition and Offset say where the record came from; Partition is -1 where it was
	// never in Kafka (a producer's letter), and Topic is then where it was to go.
	Topic     string
	TopicID   [16]byte
	Partition int32
	Offset    int64
	// Time is the record's own timestamp, zero where it has none.
	Time time.Time

	// Copied says what the letter topic has of the letter. Whoever puts it into a directory sets it, and the file keeps
	// it: a dead letter that the topic has whole may be discarded over budget. A topic doesn't keep it.
	Copied Copy

	// Key, Value and Headers are the original's bytes. A nil Key or Value is kept apart from an empty one.
	Key, Value []byte
	Headers    []Header
}

// Message returns the record that the letter was made of as the event's codec takes it. It shares the letter's
// memory.
func (l *Letter) Message() firetrail.Message {
	m := firetrail.Message{Key: l.Key, Value: l.Value, Time: l.Time}
	for _, h := range l.Headers {
		m.Headers = append(m.Headers, firetrail.Header{Key: h.Key, Value: h.Value})
	}
	return m
}

// Outcome says what became of one letter that was delivered again. The zero value is Away, so that an
// outcome somebody forgot to set loses nothing.
type Outcome uint8

// The outcomes of a delivery.
const (
	Away      Outcome = iota // it could not be reached: try again later
	Delivered                // it is where it belongs
	Refused                  // it was reached and said no: the letter is poison
)

// Deliver tries letters again and returns what became of each, in their order. It is given by whoever
// owns the destination: the producer (to Kafka) or the consumer (to the sink). All letters of one call are
// of one tenant and one file, in the order they were put. For a letter it returns Refused for, it may set
// Reason, Error and Stage in place: they are kept. It may keep the letters. It must return soon after ctx
// ends, with Away for what it didn't get to.
type Deliver func(ctx context.Context, letters []Letter) []Outcome

// ParseOriginID undoes OriginID; ok is false for an id that isn't one.
func ParseOriginID(id string) (topicID [16]byte, partition int32, offset int64, ok bool) {
	topic, rest, _ := strings.Cut(id, ":")
	part, at, _ := strings.Cut(rest, ":")
	topicID, errTopic := parseTopicID(topic)
	partition, errPart := parseInt32(part)
	offset, errAt := strconv.ParseInt(at, 10, 64)
	return topicID, partition, offset, topic != "" && errTopic == nil && errPart == nil && errAt == nil
}

// OriginID returns the id of a letter whose record came from Kafka: topic id, partition and offset, such
// as "dGhlLXRvcGljLWlkLTE2Yg:3:4711". The topic id is written as Kafka's own tools write it. It names one
// record for ever: a topic that is deleted and made again has another id.
func OriginID(topicID [16]byte, partition int32, offset int64) string {
	b := make([]byte, 0, 48)
	b = base64.RawURLEncoding.AppendEncode(b, topicID[:])
	b = append(b, ':')
	b = strconv.AppendInt(b, int64(partition), 10)
	b = append(b, ':')
	return string(strconv.AppendInt(b, offset, 10))
}
