package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// tenantsOpener is a directory with a SQLite database for each tenant.
type tenantsOpener string

func (o tenantsOpener) name() string { return "sqlite-dir" }

func (o tenantsOpener) toRead(ctx context.Context) (sinkers.Sinker, error) {
	return o.router(ctx, sqlite.Config{ReadOnly: true}, nil)
}

func (o tenantsOpener) toDelete(ctx context.Context) (sinkers.Sinker, error) {
	return o.router(ctx, sqlite.Config{Beside: true}, nil)
}

// toWrite takes a lock on the directory, so that two workers don't take each other's tenants away.
func (o tenantsOpener) toWrite(ctx context.Context, log *slog.Logger, r sinkers.Retention, _ func(error)) (sinkers.Sinker, error) {
	dir := sqlite.Tenants{Dir: string(o)}
	lock, err := dir.Lock(ctx, false)
	if errors.Is(err, sqlite.ErrLocked) {
		log.Warn("another worker has the databases; standing by to take over", "sqlite_dir", string(o))
		lock, err = dir.Lock(ctx, true)
	}
	if err != nil {
		return nil, err
	}
	s, err := o.router(ctx, sqlite.Config{Retention: r}, log)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &lockedTenants{s, lock}, nil
}

func (o tenantsOpener) router(ctx context.Context, cfg sqlite.Config, log *slog.Logger) (*sinkers.Router, error) {
	dir := sqlite.Tenants{Dir: string(o), Config: cfg}
	for _, err := range dir.Tenants(ctx) { // find out now whether it is there
		if err != nil {
			return nil, fmt.Errorf("sqlite-dir: %w", err)
		}
	}
	return sinkers.NewRouter(sinkers.RouterConfig{Resolve: dir.Resolve, Tenants: dir.Tenants, Logger: log})
}

// lockedTenants are the databases of a directory that this process has to itself.
type lockedTenants struct {
	*sinkers.Router
	lock *sqlite.DirLock
}

func (l *lockedTenants) Close() error { return errors.Join(l.Router.Close(), l.lock.Close()) }
