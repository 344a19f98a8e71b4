package sinkers

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
)

// Limits of a query.
const (
	DefaultLimit = 50      // events a page
	MaxLimit     = 500     // events a page at the most
	MaxPageBytes = 8 << 20 // payload bytes a page: one that would be over ends early, with a cursor
)

// Query selects events. Its filters are joined by "and"; a zero filter takes everything.
type Query struct {
	// Tenant whose events; "" is the default tenant.
	Tenant string
	// AllTenants takes every tenant's, and ignores Tenant.
	AllTenants bool
	// Action is an exact name ("course.created") or all below a prefix ("course.*"). Firetrail's own
	// records, below ReservedPrefix, are found only by an Action that begins with it.
	Action string
	// ActorType and ActorID select by who acted.
	ActorType, ActorID string
	// EntityType and EntityID select by what was acted on.
	EntityType, EntityID string
	// Outcome selects by how it ended: "success", "failure", "denied"; "" takes all.
	Outcome string
	// From (inclusive) and To (exclusive) select by when it happened, in microseconds; zero is open.
	From, To time.Time
	// Limit is the most events a page; 0 is DefaultLimit, more than MaxLimit is an error.
	Limit int
	// Cursor is the Next of the page before; "" begins at the newest.
	Cursor Cursor
}

// ReservedPrefix is what the actions of firetrail's own records begin with, such as the one that closes a
// producer's sequence. They are rows like any other, but no event that somebody asked to have kept.
const ReservedPrefix = "firetrail."

// HidesReserved reports whether the query leaves out what is below ReservedPrefix though its Action, being
// empty, would take it.
func (q Query) HidesReserved() bool { return q.Action == "" }

// Page is one page of a query's result, newest first: by id, whose order is that of time (to the
// microsecond for ids made by this module, to the millisecond for UUIDv7s made elsewhere); for all
// tenants, events with the same id by tenant.
type Page struct {
	Events []firetrail.Event
	// Next is where the next page begins; "" when there is none.
	Next Cursor
}

// Validate reports everything that is wrong with the query, each problem naming its field.
func (q Query) Validate() error {
	var errs []error
	if q.Limit < 0 || q.Limit > MaxLimit {
		errs = append(errs, fmt.Errorf("limit: %d is outside 1 to %d (0 is %d)", q.Limit, MaxLimit, DefaultLimit))
	}
	if !q.AllTenants {
		if err := firetrail.ValidateTenant(q.Tenant); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := firetrail.ParseOutcome(q.Outcome); err != nil {
		errs = append(errs, err)
	}
	if q.Action != "" {
		name := q.Action
		if p, ok := strings.CutSuffix(name, ".*"); ok {
			name = p + ".x" // a prefix is fine where a name below it would be
		}
		if _, err := firetrail.ParseName(name); err != nil {
			errs = append(errs, fmt.Errorf("%w (or all below a prefix, such as \"course.*\")", err))
		}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		errs = append(errs, fmt.Errorf("from: %s is not before to: %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339)))
	}
	if _, err := q.Cursor.Position(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// PageLimit returns Limit with its default filled in.
func (q Query) PageLimit() int {
	if q.Limit == 0 {
		return DefaultLimit
	}
	return q.Limit
}

// TimeRange returns From and To as microseconds since 1970, the first inclusive and the second exclusive;
// an open end is the least or the greatest int64. Events have whole microseconds, so a bound between two
// of them is the next one.
func (q Query) TimeRange() (from, to int64) {
	from, to = math.MinInt64, math.MaxInt64
	if !q.From.IsZero() {
		from = ceilMicro(q.From)
	}
	if !q.To.IsZero() {
		to = ceilMicro(q.To)
	}
	return from, to
}

func ceilMicro(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return us
}

// ActionPrefix returns the prefix that Action selects by ("course." for "course.*"), and whether it is
// one rather than an exact name.
func (q Query) ActionPrefix() (string, bool) {
	p, ok := strings.CutSuffix(q.Action, "*")
	return p, ok && strings.HasSuffix(p, ".")
}
