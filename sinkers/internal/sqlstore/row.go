package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// Event reads the columns that a [Select] statement returns, with a function such as sql.Rows.Scan.
// It returns the event and the bytes of its values.
func Event(scan func(dest ...any) error) (e firetrail.Event, size int, err error) {
	var (
		id                      []byte
		created, seq, truncated int64
		recorded                *int64
		action, outcome         string
		old, new, meta, extra   value
	)
	err = scan(&e.Tenant, &id, &created, &action,
		(*nullText)(&e.Actor.Type), (*nullText)(&e.Actor.ID), (*nullText)(&e.Actor.Name),
		(*nullText)(&e.Entity.Type), (*nullText)(&e.Entity.ID),
		&old, &new, &meta, &outcome,
		(*nullText)(&e.Request.IP), (*nullText)(&e.Request.UserAgent), (*nullText)(&e.Request.ID), (*nullText)(&e.Request.Traceparent),
		&e.Source, &seq, &recorded, &truncated, &extra)
	if err != nil {
		return e, 0, err
	}
	if e.ID, err = eventID(id); err != nil {
		return e, 0, err
	}
	if e.Action, err = firetrail.ParseName(action); err != nil {
		return e, 0, fmt.Errorf("stored event %s: %w", e.ID, err)
	}
	if e.Outcome, err = firetrail.ParseOutcome(outcome); err != nil {
		return e, 0, fmt.Errorf("stored event %s: %w", e.ID, err)
	}
	e.Time, e.Seq, e.Truncated = time.UnixMicro(created).UTC(), uint64(seq), firetrail.Truncated(truncated)
	if recorded != nil {
		e.Recorded = time.UnixMicro(*recorded).UTC()
	}
	e.Old, e.New, e.Metadata, e.Extra = firetrail.Raw(old), firetrail.Raw(new), firetrail.Raw(meta), firetrail.Raw(extra)
	return e, len(old) + len(new) + len(meta) + len(extra), nil
}

func eventID(b []byte) (firetrail.ID, error) {
	if len(b) != len(firetrail.ID{}) {
		return firetrail.ID{}, fmt.Errorf("stored event: id has %d bytes instead of 16", len(b))
	}
	return firetrail.ID(b), nil
}

// nullText reads a nullable TEXT; NULL is "".
type nullText string

func (t *nullText) Scan(src any) error {
	switch s := src.(type) {
	case nil:
		*t = ""
	case string:
		*t = nullText(s)
	case []byte:
		*t = nullText(s)
	default:
		return fmt.Errorf("a %T where a text belongs", src)
	}
	return nil
}

// value reads a nullable TEXT that holds JSON; NULL is nil.
type value []byte

func (v *value) Scan(src any) error {
	switch s := src.(type) {
	case nil:
		*v = nil
	case string:
		*v = value(s)
	case []byte:
		*v = append(value(nil), s...)
	default:
		return fmt.Errorf("a %T where JSON text belongs", src)
	}
	return nil
}

// QueryPage reads a page of a valid query's events.
func QueryPage(ctx context.Context, db *sql.DB, q sinkers.Query) (p sinkers.Page, err error) {
	statement, err := Select(q)
	if err != nil {
		return sinkers.Page{}, err
	}
	rows, err := db.QueryContext(ctx, statement.SQL, statement.Args...)
	if err != nil {
		return sinkers.Page{}, err
	}
	defer func() { _ = rows.Close() }() // Err says what there is to say
	size := 0
	for rows.Next() {
		e, n, err := Event(rows.Scan)
		if err != nil {
			return sinkers.Page{}, err
		}
		if size += n; len(p.Events) == q.PageLimit() || len(p.Events) > 0 && size > sinkers.MaxPageBytes {
			p.Next = sinkers.NewCursor(&p.Events[len(p.Events)-1])
			return p, nil
		}
		p.Events = append(p.Events, e)
	}
	if err := rows.Err(); err != nil {
		return sinkers.Page{}, err
	}
	return p, nil
}
