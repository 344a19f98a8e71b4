package firetrail

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of an event. What is over MaxTenant makes an event invalid; what is over the others is
// cut or left out when the event is encoded, and the event says so (see [Truncated]).
const (
	// MaxTenant is the longest tenant name, in bytes of UTF-8.
	MaxTenant = 128
	// MaxText is the longest of the other texts (actor, entity, IP, user agent, request id,
	// traceparent), in bytes of UTF-8. Longer ones are cut at a rune boundary.
	MaxText = 1024
	// MaxPayload is the most that Old, New and Metadata may take together, in bytes of
	// JSON: 64 KiB. Over it Metadata is left out first, then Old, then New.
	MaxPayload = 64 << 10
)

// Outcome says how the action ended.
type Outcome uint8

// The outcomes. The zero value is Success.
const (
	Success Outcome = iota // it was done
	Failure                // it was tried and failed
	Denied                 // it was not allowed
)

var outcomeNames = [...]string{"success", "failure", "denied"}

// String returns "success", "failure" or "denied".
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// ParseOutcome is the inverse of [Outcome.String]. "" is Success.
func ParseOutcome(s string) (Outcome, error) {
	if s == "" {
		return Success, nil
	}
	for i, n := range outcomeNames {
		if n == s {
			return Outcome(i), nil
		}
	}
	return 0, fmt.Errorf("outcome: %.40q is none of success, failure, denied", s)
}

// Truncated says which parts of an event were cut or left out, as a set of bits.
type Truncated uint8

// The parts. A value is left out when the payload is over [MaxPayload] or when it can't be encoded;
// a text is cut when it is over [MaxText].
const (
	TruncatedOld      Truncated = 1 << iota // Old was left out
	TruncatedNew                            // New was left out
	TruncatedMetadata                       // Metadata was left out
	TruncatedText                           // at least one text was cut
	TruncatedExtra                          // Extra was left out

	truncatedAll = TruncatedExtra<<1 - 1
)

// Actor is who acted: a user, a service, an API key.
type Actor struct{ Type, ID, Name string }

// Entity is what was acted on.
type Entity struct{ Type, ID string }

// Request is the request the action came in by.
type Request struct {
	IP          string // address of the client, as text; see package httpaudit for how it is found
	UserAgent   string // User-Agent header
	ID          string // request id
	Traceparent string // W3C trace context: the traceparent header
}

// Event is one entry of the audit trail. Build it with [Action].Event where the action is known
// at compile time, or directly with a [Name] from [ParseName] where it is not (a bridge, an import).
//
// The zero value of every field but Action is allowed and has the meaning given at the field.
// An Event is a plain value; it may be copied, and is not changed by the functions it is given to.
type Event struct {
	// ID is a UUIDv7 of Time. Zero: the producer makes one.
	ID ID
	// Tenant whose trail this belongs to, at most [MaxTenant] bytes of UTF-8 without control
	// characters. It is the record's key: a tenant's events stay in order. "" is the default tenant.
	Tenant string
	// Action that was done. Required.
	Action Name
	// Actor who did it.
	Actor Actor
	// Entity it was done to. Type defaults to the action's noun.
	Entity Entity
	// Old, New and Metadata are the values before and after, and whatever else is worth
	// keeping: JSON, at most [MaxPayload] bytes together.
	Old, New, Metadata Value
	// Outcome of the action; the zero value is Success.
	Outcome Outcome
	// Request the action came in by.
	Request Request
	// Time it happened, kept in microseconds, UTC. Zero: when Fire was called.
	Time time.Time

	// Source is the producer's run, and Seq counts from 1, without a hole, the events of one
	// (Source, Tenant). Both are given by the producer; what a caller sets is overwritten. Events of
	// foreign producers keep their own source, and have Seq 0 where they gave none.
	Source string
	Seq    uint64
	// Recorded is when the producer took the event, in microseconds, UTC. Given by the producer.
	Recorded time.Time
	// Truncated says what was cut or left out when the event was encoded.
	Truncated Truncated
	// Extra is a JSON object of the CloudEvents attributes and data members that this version does not
	// know, so that a foreign or newer producer's fields survive; zero when there are none. For its
	// form see [DecodeCloudEvent].
	Extra Value
}

