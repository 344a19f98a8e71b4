package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/libsql"
)

// libSQLSettings say how to reach libSQL. Their names are those of libsql.Config's fields.
type libSQLSettings struct {
	LibSQLURL         string       `name:"libsql-url" group:"database" placeholder:"URL" help:"libSQL database: libsql, https, http, wss or ws; with {tenant} in the host's name one for each tenant."`
	LibSQLTokenFile   string       `name:"libsql-token-file" group:"libsql" placeholder:"FILE" help:"File with the token, read again for each connection, or give it in FIRETRAIL_LIBSQL_TOKEN."`
	LibSQLProxy       string       `name:"libsql-proxy" group:"libsql" placeholder:"URL" help:"Server to ask in place of the one that the URL names, whose host tells it the namespace."`
	LibSQLTenantsFile string       `name:"libsql-tenants-file" group:"libsql" placeholder:"FILE" help:"Names of the tenants that have a database, one a line: for prune, and for queries of all of them."`
	LibSQLLeaseTTL    cli.Duration `name:"libsql-lease-ttl" group:"libsql" default:"30s" help:"A worker that stands still for so long is taken over from."`
}

const libSQLToken = "libsql-token"

func (s *libSQLSettings) isLibSQL() bool { return s.LibSQLURL != "" }

func (s *libSQLSettings) isLibSQLPerTenant() bool { return strings.Contains(s.LibSQLURL, "{tenant}") }

// check notes what is wrong with the settings, and returns how to open the database.
func (s *libSQLSettings) check(p *program) opener {
	c := libsql.Config{
		URL: s.LibSQLURL, Proxy: s.LibSQLProxy, TokenFile: s.LibSQLTokenFile, LeaseTTL: s.LibSQLLeaseTTL.Duration,
	}
	c.Token, _ = p.env.Lookup(cli.EnvName(libSQLToken))
	problems := &p.command.Problems
	tenants := libSQLTenants{libsql.Tenants{URL: s.LibSQLURL, Config: c}, s.LibSQLTenantsFile}
	perTenant, err := s.isLibSQLPerTenant(), c.Validate()
	if perTenant {
		err = tenants.Validate()
	}
	for _, e := range flatten(err) {
		name, text, _ := strings.Cut(e.Error(), ": ")
		text = strings.ReplaceAll(text, "given twice, with token file too", "given in "+cli.EnvName(libSQLToken)+" beside libsql-token-file")
		problems.Add("libsql-"+strings.ReplaceAll(name, " ", "-"), "%s", text)
	}
	if s.LibSQLTokenFile != "" {
		if _, err := os.ReadFile(s.LibSQLTokenFile); err != nil { // a missing one is found now
			problems.Add("libsql-token-file", "%w", err)
		}
	}
	if s.LibSQLTenantsFile != "" {
		switch err := tenants.eachListed(func(string) bool { return true }); {
		case !perTenant:
			problems.Add("libsql-tenants-file", "set, but libsql-url has no {tenant} in it")
		case err != nil:
			_, text, _ := strings.Cut(err.Error(), ": ")
			problems.Add("libsql-tenants-file", "%s", text)
		}
	}
	if perTenant {
		return tenants
	}
	return libSQLOpener(c)
}

// flatten is unjoin for errors that are joined of joined ones.
func flatten(err error) (flat []error) {
	for _, e := range unjoin(err) {
		if _, joined := e.(interface{ Unwrap() []error }); joined {
			flat = append(flat, flatten(e)...)
		} else {
			flat = append(flat, e)
		}
	}
	return flat
}

type libSQLOpener libsql.Config

func (o libSQLOpener) name() string { return "libsql" }

func (o libSQLOpener) toRead(ctx context.Context) (sinkers.Sinker, error) {
	c := libsql.Config(o)
	c.ReadOnly = true
	return opened(libsql.Open(ctx, c))
}

func (o libSQLOpener) toDelete(ctx context.Context) (sinkers.Sinker, error) {
	c := libsql.Config(o)
	c.Beside = true
	return opened(libsql.Open(ctx, c))
}

func (o libSQLOpener) toWrite(ctx context.Context, log *slog.Logger, r sinkers.Retention, lost func(error)) (sinkers.Sinker, error) {
	c := libsql.Config(o)
	c.OnLeaseLost, c.Retention = lost, r
	db, err := libsql.Open(ctx, c)
	if errors.Is(err, libsql.ErrLeased) {
		log.Warn("another worker has the database; standing by to take over", "libsql", c.URL, "reason", err)
		c.WaitForLease = true
		db, err = libsql.Open(ctx, c)
	}
	return opened(db, err)
}
