package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// Stages a record can fail at.
const (
	stageDecode = "decode"
	stageWrite  = "write"
)

// maxAhead is how far in the future an event may have happened: further is a clock fault, and would stay
// at the head of every query for years.
const maxAhead = 24 * time.Hour

// decodeError is what makes a record a letter before it is written.
type decodeError struct {
	reason string
	err    error
}

func (e *decodeError) Error() string { return e.err.Error() }
func (e *decodeError) Unwrap() error { return e.err }

// decoder turns records into rows. It is not for concurrent use.
type decoder struct {
	headers []firetrail.Header // reused
}

// decode checks rec and fills row from it; row shares rec's memory.
func (d *decoder) decode(rec *kgo.Record, now time.Time, row *sinkers.Row) *decodeError {
	d.headers = d.headers[:0]
	for _, h := range rec.Headers {
		d.headers = append(d.headers, firetrail.Header{Key: h.Key, Value: h.Value})
	}
	e, err := firetrail.DecodeCloudEvent(firetrail.Message{
		Key: rec.Key, Value: rec.Value, Headers: d.headers, Time: rec.Timestamp,
	})
	if err == nil && e.Tenant != string(rec.Key) {
		err = &firetrail.DecodeError{Field: "tenantid", Err: fmt.Errorf("%q, but the record's key is %q", e.Tenant, rec.Key)}
	}
	if err != nil {
		return &decodeError{reasonOf(err), err}
	}
	if err := e.Validate(); err != nil {
		return &decodeError{dlq.ReasonInvalid, err}
	}
	if ahead := e.Time.Sub(now); ahead > maxAhead {
		return &decodeError{dlq.ReasonInvalid, fmt.Errorf("time: %s is %v in the future; the most is %v",
			e.Time.UTC().Format(time.RFC3339), ahead.Round(time.Hour), maxAhead)}
	}
	row.Event = e
	row.Hash = row.ContentHash()
	return nil
}

// reasonOf tells a record that is no event from an event that breaks a rule.
func reasonOf(err error) string {
	var d *firetrail.DecodeError
	if !errors.As(err, &d) {
		return dlq.ReasonUndecodable
	}
	switch d.Field {
	case "tenantid":
		return dlq.ReasonTenantMismatch
	case "id", "time":
		return dlq.ReasonInvalid
	default:
		return dlq.ReasonUndecodable
	}
}