// Validate reports everything that would make the event unfit to be stored, each problem naming its
// field; nil when there is none. It does not look into the values; encoding does. ID and Time may be
// zero, but an ID that is given must be a UUIDv7, of Time if that is given too.
func (e *Event) Validate() error {
	// The usual case decides first, since every Fire comes through here. Nobody has made up an action by
	// hand there: only DecodeBinary can, and what it returns has been stamped with an id.
	if !e.Action.IsZero() && e.ID.IsZero() && e.Outcome <= Denied && validTenant(e.Tenant) && e.Time.IsZero() {
		return nil
	}
	var errs []error
	if e.Action.IsZero() {
		errs = append(errs, errors.New("action: missing; make one with NewAction or ParseName"))
	} else if _, err := ParseName(e.Action.s); err != nil {
		errs = append(errs, err) // DecodeBinary holds whatever it was given
	}
	if err := ValidateTenant(e.Tenant); err != nil {
		errs = append(errs, err)
	}
	if e.Outcome > Denied {
		errs = append(errs, fmt.Errorf("outcome: %d is none of Success, Failure, Denied", e.Outcome))
	}
	if !e.Time.IsZero() {
		if err := checkTime(e.Time); err != nil {
			errs = append(errs, fmt.Errorf("time: %w", err))
		}
	}
	if !e.ID.IsZero() {
		if err := e.ID.checkFor(e.Time); err != nil {
			errs = append(errs, fmt.Errorf("id: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Times outside this range are clock faults or unit mix-ups (seconds taken for milliseconds), and a
// UUIDv7 can't hold those before 1970.
var (
	minTime = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

func checkTime(t time.Time) error {
	if t.Before(minTime) || !t.Before(maxTime) {
		return fmt.Errorf("%s is outside 1970 to 2199", t.UTC().Format(time.RFC3339))
	}
	return nil
}

// ValidateTenant reports what is wrong with a tenant's name: over [MaxTenant] bytes, not UTF-8, or
// with control characters in it. "" is the default tenant, and valid.
func ValidateTenant(s string) error {
	if err := checkTenant(s); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	return nil
}

func checkTenant(s string) error {
	if validTenant(s) {
		return nil
	}
	switch {
	case len(s) > MaxTenant:
		return fmt.Errorf("%d bytes long; the most is %d", len(s), MaxTenant)
	case !utf8.ValidString(s):
		return fmt.Errorf("%q is not valid UTF-8", s)
	default:
		return fmt.Errorf("%q has a control character", s)
	}
}

func validTenant(s string) bool {
	if len(s) > MaxTenant {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return validTenantUnicode(s)
		}
	}
	return true
}

func validTenantUnicode(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 || 0x7f <= r && r < 0xa0 {
			return false
		}
	}
	return true
}

// WithContext returns the event with what it left empty filled in: tenant, actor and request from c,
// and Entity.Type from the action's noun. Explicit fields win. The actor is one thing: it is taken
// whole, and only when the event names none; the request is filled field by field.
func (e Event) WithContext(c *Context) Event {
	e.fill(c)
	return e
}

func (e *Event) fill(c *Context) {
	if c != nil {
		if e.Tenant == "" {
			e.Tenant = c.Tenant
		}
		if e.Actor == (Actor{}) {
			e.Actor = c.Actor
		}
		if e.Request.IP == "" {
			e.Request.IP = c.Request.IP
		}
		if e.Request.UserAgent == "" {
			e.Request.UserAgent = c.Request.UserAgent
		}
		if e.Request.ID == "" {
			e.Request.ID = c.Request.ID
		}
		if e.Request.Traceparent == "" {
			e.Request.Traceparent = c.Request.Traceparent
		}
	}
	if e.Entity.Type == "" {
		e.Entity.Type = e.Action.Noun()
	}
}
