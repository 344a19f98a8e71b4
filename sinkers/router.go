package sinkers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Defaults of a [RouterConfig].
const (
	DefaultPoolSize    = 50
	DefaultOpenTimeout = 30 * time.Second
)

// RouterConfig says where the database of each tenant is.
type RouterConfig struct {
	// Resolve opens the database of a tenant, within ctx; the Router closes it. A tenant's is opened once at a
	// time, those of different tenants side by side. An error marked by Permanent says that the tenant will
	// never have a database: its rows are refused. Any other is an outage of that one database. Tenants
	// are named by whoever sends events: a name must not become a path, or part of a statement, as it is
	// (see sqlite.TenantFile). Required.
	Resolve func(ctx context.Context, tenant string) (Sinker, error)
	// Tenants yields every tenant that has a database, and an error at the most once, last: for what must reach all of
	// them, such as Prune, and a Query of all tenants. Required.
	Tenants func(ctx context.Context) iter.Seq2[string, error]
	// PoolSize is the most databases open at a time; up to a quarter as many may be closing besides. Default 50.
	PoolSize int
	// OpenTimeout bounds the opening of a database, with the waiting for a place in the pool. Default 30 s.
	OpenTimeout time.Duration
	// Logger is told of databases that could not be closed. Default: none.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the settings, each problem naming its field.
func (c RouterConfig) Validate() error {
	var errs []error
	if c.Resolve == nil {
		errs = append(errs, errors.New("resolve: missing; give a function that opens a tenant's database"))
	}
	if c.Tenants == nil {
		errs = append(errs, errors.New("tenants: missing; give a function that lists the tenants"))
	}
	if c.PoolSize < 0 {
		errs = append(errs, fmt.Errorf("pool size: %d is negative; 0 is the default, %d", c.PoolSize, DefaultPoolSize))
	}
	if c.OpenTimeout < 0 {
		errs = append(errs, fmt.Errorf("open timeout: %v is negative; 0 is the default, %v", c.OpenTimeout, DefaultOpenTimeout))
	}
	return errors.Join(errs...)
}

// Router is a Sinker of a database for each tenant. What is asked of one tenant goes to that tenant's alone, and
// whether another's is away makes no difference to it.
//
// A Write of several tenants' rows is one write for each tenant: on an error some may be stored, and
// writing them again changes nothing. Whoever wants to know which tenant's database is away writes to [Router.Of].
// All methods may be called concurrently. It needs no goroutine but those that open and close databases,
// which Close waits for.
type Router struct {
	cfg  RouterConfig
	pool *pool
}

// Shared is a Sinker whose database is meant for all tenants. A [Router] refuses it.
type Shared interface {
	Sinker
	// Shared says why.
	Shared() string
}

// PerTenant is a Sinker that stands for a database of each tenant's own, such as a [Router].
type PerTenant interface {
	Sinker
	// Of returns the tenant's own database as a Sinker, without opening it: each of its methods does while it runs.
	// Its Close does nothing. It has every companion; where the database lacks one, the error is
	// errors.ErrUnsupported.
	Of(tenant string) *Tenant
	// Places returns how many databases may be open at a time: there is no use in asking more of them at once.
	Places() int
}

var (
	_ PerTenant    = (*Router)(nil)
	_ Pruner       = (*Router)(nil)
	_ Eraser       = (*Router)(nil)
	_ Ledger       = (*Router)(nil)
	_ Scanner      = (*Router)(nil)
	_ TenantLister = (*Router)(nil)
)

// NewRouter checks cfg and returns a Router; no database is opened yet.
func NewRouter(cfg RouterConfig) (*Router, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sinkers: %w", err)
	}
	cfg.PoolSize = cmp.Or(cfg.PoolSize, DefaultPoolSize)
	cfg.OpenTimeout = cmp.Or(cfg.OpenTimeout, DefaultOpenTimeout)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Router{cfg: cfg, pool: newPool(cfg.PoolSize, cfg.OpenTimeout, cfg.Resolve, func(tenant string, err error) {
		cfg.Logger.Error("a tenant's database could not be closed", "tenant", tenant, "err", err)
	})}, nil
}

// Of implements PerTenant.
func (r *Router) Of(tenant string) *Tenant { return &Tenant{name: tenant, pool: r.pool} }

// Places implements PerTenant.
func (r *Router) Places() int { return r.cfg.PoolSize }

// Open returns how many databases are open, being opened or being closed.
func (r *Router) Open() int { return r.pool.held() }

// Close implements Sinker. It waits for what is going on, and closes every database.
func (r *Router) Close() error {
	r.pool.shutdown()
	return nil
}

// Ping implements Sinker. It says nothing of any tenant's database: see [Router.Of].
func (r *Router) Ping(ctx context.Context) error {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.pool.closed {
		return fmt.Errorf("sinkers: %w", ErrRouterClosed)
	}
	return ctx.Err()
}

