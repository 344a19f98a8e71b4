package sqlite

import (
	"context"
	"database/sql"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Query implements sinkers.Sinker. It reads one state of the database, and waits for no write.
func (s *Sink) Query(ctx context.Context, q sinkers.Query) (sinkers.Page, error) {
	if err := q.Validate(); err != nil {
		return sinkers.Page{}, err
	}
	statement, err := sqlstore.Select(q)
	if err != nil {
		return sinkers.Page{}, err
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return sinkers.Page{}, err
	}
	defer end()
	rows, err := s.readers.QueryContext(ctx, statement.SQL, statement.Args...)
	if err != nil {
		return sinkers.Page{}, s.fail(ctx, "query", err)
	}
	page, err := readPage(rows, q.PageLimit())
	return page, s.fail(ctx, "query", err)
}

func readPage(rows *sql.Rows, limit int) (p sinkers.Page, err error) {
	defer func() { _ = rows.Close() }() // Err says what there is to say
	size := 0
	for rows.Next() {
		e, n, err := sqlstore.Event(rows.Scan)
		if err != nil {
			return sinkers.Page{}, err
		}
		if size += n; len(p.Events) == limit || len(p.Events) > 0 && size > sinkers.MaxPageBytes {
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
