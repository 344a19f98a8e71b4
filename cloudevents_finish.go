package firetrail

import (
	"strconv"
	"strings"
	"time"
)

// finish makes the event of what was read.
func (d *decoder) finish(m *Message) (err error) {
	if v := d.attrs[attrSpecVersion]; v != "1.0" {
		return decodeErrorf("specversion", "%.40q; want \"1.0\"", v)
	}
	if d.e.Action, err = ParseName(d.attrs[attrType]); err != nil {
		return decodeError("type", err)
	}
	if d.e.Source = d.attrs[attrSource]; d.e.Source == "" {
		return decodeErrorf("source", "missing")
	}
	if err = d.identity(m.Time); err != nil {
		return err
	}
	if err = d.tenant(m.Key); err != nil {
		return err
	}
	if err = d.subject(); err != nil {
		return err
	}
	if err = d.optional(); err != nil {
		return err
	}
	d.e.Extra = d.x.value()
	return nil
}

// identity sets ID and Time, each of which may have to be made of the other.
func (d *decoder) identity(recordTime time.Time) (err error) {
	given := d.attrs[attrID]
	if given == "" {
		return decodeErrorf("id", "missing")
	}
	id, err := ParseID(given)
	own := err == nil && id.isV7()
	switch s := d.attrs[attrTime]; {
	case s != "":
		if d.e.Time, err = parseTime(s); err != nil {
			return decodeErrorf("time", "%.40q is not RFC 3339", s)
		}
	case own:
		d.e.Time = time.UnixMilli(id.Time().UnixMilli()).UTC()
	case recordTime.IsZero():
		return decodeErrorf("time", "missing, and the record has no timestamp either")
	default:
		d.e.Time = recordTime.Truncate(time.Microsecond).UTC()
	}
	if err := checkTime(d.e.Time); err != nil {
		return decodeError("time", err)
	}
	if !own {
		d.e.ID = foreignIDFrom(d.e.Time, d.e.Source, given)
		return d.misfitText(attrID)
	}
	d.e.ID = id
	if err := id.checkFor(d.e.Time); err != nil {
		return decodeError("id", err)
	}
	return nil
}

// foreignIDFrom is the id of an event that another producer calls id. The length keeps
// (a, bc) and (ab, c) apart, whatever bytes are in them.
func foreignIDFrom(t time.Time, source, id string) ID {
	return IDFrom(t, strconv.Itoa(len(source))+":"+source+id)
}

func (d *decoder) tenant(key []byte) error {
	t := d.attrs[attrTenant]
	switch {
	case d.seen&(1<<attrTenant) == 0:
		t = string(key)
	case t != string(key):
		return decodeErrorf("tenantid", "%.140q, but the record's key is %.140q", t, key)
	}
	if err := checkTenant(t); err != nil {
		return decodeError("tenantid", err)
	}
	d.e.Tenant = t
	return nil
}

// subject sets what is missing of the entity.
func (d *decoder) subject() error {
	e := &d.e.Entity
	if e.Type == "" {
		e.Type = d.e.Action.Noun()
	}
	s := d.attrs[attrSubject]
	switch {
	case s == "":
		return nil
	case e.ID == "":
		e.ID = s
		if rest, ok := strings.CutPrefix(s, e.Type+"/"); ok && rest != "" {
			e.ID = rest
		}
		return nil
	case e.isSubject(s):
		return nil
	}
	return d.misfitText(attrSubject)
}

// isSubject reports whether s is the subject of an event about e.
func (e *Entity) isSubject(s string) bool {
	return len(s) == len(e.Type)+1+len(e.ID) && s[:len(e.Type)] == e.Type && s[len(e.Type)] == '/' && s[len(e.Type)+1:] == e.ID
}

// optional sets what an event can do without.
func (d *decoder) optional() error {
	if s := d.attrs[attrSequence]; s != "" {
		n, err := parseSequence(s)
		if err != nil {
			if err := d.misfitText(attrSequence); err != nil {
				return err
			}
		} else {
			d.e.Seq = n
		}
	}
	if s := d.attrs[attrRecorded]; s != "" {
		t, err := parseTime(s)
		if err == nil {
			err = checkTime(t)
		}
		if err != nil {
			if err := d.misfitText(attrRecorded); err != nil {
				return err
			}
		} else {
			d.e.Recorded = t
		}
	}
	d.e.Request.Traceparent = d.attrs[attrTraceparent]
	if s := d.attrs[attrDataContentType]; s != "" && s != "application/json" {
		return d.misfitText(attrDataContentType)
	}
	return nil
}
