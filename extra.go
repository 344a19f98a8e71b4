package firetrail

import (
	"errors"
	"fmt"
)

// member is a member of a JSON object: its name, and its value as compact JSON.
type member struct {
	name  string
	value []byte
}

// members are the members of one object, in order, each name once.
type members struct {
	list  []member
	index map[string]struct{} // of list, once it is long
}

// add appends a member, and reports whether the name is new.
func (m *members) add(name string, value []byte) bool {
	const long = 16
	if m.index == nil {
		for i := range m.list {
			if m.list[i].name == name {
				return false
			}
		}
		if len(m.list) == long {
			m.index = make(map[string]struct{}, 2*long)
			for i := range m.list {
				m.index[m.list[i].name] = struct{}{}
			}
		}
	}
	if m.index != nil {
		if _, dup := m.index[name]; dup {
			return false
		}
		m.index[name] = struct{}{}
	}
	m.list = append(m.list, member{name, value})
	return true
}

// appendTo appends the members to the inside of an object.
func (m *members) appendTo(dst []byte) []byte {
	for i := range m.list {
		dst = append(appendString(comma(dst), m.list[i].name), ':')
		dst = append(dst, m.list[i].value...)
	}
	return dst
}

// extra is what an event's Extra holds: the parts of a foreign or newer producer's event that an Event has no
// field for, each at the place it came from.
//
//	{"attributes":{…},                        CloudEvents attributes
//	 "data":{"actor":{…},"entity":{…},"request":{…},   members of those objects
//	         …}}                              members of data
//
// A part whose name an Event knows, but whose content doesn't fit the field (an actor that is a string, a
// sequence that is no number), is here too, under its name with "foreign" (attributes) or "foreign_"
// (members) before it. So no name in here is one that the encoder writes itself.
type extra struct {
	attributes, data       members
	actor, entity, request members
}

// value returns x as the Extra of an event.
func (x *extra) value() Value {
	if len(x.attributes.list)+len(x.data.list)+len(x.actor.list)+len(x.entity.list)+len(x.request.list) == 0 {
		return Value{}
	}
	b := appendObject([]byte{'{'}, "attributes", &x.attributes)
	at := len(b)
	b = append(comma(b), `"data":{`...)
	begin := len(b)
	b = appendObject(b, "actor", &x.actor)
	b = appendObject(b, "entity", &x.entity)
	b = appendObject(b, "request", &x.request)
	b = x.data.appendTo(b)
	if len(b) == begin {
		b = b[:at]
	} else {
		b = append(b, '}')
	}
	return Value{raw: append(b, '}')}
}

// parseExtra reads the event's Extra, which a caller may have made up.
func parseExtra(e *Event) (x extra, err error) {
	if e.Extra.IsZero() {
		return x, nil
	}
	raw := e.Extra.raw
	if e.Extra.v != nil {
		if raw, err = appendGo(nil, e.Extra.v); err != nil {
			return x, err
		}
	}
	// Compact bytes of its own: members are parts of them.
	if raw, err = appendCompact(nil, raw); err != nil {
		return x, err
	}
	err = eachMember(raw, func(name string, value []byte) error {
		switch name {
		case "attributes":
			return addEach(&x.attributes, name, value, checkAttributeName)
		case "data":
			return eachMember(value, x.addData)
		}
		return fmt.Errorf("%q is neither attributes nor data", name)
	})
	return x, err
}

func (x *extra) addData(name string, value []byte) error {
	var into *members
	var known func(string) error
	switch name {
	case "actor":
		into, known = &x.actor, knownIn("type", "id", "name")
	case "entity":
		into, known = &x.entity, knownIn("type", "id")
	case "request":
		into, known = &x.request, knownIn("ip", "user_agent", "id")
	case "outcome", "old", "new", "metadata", "truncated":
		return fmt.Errorf("data.%s is the event's own", name)
	default:
		if !x.data.add(name, value) {
			return fmt.Errorf("data.%s: twice", name)
		}
		return nil
	}
	return addEach(into, "data."+name, value, known)
}

func knownIn(names ...string) func(string) error {
	return func(name string) error {
		for _, n := range names {
			if n == name {
				return errors.New("is the event's own")
			}
		}
		return nil
	}
}

// addEach adds the members of the object in value that pass the check.
func addEach(into *members, where string, value []byte, check func(name string) error) error {
	return eachMember(value, func(name string, value []byte) error {
		if err := check(name); err != nil {
			return fmt.Errorf("%s.%s: %w", where, name, err)
		}
		if where == "attributes" && string(value) == "null" {
			return nil // to CloudEvents it is not there
		}
		if !into.add(name, value) {
			return fmt.Errorf("%s.%s: twice", where, name)
		}
		return nil
	})
}

// eachMember calls f for the members of the object in raw, which is compact and valid.
func eachMember(raw []byte, f func(name string, value []byte) error) error {
	s := scanner{b: raw}
	if err := s.open(); err != nil {
		return err
	}
	for first := true; ; {
		t, more, err := s.member(&first)
		if err != nil || !more {
			return err
		}
		name := unescape(raw[t.lo:t.hi])
		lo, hi, _, err := s.skip()
		if err != nil {
			return err
		}
		if err := f(name, raw[lo:hi]); err != nil {
			return err
		}
	}
}

// checkAttributeName reports why an attribute may not be carried in Extra.
func checkAttributeName(name string) error {
	if attrIndex(name) >= 0 || name == "data" || name == "data_base64" {
		return errors.New("is the event's own")
	}
	return checkAttributeForm(name)
}

// checkAttributeForm lets '_' and '-' pass beside what CloudEvents allows, since producers use them. Upper
// case it does not: a reader that ignores case, as Go's own JSON package does, would take "ID" for "id".
func checkAttributeForm(name string) error {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return errors.New("bad name; want lower-case letters and digits")
		}
	}
	if name == "" {
		return errors.New("empty name")
	}
	return nil
}
