package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/dlq"
)

type dlqPurgeCmd struct {
	letterSettings
	letterFilter

	Redriven bool   `flagonly:"" group:"filter" help:"Only what was redriven."`
	Waiting  bool   `flagonly:"" group:"purge" help:"Also letters that wait to be tried again: their events are lost."`
	DryRun   bool   `flagonly:"" group:"purge" help:"Delete nothing; count what would be."`
	Yes      bool   `flagonly:"" group:"purge" help:"Do it. Without this, nothing is deleted."`
	Output   string `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: an object."`
}

func (p *program) purgeLetters(ctx context.Context, c *dlqPurgeCmd) error {
	filter := c.filter(&p.command.Problems)
	l := c.check(p)
	if !c.Yes && !c.DryRun {
		p.command.Problems.Add("yes", "missing; letters that are purged are gone: look with --dry-run, then give --yes")
	}
	end, err := l.open(ctx, p, c.DryRun)
	if err != nil {
		return err
	}
	defer end()
	keep, err := c.kept(ctx, &l)
	if err != nil {
		return err
	}
	sent, err := dlq.ReadJournal(l.journal)
	if err != nil {
		return err
	}
	purge := dlq.Purge{Waiting: c.Waiting, DryRun: c.DryRun, Match: func(l *dlq.Letter) bool {
		_, redriven := sent[l.ID]
		return filter.Match(l) && (redriven || !c.Redriven)
	}}
	var files, topic dlq.PurgeResult
	var errs []error
	if l.view.Topic != "" { // first: where its name is wrong, no file is deleted
		match, purge := purge.Match, purge
		purge.Match = func(l *dlq.Letter) bool { return !keep[l.ID] && match(l) }
		if topic, err = dlq.PurgeTopic(ctx, l.view.Topic, purge, l.kafka...); err != nil {
			errs = append(errs, err)
		}
	}
	if l.view.Dir != nil && len(errs) == 0 {
		if files, err = l.view.Dir.Purge(ctx, purge); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, printPurge(p.stdout, c, files, topic))...)
}

// kept returns the letters whose copy in the topic must stay, since they wait in the directory.
func (c *dlqPurgeCmd) kept(ctx context.Context, l *letters) (map[string]bool, error) {
	keep := map[string]bool{}
	if c.Waiting || l.view.Dir == nil || l.view.Topic == "" {
		return keep, nil
	}
	for e, err := range (dlq.View{Dir: l.view.Dir, OnProblem: l.view.OnProblem}).Letters(ctx) {
		if err != nil {
			return nil, err
		}
		if e.Kind == dlq.Waiting {
			keep[e.ID] = true
		}
	}
	return keep, nil
}

func printPurge(w io.Writer, c *dlqPurgeCmd, files, topic dlq.PurgeResult) error {
	if c.Output == "json" {
		return json.NewEncoder(w).Encode(struct {
			DryRun       bool `json:"dry_run"`
			FromFiles    int  `json:"from_files"`
			FromTopic    int  `json:"from_topic"`
			Waiting      int  `json:"left_waiting"`
			Behind       int  `json:"left_behind_kept"`
			BusyFiles    int  `json:"busy_files"`
			DamagedFiles int  `json:"damaged_files"`
		}{c.DryRun, files.Letters, topic.Letters, files.Waiting, topic.Behind, files.Busy, files.Damaged})
	}
	verb := "deleted"
	if c.DryRun {
		verb = "would delete"
	}
	t := show.NewTable()
	t.AppendRow([]any{verb, files.Letters, "letters from files"})
	t.AppendRow([]any{verb, topic.Letters, "letters from the topic"})
	for _, left := range []struct {
		n       int
		meaning string
	}{
		{files.Waiting, "letters in files, which wait; --waiting deletes them too"},
		{topic.Behind, "letters in the topic: Kafka deletes from the front, and one that is kept lies before them"},
		{files.Busy, "files that another process is at work on"},
		{files.Damaged, "damaged files; remove them by hand"},
	} {
		if left.n > 0 {
			t.AppendRow([]any{"left", left.n, left.meaning})
		}
	}
	_, err := io.WriteString(w, show.Lines(t.Render()))
	return err
}
