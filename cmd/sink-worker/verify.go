package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

type verifyCmd struct {
	sinkSettings

	Tenant *string `flagonly:"" group:"filter" placeholder:"NAME" help:"Only this tenant; an empty name is the default one."`

	Letters cli.Bool `flagonly:"" group:"letters" help:"Look into the dead letters too: what is there isn't missing."`
	letterSettings

	All    bool   `flagonly:"" group:"page" help:"List whole sources, too."`
	Output string `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: an object for each source listed, the sum last."`
}

func (p *program) verify(ctx context.Context, c *verifyCmd) error {
	open := c.sinkSettings.check(p)
	checkTenant(&p.command.Problems, c.Tenant)
	var l letters
	if c.Letters.On {
		l = c.letterSettings.check(p)
	}
	for _, s := range p.command.Settings { // in the environment or the file they are other commands', too
		if s.From == "flag" && !c.Letters.On && slices.Contains([]string{"brokers", "dlq-dir", "letter-topic", "topics"}, s.Name) {
			p.command.Problems.Add(s.Name, "set, but letters are looked into only with --letters")
		}
	}
	if err := p.command.Problems.Err(); err != nil {
		return err
	}
	v := consumer.Verify{Scan: sinkers.Scan{AllTenants: c.Tenant == nil}}
	if c.Tenant != nil {
		v.Scan.Tenant = *c.Tenant
	}
	if c.Letters.On {
		end, err := l.open(ctx, p, true)
		if err != nil {
			return err
		}
		v.Explain, err = explainedByLetters(ctx, l.view)
		end()
		if err != nil {
			return err
		}
	}
	db, err := open.toRead(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	out := verifyOutput{w: p.stdout, json: c.Output == "json", all: c.All}
	v.Sink, v.OnSource = db, out.source
	report, err := v.Run(ctx)
	if err != nil {
		return err
	}
	if err := out.sum(&report); err != nil {
		return err
	}
	if report.Tenants == 0 {
		p.note("there are no events, of which nothing can be said")
	}
	if !report.Whole() {
		return fmt.Errorf("the trail is not whole: %d events are missing without an explanation, %d are irregular", report.Unexplained, report.Irregular)
	}
	return nil
}

// explainedByLetters returns the places of the events that are dead letters, or wait as such.
func explainedByLetters(ctx context.Context, view dlq.View) (found []sinkers.LedgerEntry, err error) {
	for e, err := range view.Letters(ctx) {
		if err != nil {
			return nil, err
		}
		event, _, err := decodeLetter(&e.Letter)
		if err != nil {
			continue // nobody knows what its place would have been
		}
		at := sinkers.Position{Tenant: event.Tenant, Source: event.Source, Seq: event.Seq}
		if entry, ok := sinkers.LedgerOf(at, sinkers.LedgerDeadLetter, e.FirstFailed); ok {
			found = append(found, entry)
		}
	}
	return sinkers.CompactLedger(found), nil
}

// verifyOutput prints sources as they are verified.
type verifyOutput struct {
	w         io.Writer
	json, all bool
	listed    int
}

func (o *verifyOutput) source(s consumer.SourceReport) error {
	if !o.all && s.Missing == 0 && s.Irregular == 0 {
		return nil
	}
	o.listed++
	if o.json {
		return json.NewEncoder(o.w).Encode(sourceJSON(&s))
	}
	state := "open since " + s.End.UTC().Format(show.TimeLayout)
	if s.Closed {
		state = "closed " + s.End.UTC().Format(show.TimeLayout)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q: %d events, %d to %d, %s%s\n", show.Clean(s.Source), s.Tenant, s.Events, s.First, s.Last, state, verdict(&s))
	for _, g := range s.Gaps {
		after := "the beginning"
		if !g.After.IsZero() {
			after = g.After.UTC().Format(show.TimeLayout)
		}
		reason := string(g.Reason)
		if reason == "" {
			reason = "UNEXPLAINED"
		}
		fmt.Fprintf(&b, "  %s: %d to %d (%d), between %s and %s\n", reason, g.From, g.To, g.To-g.From+1, after, g.Before.UTC().Format(show.TimeLayout))
	}
	if s.MoreGaps > 0 {
		fmt.Fprintf(&b, "  and %d gaps more\n", s.MoreGaps)
	}
	_, err := io.WriteString(o.w, b.String())
	return err
}

func verdict(s *consumer.SourceReport) string {
	text := ""
	if s.Missing > 0 {
		text = fmt.Sprintf("; missing %d, of which %d are explained", s.Missing, s.Missing-s.Unexplained)
	}
	if s.Irregular > 0 {
		text += fmt.Sprintf("; %d IRREGULAR: a second event of a sequence, or one after the end", s.Irregular)
	}
	return text
}

func (o *verifyOutput) sum(r *consumer.VerifyReport) error {
	if o.json {
		return json.NewEncoder(o.w).Encode(struct {
			Whole       bool                            `json:"whole"`
			Tenants     int                             `json:"tenants"`
			Sources     int                             `json:"sources"`
			Open        int                             `json:"open_sources"`
			Events      uint64                          `json:"events"`
			Unsequenced uint64                          `json:"unsequenced"`
			Missing     uint64                          `json:"missing"`
			Explained   map[sinkers.LedgerReason]uint64 `json:"explained"`
			Unexplained uint64                          `json:"unexplained"`
			Irregular   uint64                          `json:"irregular"`
		}{r.Whole(), r.Tenants, r.Sources, r.Open, r.Events, r.Unsequenced, r.Missing, r.Explained, r.Unexplained, r.Irregular})
	}
	t := show.NewTable()
	row := func(name string, n any, meaning string) { t.AppendRow(table.Row{name, n, meaning}) }
	row("tenants", r.Tenants, "")
	row("sources", r.Sources, fmt.Sprintf("%d open: they run, or were killed, and what they fired last isn't known", r.Open))
	row("events", r.Events, "")
	if r.Unsequenced > 0 {
		row("unsequenced", r.Unsequenced, "events of others, of which nothing can be said")
	}
	row("missing", r.Missing, "")
	for _, reason := range slices.Sorted(maps.Keys(r.Explained)) {
		row("  "+strings.ReplaceAll(string(reason), "_", " "), r.Explained[reason], "")
	}
	row("  unexplained", r.Unexplained, "")
	if r.Irregular > 0 {
		row("irregular", r.Irregular, "a second event of a sequence, or one after the end")
	}
	text := show.Lines(t.Render())
	if o.listed > 0 {
		text = "\n" + text
	}
	_, err := io.WriteString(o.w, text)
	return err
}

func sourceJSON(s *consumer.SourceReport) any {
	type gap struct {
		From   string     `json:"from"`
		To     string     `json:"to"`
		Reason string     `json:"reason,omitempty"`
		After  *time.Time `json:"after,omitempty"`
		Before time.Time  `json:"before"`
	}
	out := struct {
		Tenant      string                          `json:"tenant"`
		Source      string                          `json:"source"`
		Whole       bool                            `json:"whole"`
		Closed      bool                            `json:"closed"`
		Events      uint64                          `json:"events"`
		First       string                          `json:"first"`
		Last        string                          `json:"last"`
		Begin       time.Time                       `json:"begin"`
		End         time.Time                       `json:"end"`
		Missing     uint64                          `json:"missing"`
		Explained   map[sinkers.LedgerReason]uint64 `json:"explained"`
		Unexplained uint64                          `json:"unexplained"`
		Irregular   uint64                          `json:"irregular"`
		Gaps        []gap                           `json:"gaps"`
		MoreGaps    int                             `json:"more_gaps,omitempty"`
	}{
		s.Tenant, s.Source, s.Whole(), s.Closed, s.Events, seq(s.First), seq(s.Last), s.Begin, s.End, s.Missing, s.Explained,
		s.Unexplained, s.Irregular,
		[]gap{},
		s.MoreGaps,
	}
	for _, g := range s.Gaps {
		one := gap{From: seq(g.From), To: seq(g.To), Reason: string(g.Reason), Before: g.Before}
		if !g.After.IsZero() {
			one.After = &g.After
		}
		out.Gaps = append(out.Gaps, one)
	}
	return out
}
