package sinkers

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Validate reports everything that makes the row unfit to be stored, each problem naming its field: what
// [firetrail.Event.Validate] finds, a missing id or time, and texts that are not UTF-8, which no
// database would give back as they were. It does not look into the values.
func (r *Row) Validate() error {
	err := r.Event.Validate()
	if err == nil && !r.ID.IsZero() && !r.Time.IsZero() && r.validTexts() {
		return nil // the usual case, without an allocation
	}
	errs := []error{err}
	if r.ID.IsZero() {
		errs = append(errs, errors.New("id: missing"))
	}
	if r.Time.IsZero() {
		errs = append(errs, errors.New("time: missing"))
	}
	for _, t := range r.texts() {
		if !utf8.ValidString(t.text) {
			errs = append(errs, fmt.Errorf("%s: %.80q is not valid UTF-8", t.field, t.text))
		}
	}
	return errors.Join(errs...)
}

func (r *Row) validTexts() bool {
	return utf8.ValidString(r.Actor.Type) && utf8.ValidString(r.Actor.ID) && utf8.ValidString(r.Actor.Name) &&
		utf8.ValidString(r.Entity.Type) && utf8.ValidString(r.Entity.ID) &&
		utf8.ValidString(r.Request.IP) && utf8.ValidString(r.Request.UserAgent) &&
		utf8.ValidString(r.Request.ID) && utf8.ValidString(r.Request.Traceparent) && utf8.ValidString(r.Source)
}

type namedText struct{ field, text string }

func (r *Row) texts() [10]namedText {
	return [...]namedText{
		{"actor type", r.Actor.Type},
		{"actor id", r.Actor.ID},
		{"actor name", r.Actor.Name},
		{"entity type", r.Entity.Type},
		{"entity id", r.Entity.ID},
		{"ip", r.Request.IP},
		{"user agent", r.Request.UserAgent},
		{"request id", r.Request.ID},
		{"traceparent", r.Request.Traceparent},
		{"source", r.Source},
	}
}
