package sqlite

import (
	"context"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Query implements sinkers.Sinker. It reads one state of the database, and waits for no write.
func (s *Sink) Query(ctx context.Context, q sinkers.Query) (sinkers.Page, error) {
	if err := q.Validate(); err != nil {
		return sinkers.Page{}, err
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return sinkers.Page{}, err
	}
	defer end()
	page, err := sqlstore.QueryPage(ctx, s.readers, q)
	return page, s.fail(ctx, "query", err)
}
