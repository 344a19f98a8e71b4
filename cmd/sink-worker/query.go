package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/sinkers"
)

// queryCmd has a flag for each field of sinkers.Query.
type queryCmd struct {
	sinkSettings

	Tenant     *string  `flagonly:"" group:"filter" placeholder:"NAME" help:"Events of this tenant; an empty name is the default one."`
	AllTenants cli.Bool `flagonly:"" group:"filter" help:"Events of every tenant (unless --tenant is given)."`
	Action     string   `flagonly:"" group:"filter" placeholder:"NAME" help:"Exact name (iam.CreateUser), or all below one (iam.*)."`
	ActorType  string   `flagonly:"" group:"filter" placeholder:"TYPE" help:"Type of who acted."`
	Actor      string   `flagonly:"" group:"filter" placeholder:"ID" help:"Id of who acted."`
	EntityType string   `flagonly:"" group:"filter" placeholder:"TYPE" help:"Type of what was acted on."`
	Entity     string   `flagonly:"" group:"filter" placeholder:"ID" help:"Id of what was acted on."`
	Outcome    string   `flagonly:"" group:"filter" placeholder:"OUTCOME" choice:"success,failure,denied" help:"success, failure or denied."`
	From       cli.Time `flagonly:"" group:"filter" placeholder:"TIME" help:"At this time or later: 2006-01-02T15:04:05Z, 2006-01-02, or how long ago (24h)."`
	To         cli.Time `flagonly:"" group:"filter" placeholder:"TIME" help:"Before this time."`

	Limit  cli.Int `flagonly:"" group:"page" default:"50" help:"Events a page, 1 to 500."`
	Cursor string  `flagonly:"" group:"page" placeholder:"CURSOR" help:"Go on where the page before ended."`
	All    bool    `flagonly:"" group:"page" help:"Print every page."`
	Output string  `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: a CloudEvents object a line."`
}

// selection returns the query and notes what is wrong with it.
func (c *queryCmd) selection(p *cli.Problems) sinkers.Query {
	q := sinkers.Query{
		AllTenants: c.Tenant == nil,
		Action:     c.Action, ActorType: c.ActorType, ActorID: c.Actor,
		EntityType: c.EntityType, EntityID: c.Entity, Outcome: c.Outcome,
		From: c.From.Time, To: c.To.Time,
		Limit: c.Limit.N, Cursor: sinkers.Cursor(c.Cursor),
	}
	if c.Tenant != nil {
		q.Tenant = *c.Tenant
		if c.AllTenants.On {
			p.Add("all-tenants", "contradicts --tenant %q; give one of the two", q.Tenant)
		}
	}
	if c.Limit.N < 1 || c.Limit.N > sinkers.MaxLimit {
		p.Add("limit", "%d is outside 1 to %d", c.Limit.N, sinkers.MaxLimit)
	}
	for _, err := range unjoin(q.Validate()) {
		name, text, _ := strings.Cut(err.Error(), ": ")
		p.Add(name, "%s", text)
	}
	return q
}

// pager prints pages of events.
type pager interface {
	Page(events []firetrail.Event) error
}

func (p *program) query(ctx context.Context, c *queryCmd) error {
	q := c.selection(&p.command.Problems)
	open := c.sinkSettings.check(p)
	if (c.SQLiteDir != "" || c.isLibSQLPerTenant()) && c.Tenant == nil && !c.AllTenants.On {
		p.command.Problems.Add("tenant", "missing; each has a database of its own: name one, or give --all-tenants to ask them all")
	}
	if err := p.command.Problems.Err(); err != nil {
		return err
	}
	db, err := open.toRead(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()

	return p.pages(ctx, db, q, p.eventPrinter(c.Output, q.AllTenants), c.All)
}

// eventPrinter prints events on stdout, as a table or as JSON.
func (p *program) eventPrinter(output string, tenants bool) pager {
	if output == "json" {
		return &show.JSON{Out: p.stdout}
	}
	return &show.Table{Out: p.stdout, Width: cli.Width(p.stdout, 100), Tenants: tenants}
}

// pages prints one page, or all of them.
func (p *program) pages(ctx context.Context, db sinkers.Sinker, q sinkers.Query, out pager, all bool) error {
	for found := 0; ; {
		page, err := db.Query(ctx, q)
		var missing *sinkers.TenantsError
		if errors.As(err, &missing) { // the others' events are there, and more are not known of
			return errors.Join(out.Page(page.Events), fmt.Errorf("query: events are missing: %w", err))
		}
		if err != nil {
			return fmt.Errorf("query: %w", err)
		}
		if err := out.Page(page.Events); err != nil {
			return err
		}
		found += len(page.Events)
		if page.Next != "" && all {
			q.Cursor = page.Next
			continue
		}
		if found == 0 {
			p.note("no events match")
		}
		if page.Next != "" {
			p.note("there are more: go on with --cursor %s", page.Next)
		}
		return nil
	}
}

// note tells the person, and keeps out of the way of whoever reads stdout.
func (p *program) note(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, format+"\n", args...)
}
