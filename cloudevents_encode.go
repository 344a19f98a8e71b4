package firetrail

import (
	"errors"
	"fmt"
)

// AppendCloudEvent appends the event in its wire form (see the top of this package's cloudevents.go for
// the layout) and returns the longer slice. The encoding is the same, byte for byte, whenever the event is. The
// event must be whole: valid, and with ID, Time and Source, which the producer gives. Values are checked and written
// without their white space; strings that are not UTF-8 are written with U+FFFD for each bad byte.
// An error names the field, and leaves dst as it was.
func (e *Event) AppendCloudEvent(dst []byte) ([]byte, error) {
	if err := e.wireable(); err != nil {
		return dst, err
	}
	x, err := parseExtra(e)
	if err != nil {
		return dst, fmt.Errorf("extra: %w", err)
	}
	out := e.appendAttributes(dst, &x)
	if out, err = e.appendData(out, &x); err != nil {
		return dst, err
	}
	return append(out, '}'), nil
}

// wireable reports what keeps the event from being written.
func (e *Event) wireable() error {
	err := e.Validate()
	if e.ID.IsZero() {
		err = errors.Join(err, errors.New("id: missing; the producer gives it"))
	}
	if e.Time.IsZero() {
		err = errors.Join(err, errors.New("time: missing; the producer gives it"))
	}
	if e.Source == "" {
		err = errors.Join(err, errors.New("source: missing; the producer gives it"))
	}
	if !e.Recorded.IsZero() {
		if bad := checkTime(e.Recorded); bad != nil {
			err = errors.Join(err, fmt.Errorf("recorded: %w", bad))
		}
	}
	return err
}

func (e *Event) appendAttributes(dst []byte, x *extra) []byte {
	dst = append(dst, `{"specversion":"1.0","id":"`...)
	dst = e.ID.append(dst)
	dst = appendString(append(dst, `","source":`...), e.Source)
	dst = append(dst, `,"type":"`...)
	dst = append(dst, e.Action.s...) // letters, digits and "._-" only
	dst = append(dst, `","time":"`...)
	timeAt := len(dst)
	dst = append(appendTime(dst, e.Time), '"')
	if e.Entity.ID != "" {
		dst = append(dst, `,"subject":"`...)
		dst = append(appendText(dst, e.kind()), '/')
		dst = append(appendText(dst, e.Entity.ID), '"')
	}
	dst = append(dst, `,"datacontenttype":"application/json"`...)
	if e.Tenant != "" {
		dst = appendString(append(dst, `,"tenantid":`...), e.Tenant)
	}
	if e.Seq != 0 {
		dst = append(dst, `,"sequence":"`...)
		dst = append(appendDigits(dst, e.Seq, 20), '"')
	}
	if !e.Recorded.IsZero() {
		dst = append(dst, `,"recordedtime":"`...)
		if e.Recorded.Equal(e.Time) { // nearly always
			dst = append(append(dst, dst[timeAt:timeAt+timeLen]...), '"')
		} else {
			dst = append(appendTime(dst, e.Recorded), '"')
		}
	}
	if e.Request.Traceparent != "" {
		dst = appendString(append(dst, `,"traceparent":`...), e.Request.Traceparent)
	}
	return x.attributes.appendTo(dst)
}

// kind is the entity's type, which defaults to the action's noun.
func (e *Event) kind() string {
	if e.Entity.Type == "" {
		return e.Action.Noun()
	}
	return e.Entity.Type
}

func (e *Event) appendData(dst []byte, x *extra) ([]byte, error) {
	dst = append(dst, `,"data":{`...)
	dst = appendObject(dst, "actor", &x.actor, textMember{"type", e.Actor.Type},
		textMember{"id", e.Actor.ID}, textMember{"name", e.Actor.Name})
	dst = appendObject(dst, "entity", &x.entity, textMember{"type", e.kind()},
		textMember{"id", e.Entity.ID})
	dst = append(comma(dst), `"outcome":"`...)
	dst = append(append(dst, e.Outcome.String()...), '"')
	var err error
	if dst, err = appendValue(dst, "old", e.Old); err != nil {
		return dst, err
	}
	if dst, err = appendValue(dst, "new", e.New); err != nil {
		return dst, err
	}
	if dst, err = appendValue(dst, "metadata", e.Metadata); err != nil {
		return dst, err
	}
	dst = appendObject(dst, "request", &x.request, textMember{"ip", e.Request.IP},
		textMember{"user_agent", e.Request.UserAgent}, textMember{"id", e.Request.ID})
	dst = appendTruncated(dst, e.Truncated)
	dst = x.data.appendTo(dst)
	return append(dst, '}'), nil
}

// comma appends a comma, unless dst ends where an object has just begun.
func comma(dst []byte) []byte {
	if dst[len(dst)-1] == '{' {
		return dst
	}
	return append(dst, ',')
}

type textMember struct{ name, text string }

// appendObject appends the member name with an object of those texts that aren't empty and the members in
// more, or nothing when there are none.
func appendObject(dst []byte, name string, more *members, texts ...textMember) []byte {
	at := len(dst)
	dst = append(append(append(comma(dst), '"'), name...), `":{`...)
	begin := len(dst)
	for _, m := range texts {
		if m.text != "" {
			dst = append(append(append(comma(dst), '"'), m.name...), `":`...)
			dst = appendString(dst, m.text)
		}
	}
	dst = more.appendTo(dst)
	if len(dst) == begin {
		return dst[:at]
	}
	return append(dst, '}')
}

func appendValue(dst []byte, name string, v Value) ([]byte, error) {
	if v.IsZero() {
		return dst, nil
	}
	raw := v.raw
	if v.v != nil {
		var err error
		if raw, err = appendGo(nil, v.v); err != nil {
			return dst, fmt.Errorf("%s: %w", name, err)
		}
	}
	dst = append(append(append(comma(dst), '"'), name...), `":`...)
	dst, err := appendCompact(dst, raw)
	if err != nil {
		return dst, fmt.Errorf("%s: %w", name, err)
	}
	return dst, nil
}

func appendTruncated(dst []byte, t Truncated) []byte {
	if t &= truncatedAll; t == 0 {
		return dst
	}
	dst = append(comma(dst), `"truncated":[`...)
	for i, name := range truncatedNames {
		if t&(1<<i) != 0 {
			dst = append(append(append(dst, '"'), name...), `",`...)
		}
	}
	dst[len(dst)-1] = ']'
	return dst
}
