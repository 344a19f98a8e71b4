package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/dlq"
)

type dlqRedriveCmd struct {
	letterSettings
	letterFilter

	Limit       cli.Int   `flagonly:"" group:"redrive" help:"Letters to send at the most; 0: all."`
	Rate        cli.Float `flagonly:"" group:"redrive" help:"Letters a second at the most; 0: as fast as it goes."`
	MaxRedrives cli.Int   `flagonly:"" group:"redrive" default:"3" help:"Leave what was redriven so often and failed again."`
	Force       bool      `flagonly:"" group:"redrive" help:"Send it however often it was."`
	DryRun      bool      `flagonly:"" group:"redrive" help:"Send nothing; list what would be sent."`
	Output      string    `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: an object a line, the report last."`
}

func (c *dlqRedriveCmd) verify(p *program) {
	problems := &p.command.Problems
	if len(c.Brokers) == 0 {
		problems.Add("brokers", "missing; the letters go back to Kafka, such as --brokers localhost:9092")
	}
	if c.Limit.N < 0 {
		problems.Add("limit", "%d is negative; 0 is all", c.Limit.N)
	}
	if c.Rate.F < 0 {
		problems.Add("rate", "%g is negative; 0 is as fast as it goes", c.Rate.F)
	}
	if c.MaxRedrives.N < 1 {
		problems.Add("max-redrives", "%d is less than 1; --force sends whatever it was", c.MaxRedrives.N)
	}
}

func (p *program) redriveLetters(ctx context.Context, c *dlqRedriveCmd) (err error) {
	filter := c.filter(&p.command.Problems)
	l := c.check(p)
	c.verify(p)
	end, err := l.open(ctx, p, true)
	if err != nil {
		return err
	}
	defer end()
	journal, err := dlq.OpenJournal(l.journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	r := dlq.Redrive{
		View: l.view, Journal: journal, Filter: filter, Limit: c.Limit.N, Rate: c.Rate.F,
		MaxRedrives: c.MaxRedrives.N, DryRun: c.DryRun,
	}
	if c.Force {
		r.MaxRedrives = -1
	}
	out := redriveOutput{p: p, json: c.Output == "json", dryRun: c.DryRun, progress: rate.Sometimes{Interval: 5 * time.Second}}
	r.OnLetter = out.letter
	// What a topic takes isn't known here: the broker says what is too large.
	opts := slices.Concat(l.kafka, []kgo.Opt{kgo.ProducerBatchMaxBytes(64 << 20)})
	var report dlq.RedriveReport
	err = withKafkaClient(ctx, opts, func(cl *kgo.Client) (err error) {
		r.Client = cl
		report, err = r.Run(ctx)
		return err
	})
	if report == nil {
		return err
	}
	if err := errors.Join(out.err, out.report(report)); err != nil {
		return err
	}
	if err != nil {
		return stopped(ctx, err, "run it again to go on")
	}
	if n := report[dlq.RedriveRefused]; n > 0 {
		return fmt.Errorf("the broker refuses %d letters", n)
	}
	return nil
}

// redriveOutput prints what becomes of the letters.
type redriveOutput struct {
	p            *program
	json, dryRun bool
	progress     rate.Sometimes
	sent         int
	err          error
}

func (o *redriveOutput) letter(e *dlq.Entry, outcome dlq.RedriveOutcome, reason error) {
	if outcome == dlq.RedriveSent {
		o.sent++
		o.progress.Do(func() {
			if o.sent > 1 {
				o.p.note("%d letters sent", o.sent)
			}
		})
	}
	text := ""
	if reason != nil {
		text = reason.Error()
	}
	switch {
	case o.err != nil:
	case o.json:
		o.err = json.NewEncoder(o.p.stdout).Encode(struct {
			Letter  string             `json:"letter"`
			Outcome dlq.RedriveOutcome `json:"outcome"`
			Topic   string             `json:"topic"`
			Reason  string             `json:"reason,omitempty"`
		}{e.ID, outcome, e.Topic, text})
	case outcome == dlq.RedriveSent && o.dryRun:
		_, o.err = fmt.Fprintf(o.p.stdout, "would send %s to %s\n", show.Clean(e.ID), show.Clean(e.Topic))
	case outcome == dlq.RedriveRefused:
		_, o.err = fmt.Fprintf(o.p.stdout, "refused %s for %s: %s\n", show.Clean(e.ID), show.Clean(e.Topic), show.Clean(text))
	}
}

// redriveLines says what the outcomes mean, in the order that they are printed in.
var redriveLines = []struct {
	outcome dlq.RedriveOutcome
	meaning string
}{
	{dlq.RedriveSent, "back in their topics"},
	{dlq.RedriveAlready, "by an earlier redrive"},
	{dlq.RedriveSucceeded, "redriven before, and later letters now"},
	{dlq.RedriveWaiting, "tried again by their worker or producer"},
	{dlq.RedriveLooping, "redriven too often; --force sends them"},
	{dlq.RedriveIncomplete, "without their bytes or their origin"},
	{dlq.RedriveRefused, "by the broker"},
}

func (o *redriveOutput) report(r dlq.RedriveReport) error {
	if o.json {
		return json.NewEncoder(o.p.stdout).Encode(struct {
			DryRun bool              `json:"dry_run"`
			Report dlq.RedriveReport `json:"report"`
		}{o.dryRun, r})
	}
	t := show.NewTable()
	for _, l := range redriveLines {
		if n := r[l.outcome]; n > 0 || l.outcome == dlq.RedriveSent {
			meaning := l.meaning
			if o.dryRun && l.outcome == dlq.RedriveSent {
				meaning = "would be sent; this was a dry run"
			}
			t.AppendRow([]any{string(l.outcome), n, meaning})
		}
	}
	_, err := io.WriteString(o.p.stdout, show.Lines(t.Render()))
	return err
}
