package firetrail

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// ownReader reads an event laid out as [Event.AppendCloudEvent] lays it out, which is nearly every one, at a fraction of the
// decoder's cost: the names are compared where they must stand instead of being read and looked up, and the event is
// written once, when all of it is known. It decides nothing: whatever isn't plain (another order, white space, members it has no
// field for, an id that isn't ours, a tenant that isn't the key, anything invalid) it leaves to the decoder.
type ownReader struct {
	b    []byte
	i    int    // the next byte to read
	seen uint64 // what was read of texts and values; see isASCII
	all  string // b as a string, for texts to be parts of
	text struct {
		id, source, action, time, subject, tenant, sequence, recorded, traceparent    span
		actorType, actorID, actorName, entityType, entityID, ip, userAgent, requestID span
	}
	value   struct{ old, new, metadata span }
	outcome Outcome
}

// span is where in the bytes something lies: a text without its quotes. The zero span is empty.
type span struct {
	lo, hi  int
	escaped bool
}

// readOwn reads the event in m, which is in structured mode, into e. If it returns false e is as it was.
func readOwn(m *Message, e *Event) bool {
	r := ownReader{b: m.Value}
	if !r.next(`{"specversion":"1.0","id":"`) {
		return false
	}
	r.all = unsafe.String(unsafe.SliceData(r.b), len(r.b))
	return r.attributes() && r.next(`,"data":{`) && r.data() && r.next("}}") && r.i == len(r.b) &&
		(isASCII(r.seen) || utf8.Valid(r.b)) && r.finish(m.Key, e)
}

// next reads s, if that is what comes next.
func (r *ownReader) next(s string) bool {
	if end := r.i + len(s); end <= len(r.b) && string(r.b[r.i:end]) == s {
		r.i = end
		return true
	}
	return false
}

// read reads a text up to its closing quote; the opening one was read.
func (r *ownReader) read(to *span) bool {
	end, seen, escaped := compactText(r.b, r.i)
	r.seen |= seen
	if end < 0 {
		return false
	}
	*to = span{r.i, end - 1, escaped}
	r.i = end
	return true
}

// str returns a text as a string.
func (r *ownReader) str(s *span) string {
	if s.escaped {
		return unescape(r.b[s.lo:s.hi])
	}
	return r.all[s.lo:s.hi]
}

func (r *ownReader) attributes() bool {
	t := &r.text
	return r.read(&t.id) &&
		r.next(`,"source":"`) && r.read(&t.source) &&
		r.next(`,"type":"`) && r.read(&t.action) &&
		r.next(`,"time":"`) && r.read(&t.time) &&
		(!r.next(`,"subject":"`) || r.read(&t.subject)) &&
		r.next(`,"datacontenttype":"application/json"`) &&
		(!r.next(`,"tenantid":"`) || r.read(&t.tenant)) &&
		(!r.next(`,"sequence":"`) || r.read(&t.sequence)) &&
		(!r.next(`,"recordedtime":"`) || r.read(&t.recorded)) &&
		(!r.next(`,"traceparent":"`) || r.read(&t.traceparent))
}

func (r *ownReader) data() bool {
	t := &r.text
	if r.next(`"actor":{`) &&
		(!r.object(`"type":"`, &t.actorType, `"id":"`, &t.actorID, `"name":"`, &t.actorName) || !r.next(`},`)) {
		return false
	}
	if r.next(`"entity":{`) && (!r.object(`"type":"`, &t.entityType, `"id":"`, &t.entityID, "", nil) || !r.next(`},`)) {
		return false
	}
	switch {
	case r.next(`"outcome":"success"`):
	case r.next(`"outcome":"failure"`):
		r.outcome = Failure
	case r.next(`"outcome":"denied"`):
		r.outcome = Denied
	default:
		return false
	}
	return (!r.next(`,"old":`) || r.readValue(&r.value.old)) &&
		(!r.next(`,"new":`) || r.readValue(&r.value.new)) &&
		(!r.next(`,"metadata":`) || r.readValue(&r.value.metadata)) &&
		(!r.next(`,"request":{`) ||
			r.object(`"ip":"`, &t.ip, `"user_agent":"`, &t.userAgent, `"id":"`, &t.requestID) && r.next(`}`))
}

