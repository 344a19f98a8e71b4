package firetrail

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxName is the longest action name, in bytes.
const MaxName = 128

// Name is a validated action name of the form noun.verb, such as "course.created" or
// "iam.CreateUser". Only [NewAction] and [ParseName] make one: a bare string is not a Name, so a
// misspelt action is found by the compiler or at start, never in the audit trail. The zero Name
// is no name; an event that has it is refused. Names are comparable with ==.
type Name struct{ s string }

// ParseName checks s and returns it as a Name. A name is two or more labels separated by
// dots; a label begins with a letter or a digit and goes on with letters, digits, '_' or '-', all
// ASCII. It is at most [MaxName] bytes long. The error says what is wrong and where. Reserved names are
// names, too: see [Name.Reserved].
func ParseName(s string) (Name, error) {
	switch {
	case s == "":
		return Name{}, errors.New("action: empty; want noun.verb, such as \"course.created\"")
	case len(s) > MaxName:
		return Name{}, fmt.Errorf("action: %d bytes long; the most is %d", len(s), MaxName)
	}
	dots, start := 0, true
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			start = false
		case (c == '_' || c == '-') && !start:
		case c == '.' && !start && i+1 < len(s):
			dots++
			start = true
		default:
			return Name{}, fmt.Errorf("action: %q at byte %d of %.140q; want labels of letters, digits, '_' and '-' with dots between", c, i, s)
		}
	}
	if dots == 0 {
		return Name{}, fmt.Errorf("action: %q has no verb; want noun.verb, such as \"course.created\"", s)
	}
	return Name{s}, nil
}

// String returns the name as it was given, "" for the zero Name.
func (n Name) String() string { return n.s }

// IsZero reports whether n is the zero Name, which names nothing.
func (n Name) IsZero() bool { return n.s == "" }

// Noun returns all of the name before its last dot: "course" for "course.created". It is the
// default of an event's Entity.Type.
func (n Name) Noun() string {
	if i := strings.LastIndexByte(n.s, '.'); i >= 0 {
		return n.s[:i]
	}
	return n.s
}

// reservedNoun begins the names of what the trail says of itself.
const reservedNoun = "firetrail"

// SourceClosed is the action of the last event of a (source, tenant): its seq is one more than that of the last
// event fired, so that whoever reads the trail can tell an end from a crash, and sees what is missing at the
// end. Producers write it; nobody can fire one.
var SourceClosed = Name{reservedNoun + ".closed"}

// Reserved reports whether the name is one that only Firetrail itself gives: its noun is "firetrail". Such names
// are read, shown and asked for like any other, but [NewAction] refuses them, and so does a producer that is given
// an event with one.
func (n Name) Reserved() bool {
	return len(n.s) > len(reservedNoun) && n.s[len(reservedNoun)] == '.' && n.s[:len(reservedNoun)] == reservedNoun
}

// CheckReserved returns an error that says what to do when the name is reserved, nil when it isn't.
func (n Name) CheckReserved() error {
	if !n.Reserved() {
		return nil
	}
	return fmt.Errorf("action: %q is reserved for what the trail says of itself; take another noun than %q", n.s, reservedNoun)
}

// Action is an action name tied to the type of the values it changes. Declare actions once, as
// package variables, with [NewAction].
type Action[V any] struct {
	_    [0]*V // takes no room; without it Action[A] could be converted to Action[B]
	name Name
}

// NewAction returns the action called name, whose old and new values are of type V. It panics
// when name is not a valid name (see [ParseName]) or is reserved (see [Name.Reserved]), so that a bad one is
// found when the program starts; it is meant for package variables.
func NewAction[V any](name string) Action[V] {
	n, err := ParseName(name)
	if err == nil {
		err = n.CheckReserved()
	}
	if err != nil {
		panic("firetrail.NewAction: " + err.Error())
	}
	return Action[V]{name: n}
}

// Name returns the action's name.
func (a Action[V]) Name() Name { return a.name }

// Input is what a call site says of one event of an action whose values are of type V. Every field
// is optional; what is empty is taken from the context (see [WithContext]) or given its default.
type Input[V any] struct {
	// ID is the event's id. Default: a new one of the event's time. See [IDFrom] for imports.
	ID ID
	// Tenant whose event this is. Default: the context's.
	Tenant string
	// Actor who acted. Default: the context's.
	Actor Actor
	// Entity that was acted on. Type defaults to the action's noun.
	Entity Entity
	// Old and New are the values before and after; nil is none. They are encoded before Fire
	// returns, so the caller may change them afterwards.
	Old, New *V
	// Metadata is whatever else is worth keeping.
	Metadata Value
	// Outcome of the action. Default: Success.
	Outcome Outcome
	// Request the action came in by. Default: the context's, field by field.
	Request Request
	// Time the action happened at, kept in microseconds. Default: now.
	Time time.Time
}

// Event returns the event of this action with the given input.
func (a Action[V]) Event(in Input[V]) Event {
	e := Event{
		ID: in.ID, Tenant: in.Tenant, Action: a.name, Actor: in.Actor, Entity: in.Entity,
		Metadata: in.Metadata, Outcome: in.Outcome, Request: in.Request, Time: in.Time,
	}
	if in.Old != nil {
		e.Old = Value{v: in.Old}
	}
	if in.New != nil {
		e.New = Value{v: in.New}
	}
	return e
}
