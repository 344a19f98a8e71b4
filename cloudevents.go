package firetrail

import (
	"fmt"
	"time"
)

// The wire form is CloudEvents 1.0 by its Kafka protocol binding, structured mode, JSON format. What an event
// becomes:
//
//	header  content-type: application/cloudevents+json
//	key     the tenant ("" is an empty key, never nil)
//	value   {"specversion":"1.0",
//	         "id":"0192f0c1-7b2e-7abc-8def-0123456789ab",
//	         "source":"…",                                 the producer's run
//	         "type":"course.created",                      the action
//	         "time":"2026-03-01T09:00:00.123456Z",         always µs, always Z
//	         "subject":"course/c-1",                       type/id of the entity; only with an id
//	         "datacontenttype":"application/json",
//	         "tenantid":"acme",                            left out for the default tenant
//	         "sequence":"00000000000000000042",            20 digits, so that it sorts as text too
//	         "recordedtime":"2026-03-01T09:00:00.123457Z",
//	         "traceparent":"00-…",
//	         …                                             attributes from Extra
//	         "data":{"actor":{"type":"user","id":"u-1","name":"Ada"},
//	                 "entity":{"type":"course","id":"c-1"},
//	                 "outcome":"success",                  the only member that is always there
//	                 "old":…, "new":…, "metadata":…,       any JSON
//	                 "request":{"ip":"…","user_agent":"…","id":"…"},
//	                 "truncated":["metadata","text"],
//	                 …                                     members from Extra
//	         }}
//
// What is empty is left out. There is no white space, and the order is always this one, so that one event
// has one encoding.
const (
	// ContentType is the media type of the wire form, the value of the record header
	// [ContentTypeHeader].
	ContentType = "application/cloudevents+json"
	// ContentTypeHeader is the key of the record header that says which form the value is in.
	ContentTypeHeader = "content-type"
	// MaxMessage is the largest value [DecodeCloudEvent] takes, in bytes. It is far above what a broker
	// accepts by default (1 MiB) and keeps one record from taking a worker's memory.
	MaxMessage = 32 << 20
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Message is a record as Kafka holds it, as far as the codec needs it.
type Message struct {
	Key, Value []byte
	Headers    []Header
	Time       time.Time // the record's timestamp
}

// CloudEventHeaders returns the headers of a record whose value is what [Event.AppendCloudEvent] made.
func CloudEventHeaders() []Header {
	return []Header{{ContentTypeHeader, []byte(ContentType)}}
}

// DecodeError says why a record is not an event.
type DecodeError struct {
	// Field is the CloudEvents attribute ("id", "tenantid"), the member of data ("data.outcome"), or
	// "value", "key", "header" where no field can be named.
	Field string
	Err   error // what is wrong with it
}

// Error implements error.
func (e *DecodeError) Error() string { return "cloudevent: " + e.Field + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

func decodeError(field string, err error) error { return &DecodeError{field, err} }

func decodeErrorf(field, format string, args ...any) error {
	return &DecodeError{field, fmt.Errorf(format, args...)}
}

// The attributes that an event has a field for. Their order is that of the encoding.
const (
	attrSpecVersion = iota
	attrID
	attrSource
	attrType
	attrTime
	attrSubject
	attrDataContentType
	attrTenant
	attrSequence
	attrRecorded
	attrTraceparent
	attrCount
)

var attrNames = [attrCount]string{
	"specversion", "id", "source", "type", "time", "subject", "datacontenttype",
	"tenantid", "sequence", "recordedtime", "traceparent",
}

// attrIndex returns the index of a known attribute, -1 for others.
func attrIndex(name string) int {
	switch name {
	case "specversion":
		return attrSpecVersion
	case "id":
		return attrID
	case "source":
		return attrSource
	case "type":
		return attrType
	case "time":
		return attrTime
	case "subject":
		return attrSubject
	case "datacontenttype":
		return attrDataContentType
	case "tenantid":
		return attrTenant
	case "sequence":
		return attrSequence
	case "recordedtime":
		return attrRecorded
	case "traceparent":
		return attrTraceparent
	}
	return -1
}

// The members of data under which data that is no object survives.
const (
	wrappedData   = "data"        // JSON that is not an object, or text
	wrappedBase64 = "data_base64" // binary data, in base64
)

var truncatedNames = [...]string{"old", "new", "metadata", "text", "extra"}
