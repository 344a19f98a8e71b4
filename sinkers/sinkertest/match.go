package sinkertest

import (
	"strings"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// matches says in Go what a query's filters mean; the cursor is not one of them.
func matches(q sinkers.Query, e *firetrail.Event) bool {
	from, to := q.TimeRange()
	us := e.Time.UnixMicro()
	return (q.AllTenants || e.Tenant == q.Tenant) &&
		matchesAction(q, e.Action.String()) &&
		all(q.ActorType, e.Actor.Type) && all(q.ActorID, e.Actor.ID) &&
		all(q.EntityType, e.Entity.Type) && all(q.EntityID, e.Entity.ID) &&
		all(q.Outcome, e.Outcome.String()) &&
		from <= us && us < to
}

func matchesAction(q sinkers.Query, name string) bool {
	if prefix, ok := q.ActionPrefix(); ok {
		return strings.HasPrefix(name, prefix)
	}
	if q.HidesReserved() {
		return !strings.HasPrefix(name, sinkers.ReservedPrefix)
	}
	return all(q.Action, name)
}

func all(filter, value string) bool { return filter == "" || filter == value }
