package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/dlq"
)

type dlqListCmd struct {
	letterSettings
	letterFilter

	Limit  cli.Int `flagonly:"" group:"page" default:"50" help:"Letters to list at the most; 0: all."`
	Output string  `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: an object a line."`
}

func (p *program) listLetters(ctx context.Context, c *dlqListCmd) error {
	filter := c.filter(&p.command.Problems)
	l := c.check(p)
	if c.Limit.N < 0 {
		p.command.Problems.Add("limit", "%d is negative; 0 is all", c.Limit.N)
	}
	end, err := l.open(ctx, p, true)
	if err != nil {
		return err
	}
	defer end()
	sent, err := dlq.ReadJournal(l.journal)
	if err != nil {
		return err
	}
	var found newest
	found.limit = c.Limit.N
	for e, err := range l.view.Letters(ctx) {
		if err != nil {
			return err
		}
		if filter.Match(&e.Letter) {
			found.add(e)
		}
	}
	if err := printLetters(p.stdout, c.Output, found.sorted(), sent); err != nil {
		return err
	}
	switch {
	case found.all == 0:
		p.note("no letters match")
	case found.all > len(found.entries):
		p.note("the newest %d of %d letters; --limit=0 lists all", len(found.entries), found.all)
	}
	return nil
}

// newest keeps the newest letters, without their bytes.
type newest struct {
	limit   int // 0: all
	all     int
	entries []dlq.Entry
}

func (n *newest) add(e dlq.Entry) {
	const longest = 500
	e.Key, e.Value, e.Headers = nil, nil, nil
	if len(e.Error) > longest {
		e.Error = strings.Clone(strings.ToValidUTF8(e.Error[:longest], "")) + "…"
	}
	n.all++
	n.entries = append(n.entries, e)
	if n.limit > 0 && len(n.entries) >= 2*n.limit+1000 {
		n.sorted()
	}
}

func (n *newest) sorted() []dlq.Entry {
	slices.SortStableFunc(n.entries, func(a, b dlq.Entry) int {
		return cmp.Or(b.FirstFailed.Compare(a.FirstFailed), cmp.Compare(a.ID, b.ID))
	})
	if n.limit > 0 && len(n.entries) > n.limit {
		n.entries = n.entries[:n.limit]
	}
	return n.entries
}

func printLetters(w io.Writer, output string, entries []dlq.Entry, sent map[string]dlq.Redriven) error {
	if output == "json" {
		for i := range entries {
			if err := json.NewEncoder(w).Encode(letterJSON(&entries[i], sent)); err != nil {
				return err
			}
		}
		return nil
	}
	t := show.NewTable()
	t.AppendHeader(table.Row{"FAILED", "TENANT", "REASON", "STATE", "IN", "LETTER", "ORIGIN", "ERROR"})
	cell := show.Clean
	for i := range entries {
		e := &entries[i]
		failed := "-"
		if !e.FirstFailed.IsZero() {
			failed = e.FirstFailed.UTC().Format(show.TimeLayout)
		}
		t.AppendRow(table.Row{
			failed, cell(e.Tenant), cell(e.Reason), letterState(e, sent), keptIn(e), cell(e.ID), cell(origin(&e.Letter)), cell(e.Error),
		})
	}
	t.SetColumnConfigs([]table.ColumnConfig{
		{Name: "TENANT", WidthMax: 24, WidthMaxEnforcer: trim},
		{Name: "REASON", WidthMax: 24, WidthMaxEnforcer: trim},
		{Name: "ORIGIN", WidthMax: 40, WidthMaxEnforcer: trim},
		{Name: "ERROR", WidthMax: 80, WidthMaxEnforcer: trim},
	})
	_, err := io.WriteString(w, show.Lines(t.Render()))
	return err
}

func trim(s string, width int) string {
	if text.StringWidth(s) <= width {
		return s
	}
	return text.Trim(s, width-1) + "…"
}

// letterLine is a letter as the output json has it.
type letterLine struct {
	ID          string        `json:"id"`
	Tenant      string        `json:"tenant"`
	State       string        `json:"state"`
	Reason      string        `json:"reason"`
	Error       string        `json:"error"`
	Stage       string        `json:"stage,omitempty"`
	Attempts    int           `json:"attempts"`
	Redrives    int           `json:"redrives,omitempty"`
	FirstFailed *time.Time    `json:"first_failed,omitempty"`
	Topic       string        `json:"topic,omitempty"`
	Partition   int32         `json:"partition"`
	Offset      int64         `json:"offset"`
	File        string        `json:"file,omitempty"`
	InTopic     bool          `json:"in_topic"`
	Stub        bool          `json:"stub,omitempty"`
	Successor   string        `json:"successor,omitempty"`
	Redriven    *redrivenLine `json:"redriven,omitempty"`
}

type redrivenLine struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
}

func letterJSON(e *dlq.Entry, sent map[string]dlq.Redriven) letterLine {
	line := letterLine{
		ID: e.ID, Tenant: e.Tenant, State: letterState(e, sent), Reason: e.Reason, Error: e.Error, Stage: e.Stage,
		Attempts: e.Attempts, Redrives: e.Redrives(), Topic: e.Topic, Partition: e.Partition, Offset: e.Offset,
		File: e.File, InTopic: e.InTopic, Stub: e.Stub, Successor: e.Successor,
	}
	if !e.FirstFailed.IsZero() {
		line.FirstFailed = &e.FirstFailed
	}
	if d, ok := sent[e.ID]; ok {
		line.Redriven = &redrivenLine{d.Topic, d.Partition, d.Offset, d.Time}
	}
	return line
}
