package libsql

import (
	"context"
	"fmt"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/sqlstore"
)

// Open connects to the database, makes its tables where there are none, and brings its schema up to date. ctx bounds
// the opening, not the Sink's life. Errors name the URL: [ErrLeased], [ErrUnauthorized], [ErrNoDatabase], a
// *sinkers.SchemaError for a database of a newer program, one that [sinkers.IsUnavailable] tells for a server that can't
// be reached or can't answer now, and plain ones for what isn't a database of this module.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("libsql: %w", err)
	}
	s := newSink(cfg.withDefaults())
	if err := s.open(ctx); err != nil {
		_ = s.Close()
		away := isAway(err)
		if err = fmt.Errorf("libsql: %s: %w", cfg.URL, err); away {
			err = sinkers.Unavailable(err)
		}
		return nil, err
	}
	return s, nil
}

func (s *Sink) open(ctx context.Context) error {
	s.readers = newDB(s.cfg, s.cfg.Readers)
	if s.cfg.ReadOnly {
		return sqlstore.CheckVersion(ctx, s.readers)
	}
	s.writer = newDB(s.cfg, 1)
	if s.cfg.Beside {
		return sqlstore.CheckVersion(ctx, s.writer)
	}
	if _, err := sqlstore.SchemaVersion(ctx, s.writer); err != nil { // before anything is made in it
		return err
	}
	if !s.cfg.NoLease {
		if err := s.takeLease(ctx); err != nil {
			return err
		}
	}
	s.insert = sqlstore.InsertJSON(s.lease != nil)
	return sqlstore.Migrate(ctx, s.writer)
}
