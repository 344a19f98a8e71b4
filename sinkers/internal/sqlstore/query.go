package sqlstore

import (
	"fmt"
	"strings"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// Statement is SQL with the values of its parameters ?1, ?2 and so on.
type Statement struct {
	SQL  string
	Args []any
}

// Select returns the statement that reads the events of a valid query, newest first, and one more than
// its limit, which tells whether there is a next page. Its rows are read with [Event].
//
// Every statement seeks in an index that holds its main filter and then the id, so that it reads one page's
// rows and no more; the other filters are tested on those rows. A prefix of actions, and a main filter over
// all tenants, have many places in that index to seek at: there the names (or tenants) are
// found by skipping from one to the next, the newest rows of each are taken, and the newest of those.
func Select(q sinkers.Query) (Statement, error) {
	pos, err := q.Cursor.Position()
	if err != nil {
		return Statement{}, err
	}
	s := &selection{q: q}
	s.filter(pos)
	limit := s.arg(q.PageLimit() + 1)
	index, names := s.path()
	if names == "" {
		return Statement{fmt.Sprintf("SELECT %s FROM audit_events AS e INDEXED BY %s%s ORDER BY %s LIMIT %s",
			eventColumns, index, s.conditions(), s.order("e"), limit), s.args}, nil
	}
	newest := fmt.Sprintf("SELECT e.rowid FROM audit_events AS e INDEXED BY %s%s ORDER BY e.id DESC LIMIT %s",
		index, s.conditions(), limit)
	merged := fmt.Sprintf("SELECT m.rowid FROM names CROSS JOIN audit_events AS m ON m.rowid IN (%s) ORDER BY %s LIMIT %s",
		newest, s.order("m"), limit)
	return Statement{fmt.Sprintf("WITH RECURSIVE %s SELECT %s FROM audit_events AS e WHERE e.rowid IN (%s) ORDER BY %s",
		names, eventColumns, merged, s.order("e")), s.args}, nil
}

type selection struct {
	q     sinkers.Query
	where []string
	args  []any
}

func (s *selection) arg(v any) string {
	s.args = append(s.args, v)
	return fmt.Sprint("?", len(s.args))
}

func (s *selection) and(column, op string, v any) {
	s.where = append(s.where, "e."+column+" "+op+" "+s.arg(v))
}

func (s *selection) conditions() string {
	if len(s.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(s.where, " AND ")
}

func (s *selection) order(table string) string {
	if s.q.AllTenants {
		return fmt.Sprintf("%[1]s.id DESC, %[1]s.tenant_id DESC", table)
	}
	return table + ".id DESC"
}

// filter adds the conditions that don't depend on the path: all but those on tenant and action prefix.
func (s *selection) filter(pos sinkers.CursorPosition) {
	q := s.q
	for _, f := range [...]struct{ column, value string }{
		{"actor_type", q.ActorType},
		{"actor_id", q.ActorID},
		{"entity_type", q.EntityType},
		{"entity_id", q.EntityID},
		{"outcome", q.Outcome},
	} {
		if f.value != "" {
			s.and(f.column, "=", f.value)
		}
	}
	from, to := q.TimeRange()
	low, high := backend.IDBounds(from, to)
	if low != nil {
		s.and("id", ">=", low)
	}
	if high != nil {
		s.and("id", "<", high)
	}
	if low != nil && from%1000 != 0 { // the id tells milliseconds apart
		s.and("created_at", ">=", from)
	}
	if high != nil && to%1000 != 0 {
		s.and("created_at", "<", to)
	}
	switch {
	case q.Cursor == "":
	case q.AllTenants:
		s.where = append(s.where, fmt.Sprintf("(e.id, e.tenant_id) < (%s, %s)", s.arg(pos.ID[:]), s.arg(pos.Tenant)))
	default:
		s.and("id", "<", pos.ID[:])
	}
}

// path chooses the index and adds the conditions on tenant and action. names is the common table of what
// the index is sought at one by one, if there are several.
func (s *selection) path() (index, names string) {
	prefix, isPrefix := s.q.ActionPrefix()
	switch {
	case s.q.EntityID != "":
		index = byEntity
	case s.q.ActorID != "":
		index = byActor
	case s.q.Outcome != "" && s.q.Outcome != firetrail.Success.String():
		index = byOutcome
		s.where = append(s.where, "e.outcome <> 'success'") // the partial index asks for these very words
	case s.q.Action != "" && (!isPrefix || !s.q.AllTenants):
		index = byAction
	case s.q.AllTenants:
		index = byID
	default:
		index = byTenant
	}
	switch {
	case s.q.AllTenants && index == byID:
	case s.q.AllTenants:
		names = tenants
		s.where = append(s.where, "e.tenant_id = names.name")
	default:
		s.and("tenant_id", "=", s.q.Tenant)
	}
	switch {
	case s.q.HidesReserved():
		s.where = append(s.where, "(e.action < '"+sinkers.ReservedPrefix+"' OR e.action >= '"+after(sinkers.ReservedPrefix)+"')")
	case !isPrefix:
		s.and("action", "=", s.q.Action)
	case index == byAction:
		names = s.actions(prefix)
		s.where = append(s.where, "e.action = names.name")
	default:
		s.and("action", ">=", prefix)
		s.and("action", "<", after(prefix))
	}
	return index, names
}

// tenants finds every tenant by skipping from one to the next in the index.
const tenants = `names (name) AS (
	SELECT min(tenant_id) FROM audit_events INDEXED BY ` + byTenant + `
	UNION ALL SELECT (SELECT min(tenant_id) FROM audit_events INDEXED BY ` + byTenant + ` WHERE tenant_id > names.name)
	FROM names WHERE names.name IS NOT NULL)`

// actions finds the tenant's actions below a prefix, likewise.
func (s *selection) actions(prefix string) string {
	tenant, low, high := s.arg(s.q.Tenant), s.arg(prefix), s.arg(after(prefix))
	next := fmt.Sprintf("SELECT min(action) FROM audit_events INDEXED BY %s WHERE tenant_id = %s AND action < %s AND action ",
		byAction, tenant, high)
	return fmt.Sprintf("names (name) AS (%s >= %s UNION ALL SELECT (%s > names.name) FROM names WHERE names.name IS NOT NULL)",
		next, low, next)
}

// after returns the least string that is greater than all that begin with the prefix, which ends in a dot.
func after(prefix string) string {
	return prefix[:len(prefix)-1] + "/"
}

// SelectTenants reads every tenant's name, in order.
const SelectTenants = "WITH RECURSIVE " + tenants + " SELECT name FROM names WHERE name IS NOT NULL ORDER BY name"

// SelectPositions reads source, seq, id and time of a tenant's events, and whether they close their source,
// ordered by source and seq. It sorts, in a temporary file where there is much: an index would slow down every
// write for it. A seq beyond int64 is stored as a negative number.
const SelectPositions = "SELECT source, seq, id, created_at, action = 'firetrail.closed' FROM audit_events INDEXED BY " + byTenant + `
	WHERE tenant_id = ?1 ORDER BY source, seq < 0, seq, id`
