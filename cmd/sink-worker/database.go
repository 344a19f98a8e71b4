package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// sinkSettings say which database it is.
type sinkSettings struct {
	SQLite    string `name:"sqlite" group:"database" placeholder:"FILE" help:"SQLite database; a worker makes it if it is missing."`
	SQLiteDir string `name:"sqlite-dir" group:"database" placeholder:"DIR" help:"Directory with a SQLite database for each tenant; a worker makes those."`
	clickHouseSettings
	libSQLSettings
}

// opener opens the database that the settings name.
type opener interface {
	name() string
	// toRead is for queries, beside a worker too.
	toRead(ctx context.Context) (sinkers.Sinker, error)
	// toWrite waits for its turn while another worker has a database that has one writer. lost is called when another
	// has taken it over, and this one will store nothing more.
	toWrite(ctx context.Context, log *slog.Logger, r sinkers.Retention, lost func(error)) (sinkers.Sinker, error)
	// toDelete is for pruning and erasing, beside a worker too.
	toDelete(ctx context.Context) (sinkers.Sinker, error)
}

// check notes what is wrong with the choice of database, and returns how to open it.
func (s *sinkSettings) check(p *program) opener {
	problems := &p.command.Problems
	servers := []struct {
		name   string // of the setting that chooses it
		chosen bool
		check  func(*program) opener
	}{
		{"sqlite-dir", s.SQLiteDir != "", func(*program) opener { return tenantsOpener(s.SQLiteDir) }},
		{"clickhouse-addrs", s.isClickHouse(), s.clickHouseSettings.check},
		{"libsql-url", s.isLibSQL(), s.libSQLSettings.check},
	}
	first, open := "", opener(sqliteOpener(s.SQLite))
	if s.SQLite != "" {
		first = "sqlite"
	}
	for _, server := range servers {
		switch {
		case !server.chosen:
			for _, given := range p.command.Settings {
				if given.From != "default" && given.Name != server.name && isOf(given.Name, server.name) {
					problems.Add(given.Name, "set, but %s is missing", server.name)
				}
			}
		case first != "":
			problems.Add(server.name, "set beside %s; choose one database, or one for each tenant", first)
		default:
			first, open = server.name, server.check(p)
		}
	}
	switch {
	case first == "":
		problems.Add("sqlite", "missing; name the database's file, such as --sqlite audit.db, or a server with --clickhouse-addrs or --libsql-url")
	case filepath.Clean(s.SQLite) != s.SQLite && strings.HasSuffix(s.SQLite, string(filepath.Separator)):
		problems.Add("sqlite", "%q is a directory; name a file", s.SQLite)
	}
	return open
}

// isOf says whether a setting is of the same database as another, by their first word.
func isOf(setting, other string) bool {
	first, _, _ := strings.Cut(other, "-")
	return strings.HasPrefix(setting, first+"-")
}

// sqliteOpener is the path of a SQLite database.
type sqliteOpener string

func (o sqliteOpener) name() string { return "sqlite" }

func (o sqliteOpener) toRead(ctx context.Context) (sinkers.Sinker, error) {
	return opened(sqlite.Open(ctx, sqlite.Config{Path: string(o), ReadOnly: true}))
}

func (o sqliteOpener) toDelete(ctx context.Context) (sinkers.Sinker, error) {
	return opened(sqlite.Open(ctx, sqlite.Config{Path: string(o), Beside: true}))
}

func (o sqliteOpener) toWrite(ctx context.Context, log *slog.Logger, r sinkers.Retention, _ func(error)) (sinkers.Sinker, error) {
	conf := sqlite.Config{Path: string(o), Retention: r}
	db, err := sqlite.Open(ctx, conf)
	if errors.Is(err, sqlite.ErrLocked) {
		log.Warn("another worker has the database; standing by to take over", "sqlite", string(o))
		conf.WaitForLock = true
		db, err = sqlite.Open(ctx, conf)
	}
	return opened(db, err)
}

// opened keeps a nil pointer from becoming an interface that isn't nil.
func opened[S sinkers.Sinker](db S, err error) (sinkers.Sinker, error) {
	if err != nil {
		return nil, err
	}
	return db, nil
}

// largeBatches gives the settings of batches, where nobody has set them, the values that suit a database to
// which each insert costs the same whatever its size.
func (s *workerSettings) largeBatches(c *cli.Command) {
	if c.Instead("batch-max-size", "50000") {
		s.BatchMaxSize.N = 50_000
	}
	if c.Instead("batch-max-bytes", "32MiB") {
		s.BatchMaxBytes.Bytes = 32 << 20
	}
	if c.Instead("flush-interval", "10s") {
		s.FlushInterval.Duration = 10 * time.Second
	}
}
