package sinkers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firetrail/firetrail"
)

// Eraser can remove what a person or a tenant asks to have removed, for good.
type Eraser interface {
	// Erase deletes the events that e covers and returns how many; with DryRun it only counts them. Before
	// it deletes any it keeps a tombstone, for ever: from then on Write refuses what e covers, as
	// Result.Erased, whoever writes it and however often it is replayed. Events that happened at or
	// after e.Before are not touched. What was deleted, and what is refused, is in the ledger.
	//
	// An erasure that was cut off is gone on with by asking for it again, and by the next Prune; an
	// error comes with the number deleted until then.
	Erase(ctx context.Context, e Erasure) (int64, error)
}

// Erasure says which events are to be erased.
type Erasure struct {
	// Tenant whose events; "" is the default tenant.
	Tenant string
	// ActorID limits it to the events of this actor. Default: all of the tenant's.
	ActorID string
	// ActorType limits it to actors of this type; it needs an ActorID. Default: any.
	ActorType string
	// Before is the cut-off: only what happened earlier is erased. Default now; it can't be in the future,
	// since nobody can know what will happen until then.
	Before time.Time
	// Reason is kept with the tombstone, such as the number of the request. Default none.
	Reason string
	// DryRun counts only: nothing is deleted and no tombstone kept.
	DryRun bool
}

// maxReason is the longest Reason, in bytes.
const maxReason = 1024

// At returns the erasure with its cut-off filled in, in whole microseconds, and everything that is wrong with
// it, each problem naming its field.
func (e Erasure) At(now time.Time) (Erasure, error) {
	var errs []error
	if err := firetrail.ValidateTenant(e.Tenant); err != nil {
		errs = append(errs, err)
	}
	if e.ActorType != "" && e.ActorID == "" {
		errs = append(errs, fmt.Errorf("actor type: %q without an actor id; give both, or neither for the whole tenant", e.ActorType))
	}
	if len(e.Reason) > maxReason {
		errs = append(errs, fmt.Errorf("reason: %d bytes; the most is %d", len(e.Reason), maxReason))
	}
	switch {
	case e.Before.IsZero():
		e.Before = now
	case e.Before.After(now):
		errs = append(errs, errFuture(e.Before, now))
	}
	e.Before = time.UnixMicro(ceilMicro(e.Before)).UTC()
	return e, errors.Join(errs...)
}

func errFuture(before, now time.Time) error {
	return fmt.Errorf("before: %s is in the future (it is %s); a cut-off holds for ever",
		before.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// Covers reports whether e, whose cut-off is filled in, is to erase ev.
func (e Erasure) Covers(ev *firetrail.Event) bool {
	return ev.Tenant == e.Tenant && ev.Time.Before(e.Before) &&
		(e.ActorID == "" || ev.Actor.ID == e.ActorID) && (e.ActorType == "" || ev.Actor.Type == e.ActorType)
}
