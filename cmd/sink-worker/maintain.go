package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/sinkers"
)

// keepSettings say how long events are kept.
type keepSettings struct {
	RetentionDays cli.Int `group:"retention" default:"0" help:"Days that events are kept, by when they happened; older ones are pruned, and not stored. 0 keeps all."`
}

// retentionSettings say how long, and when the others are deleted.
type retentionSettings struct {
	keepSettings
	PruneSchedule string `group:"retention" default:"0 0 * * *" placeholder:"CRON" help:"When the worker prunes: minute, hour, day, month, weekday, in UTC (0 0 * * *)."`
}

func (s *keepSettings) retention() sinkers.Retention {
	return sinkers.Retention{Days: s.RetentionDays.N}
}

func (s *keepSettings) check(p *cli.Problems) {
	if err := s.retention().Validate(); err != nil {
		p.Add("retention-days", "%d is outside 1 to %d (0 keeps everything)", s.RetentionDays.N, sinkers.MaxDays)
	}
}

func (s *retentionSettings) check(p *cli.Problems) {
	s.keepSettings.check(p)
	prune := consumer.Prune{Schedule: s.PruneSchedule}
	if err := prune.Validate(); err != nil {
		p.Add("prune-schedule", "%w", err)
	}
}

type pruneCmd struct {
	sinkSettings

	keepSettings
	Before cli.Time `flagonly:"" group:"retention" placeholder:"TIME" help:"Delete what happened before this time instead: 2006-01-02T15:04:05Z, 2006-01-02, or how long ago (720h)."`
	DryRun cli.Bool `flagonly:"" group:"retention" help:"Count only."`
	Output string   `flagonly:"" group:"general" short:"o" default:"text" choice:"text,json" help:"Print the result as text or json."`
}

// deleted is the result of prune and erase.
type deleted struct {
	Events int64     `json:"events"`
	Before time.Time `json:"before"`
	DryRun bool      `json:"dry_run"`
}

func (p *program) prune(ctx context.Context, c *pruneCmd) error {
	problems := &p.command.Problems
	retention := c.retention()
	c.keepSettings.check(problems)
	before := c.Before.Time
	switch {
	case problems.Has("retention-days"):
	case before.IsZero() && retention.Days == 0:
		problems.Add("retention-days", "missing; say how many days are kept, or give --before")
	case before.IsZero():
		before = retention.Cutoff()
	}
	if err := retention.CheckPrune(before); err != nil {
		p.addDeleteProblem(err)
	}
	open := c.sinkSettings.check(p)
	if err := problems.Err(); err != nil {
		return err
	}
	return p.deleting(ctx, open, c.Output, deleted{Before: before, DryRun: c.DryRun.On}, func(db sinkers.Sinker) (int64, error) {
		pruner, ok := db.(sinkers.Pruner)
		if !ok {
			return 0, fmt.Errorf("%T: %w", db, errors.ErrUnsupported)
		}
		return pruner.Prune(ctx, before, c.DryRun.On)
	})
}

type eraseCmd struct {
	sinkSettings

	Tenant    *string  `flagonly:"" group:"erase" placeholder:"NAME" help:"Events of this tenant; an empty name is the default one; required."`
	ActorID   string   `flagonly:"" group:"erase" placeholder:"ID" help:"Only those of this actor."`
	ActorType string   `flagonly:"" group:"erase" placeholder:"TYPE" help:"Only where the actor is of this type."`
	Before    cli.Time `flagonly:"" group:"erase" placeholder:"TIME" help:"Only what happened before this time: 2006-01-02T15:04:05Z, 2006-01-02, or how long ago (now)."`
	Reason    string   `flagonly:"" group:"erase" placeholder:"TEXT" help:"Kept with the tombstone, such as the number of the request."`
	DryRun    cli.Bool `flagonly:"" group:"erase" help:"Count only."`
	Output    string   `flagonly:"" group:"general" short:"o" default:"text" choice:"text,json" help:"Print the result as text or json."`
}

func (p *program) erase(ctx context.Context, c *eraseCmd) error {
	e := sinkers.Erasure{ActorID: c.ActorID, ActorType: c.ActorType, Before: c.Before.Time, Reason: c.Reason, DryRun: c.DryRun.On}
	if c.Tenant == nil {
		p.command.Problems.Add("tenant", "missing; name the one whose events are to be erased")
	} else {
		e.Tenant = *c.Tenant
	}
	e, err := e.At(time.Now())
	for _, err := range unjoin(err) {
		p.addDeleteProblem(err)
	}
	open := c.sinkSettings.check(p)
	if err := p.command.Problems.Err(); err != nil {
		return err
	}
	return p.deleting(ctx, open, c.Output, deleted{Before: e.Before, DryRun: e.DryRun}, func(db sinkers.Sinker) (int64, error) {
		eraser, ok := db.(sinkers.Eraser)
		if !ok {
			return 0, fmt.Errorf("%T: %w", db, errors.ErrUnsupported)
		}
		return eraser.Erase(ctx, e)
	})
}

// addDeleteProblem notes a problem that begins with a field's name.
func (p *program) addDeleteProblem(err error) {
	name, text, _ := strings.Cut(err.Error(), ": ")
	p.command.Problems.Add(strings.ReplaceAll(name, " ", "-"), "%s", text)
}

// deleting runs what deletes, and prints how much it did.
func (p *program) deleting(ctx context.Context, open opener, output string, res deleted, run func(sinkers.Sinker) (int64, error)) (err error) {
	db, err := open.toDelete(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	switch res.Events, err = run(db); {
	case err != nil && res.DryRun:
		return err
	case err != nil:
		return fmt.Errorf("%d events were deleted; run it again to go on: %w", res.Events, err)
	}
	if output == "json" {
		return json.NewEncoder(p.stdout).Encode(res)
	}
	verb := "deleted"
	if res.DryRun {
		verb = "would be deleted"
	}
	_, err = fmt.Fprintf(p.stdout, "%d events from before %s %s\n", res.Events, res.Before.UTC().Format(time.RFC3339Nano), verb)
	return err
}