// object reads those of up to three members, in this order, that are there.
func (r *ownReader) object(name1 string, to1 *span, name2 string, to2 *span, name3 string, to3 *span) bool {
	more := true // a member may begin here
	if r.next(name1) {
		if !r.read(to1) {
			return false
		}
		more = r.next(",")
	}
	if more && r.next(name2) {
		if !r.read(to2) {
			return false
		}
		more = r.next(",")
	}
	if more && to3 != nil && r.next(name3) {
		if !r.read(to3) {
			return false
		}
		more = false
	}
	return !more // a comma without a member behind it, an unknown member, or no member at all
}

func (r *ownReader) readValue(to *span) bool {
	end, seen := compactValue(r.b, r.i)
	r.seen |= seen
	if end < 0 {
		return false
	}
	*to = span{lo: r.i, hi: end}
	r.i = end
	return true
}

// finish makes the event of what was read, if there is nothing about it that the decoder has to decide.
func (r *ownReader) finish(key []byte, e *Event) bool {
	t := &r.text
	action, err := ParseName(r.str(&t.action))
	if err != nil || t.source.lo == t.source.hi {
		return false
	}
	id, err := ParseID(r.str(&t.id))
	if err != nil {
		return false
	}
	at, ok := parseOwnTime(r.str(&t.time))
	if !ok || checkTime(at) != nil || id.checkFor(at) != nil {
		return false
	}
	tenant := r.str(&t.tenant)
	if tenant != string(key) || !validTenant(tenant) {
		return false
	}
	entity := Entity{r.str(&t.entityType), r.str(&t.entityID)}
	if entity.Type == "" {
		entity.Type = action.Noun()
	}
	if s := r.str(&t.subject); s != "" && (entity.ID == "" || !entity.isSubject(s)) {
		return false
	}
	seq, ok := r.sequence()
	if !ok {
		return false
	}
	recorded, ok := r.recorded(at)
	if !ok {
		return false
	}
	*e = Event{
		ID: id, Tenant: tenant, Action: action, Entity: entity, Outcome: r.outcome, Time: at,
		Actor: Actor{r.str(&t.actorType), r.str(&t.actorID), r.str(&t.actorName)},
		Request: Request{
			IP: r.str(&t.ip), UserAgent: r.str(&t.userAgent), ID: r.str(&t.requestID), Traceparent: r.str(&t.traceparent),
		},
		Old: r.raw(&r.value.old), New: r.raw(&r.value.new), Metadata: r.raw(&r.value.metadata),
		Source: r.str(&t.source), Seq: seq, Recorded: recorded,
	}
	return true
}

func (r *ownReader) raw(s *span) Value {
	if s.lo == s.hi {
		return Value{}
	}
	return Value{raw: r.b[s.lo:s.hi:s.hi]}
}

func (r *ownReader) sequence() (n uint64, ok bool) {
	s := r.str(&r.text.sequence)
	if s == "" {
		return 0, true
	}
	n, err := parseSequence(s)
	return n, err == nil
}

// recorded reads the time at which the event was recorded, which nearly always is the one at which it happened.
func (r *ownReader) recorded(at time.Time) (time.Time, bool) {
	switch s := r.str(&r.text.recorded); s {
	case "":
		return time.Time{}, true
	case r.str(&r.text.time):
		return at, true
	default:
		t, ok := parseOwnTime(s)
		return t, ok && checkTime(t) == nil
	}
}

// parseSequence reads a decimal number, which usually has zeros before it.
func parseSequence(s string) (n uint64, err error) {
	if len(s) > 20 || s == "" {
		return strconv.ParseUint(s, 10, 64)
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 || i == 19 && n > (math.MaxUint64-uint64(c))/10 {
			return strconv.ParseUint(s, 10, 64) // which says what is wrong
		}
		n = n*10 + uint64(c)
	}
	return n, nil
}
