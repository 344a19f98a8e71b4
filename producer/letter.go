package producer

import (
	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
)

// fit says why an event may not be sent, nil where it may. The type of its record decides who wrote it: only the
// producer itself ends a source.
func fit(typ byte, e *firetrail.Event) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if typ == recordClosing {
		return nil
	}
	return e.Action.CheckReserved()
}

// letter is the dead letter of a record of the log: what would have been sent, or where that can't be made, its
// bytes. Without a why that is found out here, and in the letter's reason.
func (p *Producer) letter(typ byte, enc []byte, reason string, why error) dlq.Letter {
	l := dlq.Letter{
		Reason: reason, Stage: "ship", Topic: p.cfg.Topic, Partition: -1, FirstFailed: p.cfg.Clock().UTC(),
	}
	e, err := firetrail.DecodeBinary(enc)
	if err != nil {
		l.ID, l.Value, l.Reason, l.Error = newSource(), append([]byte(nil), enc...), dlq.ReasonUndecodable, err.Error()
		return l
	}
	l.Topic = p.routes.topic(e.Tenant)
	l.ID, l.Tenant, l.Key = e.ID.String(), e.Tenant, append([]byte{}, e.Tenant...)
	value, err := e.AppendCloudEvent(nil)
	if err == nil && typ == recordEvent {
		err = e.Action.CheckReserved() // redriven as a CloudEvent it would be taken for what it claims to be
	}
	if err != nil {
		l.Value = append([]byte(nil), enc...)
		l.Headers = []dlq.Header{{Key: firetrail.ContentTypeHeader, Value: []byte(binaryContentType)}}
	} else {
		l.Value = value
		for _, h := range firetrail.CloudEventHeaders() {
			l.Headers = append(l.Headers, dlq.Header{Key: h.Key, Value: h.Value})
		}
		err = fit(typ, &e)
	}
	switch {
	case why != nil:
		l.Error = why.Error()
	case err != nil:
		l.Reason, l.Error = dlq.ReasonInvalid, err.Error()
	}
	return l
}

// binaryContentType marks the value of a letter that holds an event in its binary form, because no CloudEvent
// can, or may, be made of it.
const binaryContentType = "application/vnd.firetrail.event"
