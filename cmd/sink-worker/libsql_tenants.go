package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"strings"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/libsql"
)

// libSQLTenants has a libSQL database for each tenant.
type libSQLTenants struct {
	libsql.Tenants
	file string // with the tenants' names; "" for none
}

func (o libSQLTenants) name() string { return "libsql" }

func (o libSQLTenants) toRead(context.Context) (sinkers.Sinker, error) {
	o.Config.ReadOnly = true
	return o.router(nil)
}

func (o libSQLTenants) toDelete(context.Context) (sinkers.Sinker, error) {
	o.Config.Beside = true
	return o.router(nil)
}

// toWrite waits for nobody: each tenant's events are one worker's at a time.
func (o libSQLTenants) toWrite(_ context.Context, log *slog.Logger, r sinkers.Retention, _ func(error)) (sinkers.Sinker, error) {
	o.Config.Retention = r
	return o.router(log)
}

func (o libSQLTenants) router(log *slog.Logger) (sinkers.Sinker, error) {
	return opened(sinkers.NewRouter(sinkers.RouterConfig{
		Resolve: o.Resolve, Tenants: func(context.Context) iter.Seq2[string, error] { return o.listed() }, Logger: log,
	}))
}

// listed yields the tenants that the file names. The servers don't tell.
func (o libSQLTenants) listed() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := o.eachListed(func(t string) bool { return yield(t, nil) }); err != nil {
			yield("", err)
		}
	}
}

func (o libSQLTenants) eachListed(f func(tenant string) bool) error {
	if o.file == "" {
		return errors.New("libsql-tenants-file: missing; libSQL doesn't tell which tenants have a database, so name a file that does")
	}
	file, err := os.Open(o.file)
	if err != nil {
		return fmt.Errorf("libsql-tenants-file: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		tenant := strings.TrimSuffix(lines.Text(), "\r")
		if err := firetrail.ValidateTenant(tenant); err != nil {
			return fmt.Errorf("libsql-tenants-file: line %d: %w", n, err)
		}
		if !f(tenant) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("libsql-tenants-file: %w", err)
	}
	return nil
}
