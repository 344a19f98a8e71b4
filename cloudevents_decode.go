package firetrail

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// DecodeCloudEvent reads the event in a record: CloudEvents 1.0 by its Kafka protocol binding, in
// structured mode (JSON format; also without a content-type header, where the value says specversion) or
// in binary mode (ce_ headers). It never panics, and what it returns without an error is valid.
//
// Events of other producers are taken too. An id that isn't a UUIDv7 becomes [IDFrom] the event's time and
// the length-prefixed source and the id, so that the same event always gets the same id; a UUIDv7 stays, and must be
// of the event's time. A missing time is that of a UUIDv7, else the record's. A missing tenantid is the
// key; one that is given must equal it. A subject without data.entity.id is the entity's id. Whatever
// else an [Event] has no field for is kept in Extra, at its place:
//
//	{"attributes":{"foreignid":"42","dataschema":"…"},"data":{"actor":{"role":"admin"},"amount":7}}
//
// and so is what has a known name but doesn't fit, under "foreign" and its name. Data that is no JSON
// object becomes a member "data" there, binary data a member "data_base64". An outcome that isn't
// one of ours is an error, as is a member given twice, since two readers could read it differently.
//
// The event's texts and values are parts of m.Value, but for those with escapes or white space in them: m.Value must
// not be changed as long as the event is in use, and what shall outlive the event, such as a tenant that
// becomes a map's key, is better cloned. Errors are of type [*DecodeError].
func DecodeCloudEvent(m Message) (Event, error) {
	var d Decoder
	var e Event
	if err := d.decode(&m, &e); err != nil {
		return Event{}, err
	}
	return e, nil
}

// Decoder reads many records, one after the other, with memory of its own that it uses again. The zero Decoder is ready
// for use. Its method must not be called concurrently.
type Decoder struct {
	d      decoder
	hashed []byte
}

// Decode is [DecodeCloudEvent], into e, and returns the event's content hash too, which costs less here than by
// [Event.ContentHash]: of what was just read it is known that it is valid and compact. With an error e is zero.
func (d *Decoder) Decode(m *Message, e *Event) (hash [16]byte, err error) {
	if err := d.decode(m, e); err != nil {
		*e = Event{}
		return hash, err
	}
	b := e.appendHeadHashed(d.hashed[:0], false)
	for _, v := range [...]*Value{&e.Old, &e.New, &e.Metadata, &e.Extra} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v.raw)))
		b = append(b, v.raw...)
	}
	sum := sha256.Sum256(b)
	if cap(b) > keptHashed {
		b = nil
	}
	d.hashed = b
	return [16]byte(sum[:16]), nil
}

// keptHashed is the most memory that a Decoder keeps for the next event.
const keptHashed = 256 << 10

func (d *Decoder) decode(m *Message, e *Event) error {
	if len(m.Value) > MaxMessage {
		return decodeErrorf("value", "%d bytes; the most is %d", len(m.Value), MaxMessage)
	}
	// Before the headers are looked at: they lie behind the value, and are on their way to the processor's cache once that was read.
	own := readOwn(m, e)
	mode, contentType, err := modeOf(m.Headers)
	if err != nil {
		return err
	}
	if own && mode == structuredMode {
		return nil
	}
	*e = Event{}
	d.d = decoder{scanner: scanner{b: m.Value}, e: e}
	if mode == binaryMode {
		err = d.d.binary(m.Headers, contentType)
	} else {
		err = d.d.structured(contentType)
	}
	if err == nil {
		err = d.d.finish(m)
	}
	d.d.e = nil
	return err
}

// mode is the content mode of a record.
type mode int

const (
	structuredMode mode = iota
	binaryMode
)

// modeOf tells the content mode, as the Kafka protocol binding says: by the content type first.
func modeOf(headers []Header) (m mode, contentType string, err error) {
	given := false
	for i := range headers {
		h := &headers[i]
		switch {
		case h.Key == "ce_specversion":
			m = binaryMode
		case h.Key == ContentTypeHeader || strings.EqualFold(h.Key, ContentTypeHeader):
			if given {
				return m, "", decodeErrorf(ContentTypeHeader, "given twice")
			}
			given = true
			if string(h.Value) == ContentType {
				contentType = ContentType // the usual one, without an allocation
			} else {
				contentType = string(h.Value)
			}
		}
	}
	switch kind := mediaType(contentType); {
	case kind == ContentType:
		return structuredMode, contentType, nil
	case strings.HasPrefix(kind, "application/cloudevents"):
		return m, "", decodeErrorf(ContentTypeHeader, "%.100q is not supported; want %s", contentType, ContentType)
	}
	return m, contentType, nil
}

