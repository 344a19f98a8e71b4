package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/firetrail/firetrail/sinkers"
)

// Open connects to the database, makes the tables where there are none, and brings them up to date. ctx
// bounds the opening, not the Sink's life. Errors name the database: a *sinkers.SchemaError for one of a newer
// program, one that [sinkers.IsUnavailable] tells for a server that can't be reached or can't answer now, and plain ones for
// the rest, such as another program's tables.
func Open(ctx context.Context, cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	s := newSink(cfg.withDefaults())
	if err := s.connect(); err != nil {
		return nil, fmt.Errorf("clickhouse: %w", err)
	}
	if err := s.open(ctx); err != nil {
		_ = s.Close()
		away := isAway(err)
		if err = s.fail(ctx, "open", err); away {
			err = sinkers.Unavailable(err)
		}
		return nil, err
	}
	return s, nil
}

// connect makes the pools of connections, which have none yet.
func (s *Sink) connect() (err error) {
	s.http.conns, s.http.mute = s.cfg.MaxConns, s.cfg.ReadOnly
	s.wire.tls, s.wire.dialer.Timeout = s.cfg.TLS, s.cfg.DialTimeout
	o := s.cfg.options(s.cfg.MaxConns - 1)
	o.TransportFunc = s.http.use
	if s.conn, err = clickhouse.Open(o); err != nil {
		return err
	}
	o = s.cfg.options(1)
	o.TransportFunc = s.http.use
	if s.cfg.Protocol == Native {
		o.DialContext = s.wire.dial
	}
	s.inserts, err = clickhouse.Open(o)
	return err
}

func (c Config) options(conns int) *clickhouse.Options {
	o := &clickhouse.Options{
		Addr: c.Addrs, TLS: c.TLS,
		Auth:        clickhouse.Auth{Database: c.Database, Username: c.User, Password: c.Password},
		DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout,
		MaxOpenConns: conns, MaxIdleConns: conns,
		ClientInfo: clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{Name: "firetrail"}}},
	}
	if c.Protocol == HTTP {
		o.Protocol = clickhouse.HTTP
	}
	switch c.Compression {
	case LZ4:
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	case ZSTD:
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionZSTD}
	}
	return o
}

func (s *Sink) open(ctx context.Context) error {
	if s.cfg.ReadOnly {
		ctx = timeless{ctx}
		return errors.Join(s.checkVersion(ctx), s.checkSettings(ctx))
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	return s.setTTL(ctx)
}

// version returns the database's schema version, 0 when it has none of our tables. It is an error for
// audit_events to be another program's, and for the version to be newer than this program.
func (s *Sink) version(ctx context.Context) (int, error) {
	var ours, events uint64
	if err := s.conn.QueryRow(ctx, selectTables).Scan(&ours, &events); err != nil {
		return 0, err
	}
	if ours == 0 {
		if events > 0 {
			return 0, errors.New("has another program's table audit_events; choose another database")
		}
		return 0, nil
	}
	var v uint32
	if err := s.conn.QueryRow(ctx, selectVersion).Scan(&v); err != nil {
		return 0, err
	}
	if v > latest {
		return 0, &sinkers.SchemaError{Have: int(v), Know: latest}
	}
	return int(v), nil
}

// checkVersion is for those who may not migrate.
func (s *Sink) checkVersion(ctx context.Context) error {
	v, err := s.version(ctx)
	switch {
	case err != nil:
		return err
	case v == 0:
		return errors.New("has no audit trail; let a worker make its tables")
	case v < latest:
		return &sinkers.SchemaError{Have: v, Know: latest}
	}
	return nil
}

// checkSettings looks whether the user may set anything: with the profile readonly a statement that does is refused.
func (s *Sink) checkSettings(ctx context.Context) error {
	var level string
	err := s.conn.QueryRow(ctx, "SELECT toString(getSetting('readonly'))").Scan(&level)
	if level == "1" {
		s.inOrder = ""
	}
	return err
}

// migrate brings the schema up to date. The version is written first and last: a table of ours beside no
// version would look like another program's.
func (s *Sink) migrate(ctx context.Context) error {
	have, err := s.version(ctx)
	if err != nil || have == latest {
		return err
	}
	if err := s.conn.Exec(ctx, createVersion); err != nil {
		return err
	}
	for _, m := range migrations {
		if m.version <= have {
			continue
		}
		for _, statement := range m.statements {
			if err := s.conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("migration %d: %w", m.version, err)
			}
		}
		if err := s.conn.Exec(ctx, fmt.Sprintf(insertVersion, m.version)); err != nil {
			return fmt.Errorf("migration %d: %w", m.version, err)
		}
	}
	return nil
}

// setTTL changes the table's TTL where it isn't the one wanted. What is there is not rewritten for it: parts
// are dropped whole.
func (s *Sink) setTTL(ctx context.Context) error {
	if s.cfg.TTLDays == 0 {
		return nil
	}
	var create string
	err := s.conn.QueryRow(ctx, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'audit_events'").Scan(&create)
	if err != nil {
		return err
	}
	wanted, statement := "", "ALTER TABLE audit_events REMOVE TTL"
	if s.cfg.TTLDays > 0 {
		wanted, statement = ttl(s.cfg.TTLDays), modifyTTL(s.cfg.TTLDays)
	}
	if hasTTL(strings.ReplaceAll(create, "\n", " "), wanted) {
		return nil
	}
	return s.conn.Exec(clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"materialize_ttl_after_modify": 0})), statement)
}
