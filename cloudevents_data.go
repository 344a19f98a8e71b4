package firetrail

import "errors"

var errTwice = errors.New("given twice")

// The members of data that an event has a field for.
const (
	dataActor = iota
	dataEntity
	dataOutcome
	dataOld
	dataNew
	dataMetadata
	dataRequest
	dataTruncated
)

func dataIndex(name string) int {
	switch name {
	case "actor":
		return dataActor
	case "entity":
		return dataEntity
	case "outcome":
		return dataOutcome
	case "old":
		return dataOld
	case "new":
		return dataNew
	case "metadata":
		return dataMetadata
	case "request":
		return dataRequest
	case "truncated":
		return dataTruncated
	}
	return -1
}

// data reads data, which is called name.
func (d *decoder) data(name string) error {
	if name == "data" && d.peek() == '{' {
		return d.dataObject()
	}
	v, err := d.value()
	if err != nil {
		return decodeError(name, err)
	}
	if string(v) == "null" {
		return nil
	}
	if name == wrappedBase64 && v[0] != '"' {
		return decodeErrorf(name, "not a string")
	}
	d.x.data.add(name, v)
	return nil
}

// dataObject reads data that is an object.
func (d *decoder) dataObject() error {
	if err := d.open(); err != nil {
		return decodeError("data", err)
	}
	seen := 0
	for first := true; ; {
		t, more, err := d.member(&first)
		if err != nil {
			return decodeError("data", err)
		}
		if !more {
			return nil
		}
		name := d.str(t)
		k := dataIndex(name)
		if k >= 0 {
			if seen&(1<<k) != 0 {
				return decodeError("data."+name, errTwice)
			}
			seen |= 1 << k
		}
		if err := d.dataMember(k, name); err != nil {
			return err
		}
	}
}

// dataMember reads the value of a member of data, the k-th of those known or one unknown.
func (d *decoder) dataMember(k int, name string) error {
	switch k {
	case dataActor:
		a := &d.e.Actor
		return d.object(name, &d.x.actor, textField{"type", &a.Type}, textField{"id", &a.ID}, textField{"name", &a.Name})
	case dataEntity:
		n := &d.e.Entity
		return d.object(name, &d.x.entity, textField{"type", &n.Type}, textField{"id", &n.ID})
	case dataRequest:
		r := &d.e.Request
		return d.object(name, &d.x.request, textField{"ip", &r.IP}, textField{"user_agent", &r.UserAgent}, textField{"id", &r.ID})
	}
	v, err := d.value()
	if err != nil {
		return decodeError("data."+name, err)
	}
	switch k {
	case dataOutcome:
		return d.outcome(v)
	case dataOld:
		d.e.Old.raw = v
	case dataNew:
		d.e.New.raw = v
	case dataMetadata:
		d.e.Metadata.raw = v
	case dataTruncated:
		return d.truncated(v)
	default:
		return d.extraMember(&d.x.data, "data.", name, v)
	}
	return nil
}

func (d *decoder) extraMember(into *members, where, name string, v []byte) error {
	if !into.add(name, v) {
		return decodeError(where+name, errTwice)
	}
	return nil
}

// outcome takes only what an event can say: any other word, stored as the default, would turn a failure into
// a success.
func (d *decoder) outcome(v []byte) error {
	switch string(v) {
	case "null", `"success"`:
	case `"failure"`:
		d.e.Outcome = Failure
	case `"denied"`:
		d.e.Outcome = Denied
	default:
		return decodeErrorf("data.outcome", "%.40s is none of success, failure, denied", v)
	}
	return nil
}

// truncated reads the array of the names of what was cut.
func (d *decoder) truncated(v []byte) error {
	var cut Truncated
	s := scanner{b: v}
	ok := string(v) == "null" || string(v) == "[]"
	for first := byte('['); !ok && s.byteIs(first); first = ',' {
		s.i++
		if !s.byteIs('"') {
			break
		}
		t, _ := s.readText() // valid: it is part of v
		bit := truncatedBit(string(v[t.lo:t.hi]))
		if bit == 0 {
			break
		}
		cut |= bit
		ok = s.i == len(v)-1 && v[s.i] == ']'
	}
	if !ok {
		return d.extraMember(&d.x.data, "data.", "foreign_truncated", v)
	}
	d.e.Truncated = cut
	return nil
}

func truncatedBit(name string) Truncated {
	for i, n := range truncatedNames {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

type textField struct {
	name string
	to   *string
}

// object reads a member of data that is an object of texts.
func (d *decoder) object(name string, more *members, fields ...textField) error {
	if d.peek() != '{' {
		v, err := d.value()
		if err != nil {
			return decodeError("data."+name, err)
		}
		if string(v) == "null" {
			return nil
		}
		return d.extraMember(&d.x.data, "data.", "foreign_"+name, v)
	}
	d.i++
	seen := 0
	for first := true; ; {
		t, more1, err := d.member(&first)
		if err != nil {
			return decodeError("data."+name, err)
		}
		if !more1 {
			return nil
		}
		if err := d.objectMember(name, d.str(t), more, fields, &seen); err != nil {
			return err
		}
	}
}

func (d *decoder) objectMember(object, name string, more *members, fields []textField, seen *int) error {
	k := 0
	for k < len(fields) && fields[k].name != name {
		k++
	}
	known := k < len(fields)
	if known {
		if *seen&(1<<k) != 0 {
			return decodeError("data."+object+"."+name, errTwice)
		}
		*seen |= 1 << k
		if d.peek() == '"' {
			t, err := d.readText()
			if err != nil {
				return decodeError("data."+object+"."+name, err)
			}
			*fields[k].to = d.str(t)
			return nil
		}
	}
	v, err := d.value()
	switch {
	case err != nil:
		return decodeError("data."+object+"."+name, err)
	case known && string(v) == "null":
		return nil
	case known:
		name = "foreign_" + name
	}
	return d.extraMember(more, "data."+object+".", name, v)
}