// mediaType returns the media type of a content type, without its parameters.
func mediaType(contentType string) string {
	if contentType == ContentType {
		return contentType
	}
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

func isJSON(contentType string) bool {
	kind := mediaType(contentType)
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}

// decoder reads one event.
type decoder struct {
	scanner
	all   string            // b as a string, for texts to be parts of
	attrs [attrCount]string // of the attributes seen
	seen  uint              // attributes, a set of bits
	x     extra
	e     *Event
}

func (d *decoder) structured(contentType string) error {
	if !utf8.Valid(d.b) {
		return decodeError("value", errNotUTF8)
	}
	if d.peek() != '{' {
		return decodeErrorf("value", "not a CloudEvent: no JSON object, and no ce_specversion header")
	}
	d.all = unsafe.String(unsafe.SliceData(d.b), len(d.b))
	if err := d.attributes(); err != nil {
		return err
	}
	if err := d.end(); err != nil {
		return decodeError("value", err)
	}
	if contentType != ContentType && d.seen&(1<<attrSpecVersion) == 0 {
		return decodeErrorf("value", "not a CloudEvent: no specversion, and no content type that says so")
	}
	return nil
}

// str returns a text of the value as a string.
func (d *decoder) str(t text) string {
	if t.escaped {
		return unescape(d.b[t.lo:t.hi])
	}
	return d.all[t.lo:t.hi]
}

// attributes reads the event's object.
func (d *decoder) attributes() error {
	if err := d.open(); err != nil {
		return decodeError("value", err)
	}
	dataSeen := ""
	for first := true; ; {
		t, more, err := d.member(&first)
		if err != nil {
			return decodeError("value", err)
		}
		if !more {
			return nil
		}
		name := d.str(t)
		if name == "data" || name == wrappedBase64 {
			if dataSeen != "" {
				return decodeErrorf(name, "given beside %s", dataSeen)
			}
			dataSeen = name
			err = d.data(name)
		} else {
			err = d.attribute(name)
		}
		if err != nil {
			return err
		}
	}
}

// attribute reads the value of an attribute.
func (d *decoder) attribute(name string) error {
	k := attrIndex(name)
	if k < 0 {
		return d.unknownAttribute(name)
	}
	if err := d.see(k); err != nil {
		return err
	}
	if d.peek() == '"' {
		t, err := d.readText()
		if err != nil {
			return decodeError(name, err)
		}
		d.attrs[k] = d.str(t)
		return nil
	}
	v, err := d.value()
	switch {
	case err != nil:
		return decodeError(name, err)
	case string(v) == "null": // the same as leaving it out
		return nil
	case k == attrSequence && isDigits(v):
		d.attrs[k] = string(v)
		return nil
	case k == attrSubject || k >= attrDataContentType && k != attrTenant:
		return d.misfit(k, v)
	}
	return decodeErrorf(name, "%.40s is not a string", v)
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// see notes that known attribute k is there.
func (d *decoder) see(k int) error {
	if d.seen&(1<<k) != 0 {
		return decodeErrorf(attrNames[k], "given twice")
	}
	d.seen |= 1 << k
	return nil
}

// value reads the next value and returns it as compact JSON.
func (d *decoder) value() ([]byte, error) {
	lo, hi, spaced, err := d.skip()
	switch {
	case err != nil:
		return nil, err
	case spaced:
		return appendSpan(make([]byte, 0, hi-lo), d.b[lo:hi], true), nil
	}
	return d.b[lo:hi:hi], nil
}

func (d *decoder) unknownAttribute(name string) error {
	v, err := d.value()
	if err != nil {
		return decodeError(name, err)
	}
	if string(v) == "null" {
		return nil
	}
	return d.extraAttribute(name, v)
}

func (d *decoder) extraAttribute(name string, v []byte) error {
	if err := checkAttributeForm(name); err != nil {
		return decodeErrorf("attribute", "%.40q: %w", name, err)
	}
	if !d.x.attributes.add(name, v) {
		return decodeErrorf(name, "given twice")
	}
	return nil
}

// misfit keeps a known attribute whose value has no place in an Event.
func (d *decoder) misfit(k int, v []byte) error {
	return d.extraAttribute("foreign"+attrNames[k], v)
}

func (d *decoder) misfitText(k int) error {
	return d.misfit(k, appendString(nil, d.attrs[k]))
}