// Write implements Sinker, a write for each tenant in turn. It goes on with the others when one fails: the error
// joins them all, and is a *BatchError if all of them are.
func (r *Router) Write(ctx context.Context, b Batch) (Result, error) {
	var (
		total Result
		bad   BatchError
		errs  []error
	)
	for _, part := range byTenant(b.Rows) {
		res, err := r.Of(part.tenant).Write(ctx, Batch{Rows: part.rows(b.Rows)})
		var refused *BatchError
		switch {
		case errors.As(err, &refused):
			for _, row := range refused.Rows {
				bad.Rows = append(bad.Rows, RowError{part.indexes[row.Index], row.Err})
			}
		case err != nil:
			if i, ok := Suspected(err); ok && i >= 0 && i < len(part.indexes) {
				err = Suspect(part.indexes[i], err)
			}
			errs = append(errs, err)
		default:
			total.add(res, part.indexes)
		}
	}
	switch {
	case errs != nil:
		return Result{}, errors.Join(errs...)
	case bad.Rows != nil:
		slices.SortFunc(bad.Rows, func(a, b RowError) int { return cmp.Compare(a.Index, b.Index) })
		return Result{}, &bad
	}
	slices.Sort(total.Conflicts)
	return total, nil
}

func (r *Result) add(part Result, indexes []int) {
	r.Stored += part.Stored
	r.Duplicates += part.Duplicates
	r.Expired += part.Expired
	r.Erased += part.Erased
	for _, i := range part.Conflicts {
		if stored, ok := part.StoredHashes[i]; ok {
			r.Conflict(indexes[i], stored)
		} else {
			r.Conflicts = append(r.Conflicts, indexes[i])
		}
	}
}

// tenantRows are the indexes of a tenant's rows in a batch.
type tenantRows struct {
	tenant  string
	indexes []int
}

func (p *tenantRows) rows(of []Row) []Row {
	if len(p.indexes) == len(of) {
		return of
	}
	rows := make([]Row, len(p.indexes))
	for i, index := range p.indexes {
		rows[i] = of[index]
	}
	return rows
}

func byTenant(rows []Row) (parts []tenantRows) {
	at := map[string]int{}
	for i := range rows {
		n, ok := at[rows[i].Tenant]
		if !ok {
			n = len(parts)
			at[rows[i].Tenant] = n
			parts = append(parts, tenantRows{tenant: rows[i].Tenant})
		}
		parts[n].indexes = append(parts[n].indexes, i)
	}
	return parts
}

// Erase implements Eraser, in the tenant's database.
func (r *Router) Erase(ctx context.Context, e Erasure) (int64, error) {
	return r.Of(e.Tenant).Erase(ctx, e)
}

// Prune implements Pruner, in the database of every tenant, some side by side. It goes on with the others when
// one fails, and returns a *TenantsError then.
func (r *Router) Prune(ctx context.Context, before time.Time, dryRun bool) (int64, error) {
	var mu sync.Mutex
	var total int64
	err := r.each(ctx, func(ctx context.Context, t *Tenant) error {
		n, err := t.Prune(ctx, before, dryRun)
		mu.Lock()
		defer mu.Unlock()
		total += n
		return err
	})
	return total, err
}

// Tenants implements TenantLister by RouterConfig.Tenants, in order.
func (r *Router) Tenants(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := r.names(ctx)
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

func (r *Router) names(ctx context.Context) (names []string, err error) {
	for name, nextErr := range r.cfg.Tenants(ctx) {
		if nextErr != nil {
			err = fmt.Errorf("sinkers: tenants: %w", nextErr)
			break
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// Scan implements Scanner, a tenant after the other.
func (r *Router) Scan(ctx context.Context, s Scan) iter.Seq2[Position, error] {
	return chain(ctx, r, s, func(t *Tenant) iter.Seq2[Position, error] { return t.Scan(ctx, Scan{Tenant: t.name}) })
}

// ReadLedger implements Ledger, a tenant after the other.
func (r *Router) ReadLedger(ctx context.Context, s Scan) iter.Seq2[LedgerEntry, error] {
	return chain(ctx, r, s, func(t *Tenant) iter.Seq2[LedgerEntry, error] { return t.ReadLedger(ctx, Scan{Tenant: t.name}) })
}

// AppendLedger implements Ledger, in the database of each entry's tenant.
func (r *Router) AppendLedger(ctx context.Context, entries []LedgerEntry) error {
	of := map[string][]LedgerEntry{}
	for _, e := range entries {
		of[e.Tenant] = append(of[e.Tenant], e)
	}
	var errs []error
	for tenant, entries := range of {
		errs = append(errs, r.Of(tenant).AppendLedger(ctx, entries))
	}
	return errors.Join(errs...)
}

// chain reads from the database of one tenant, or of every tenant in order; the first error ends it.
func chain[T any](ctx context.Context, r *Router, s Scan, read func(*Tenant) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		names, err := []string{s.Tenant}, error(nil)
		if s.AllTenants {
			names, err = r.names(ctx)
		}
		for _, name := range names {
			for v, err := range read(r.Of(name)) {
				if !yield(v, err) || err != nil {
					return
				}
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}
