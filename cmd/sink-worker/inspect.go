package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/wal"
)

type walCmd struct {
	Inspect walInspectCmd `cmd:"" help:"Show what a producer's log holds, without changing it, whether it is in use or not."`
}

type walInspectCmd struct {
	Dir string `arg:"" placeholder:"DIR" help:"Directory of one log: DIR/NAMESPACE/SLOT of the producer's settings."`

	Events bool   `flagonly:"" group:"page" help:"Print the events that wait, too."`
	Output string `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: the report as an object, then a CloudEvents object for each event."`
}

// inspectWAL prints the report first, which is known last: the events are printed on a second reading.
func (p *program) inspectWAL(c *walInspectCmd) error {
	if err := p.command.Problems.Err(); err != nil {
		return err
	}
	report, err := wal.Inspect(wal.Config{Dir: c.Dir}, nil)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = json.NewEncoder(p.stdout).Encode(reportJSON(&report))
	} else {
		err = printReport(p.stdout, &report)
	}
	if err != nil || !c.Events {
		return err
	}
	return p.printPending(c)
}

// printPending prints the events that wait, a page at a time.
func (p *program) printPending(c *walInspectCmd) error {
	const page = 500
	var events []firetrail.Event
	var failed error
	printer := p.eventPrinter(c.Output, true)
	flush := func() {
		if failed == nil && len(events) > 0 {
			failed = printer.Page(events)
		}
		events = events[:0]
	}
	_, err := wal.Inspect(wal.Config{Dir: c.Dir}, func(r wal.Record) {
		e, err := firetrail.DecodeBinary(append([]byte(nil), r.Payload...))
		if err == nil {
			_, err = e.AppendCloudEvent(nil)
		}
		if err != nil {
			p.log.Warn("a record is no event that can be sent", "seq", r.Seq, "type", r.Type, "error", err)
			return
		}
		if events = append(events, e); len(events) == page {
			flush()
		}
	})
	flush()
	if failed != nil {
		return failed
	}
	return err
}

func printReport(w io.Writer, r *wal.Report) error {
	t := show.NewTable()
	var numbers []table.ColumnConfig
	for column := 2; column <= 6; column++ {
		numbers = append(numbers, table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(numbers)
	t.AppendHeader([]any{"FILE", "BYTES", "USED", "FIRST", "LAST", "RECORDS", "PROBLEM"})
	for _, s := range r.Segments {
		if s.First == 0 { // nothing of it can be read
			t.AppendRow([]any{s.Name, s.Bytes, "", "", "", "", s.Problem})
			continue
		}
		t.AppendRow([]any{s.Name, s.Bytes, s.Used, s.First, s.Last, s.Records, s.Problem})
	}
	if r.Ring.Records > 0 || r.Ring.Problem != "" {
		t.AppendRow([]any{"ring", r.Ring.Size, r.Ring.Bytes, r.Ring.First, r.Ring.Last, r.Ring.Records, r.Ring.Problem})
	}
	inUse := "nobody has it open"
	if r.InUse {
		inUse = "in use: what is below may have changed since"
	}
	mark := "none"
	if r.HasMark {
		mark = fmt.Sprintf("released up to %d, on the disk up to %d", r.Released, r.Synced)
	}
	report := fmt.Sprintf("%s (%s)\nmark: %s\n\n%s\nwaiting: %s\n", show.Clean(r.Dir), inUse, mark, show.Lines(t.Render()), records(r.Pending))
	for _, m := range r.Missing {
		where := m.Reason
		if m.Name != "" {
			where += " in " + filepath.Base(m.Name)
		}
		report += fmt.Sprintf("missing: %s, %d to %d: %s\n", records(m.Records()), m.From, m.To, where)
	}
	for _, name := range r.Damaged {
		report += "set aside: damaged/" + show.Clean(name) + "\n"
	}
	_, err := io.WriteString(w, report)
	return err
}

func records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}

// reportJSON is the report as the output json has it.
func reportJSON(r *wal.Report) any {
	type segment struct {
		File    string `json:"file"`
		Bytes   int64  `json:"bytes"`
		Used    int64  `json:"used"`
		First   string `json:"first"`
		Last    string `json:"last"`
		Records int    `json:"records"`
		Holes   int    `json:"holes"`
		Problem string `json:"problem,omitempty"`
	}
	type loss struct {
		From   string `json:"from"`
		To     string `json:"to"`
		File   string `json:"file,omitempty"`
		Reason string `json:"reason"`
	}
	type ring struct {
		Used    int64  `json:"used"`
		First   string `json:"first"`
		Last    string `json:"last"`
		Records int    `json:"records"`
		Problem string `json:"problem,omitempty"`
	}
	out := struct {
		Dir      string    `json:"dir"`
		InUse    bool      `json:"in_use"`
		Released string    `json:"released"`
		Synced   string    `json:"synced"`
		Segments []segment `json:"segments"`
		Ring     ring      `json:"ring"`
		Pending  uint64    `json:"pending"`
		Missing  []loss    `json:"missing"`
		Damaged  []string  `json:"damaged"`
	}{
		Dir: r.Dir, InUse: r.InUse, Released: seq(r.Released), Synced: seq(r.Synced), Segments: []segment{},
		Ring:    ring{r.Ring.Bytes, seq(r.Ring.First), seq(r.Ring.Last), r.Ring.Records, r.Ring.Problem},
		Pending: r.Pending, Missing: []loss{}, Damaged: append([]string{}, r.Damaged...),
	}
	for _, s := range r.Segments {
		out.Segments = append(out.Segments, segment{s.Name, s.Bytes, s.Used, seq(s.First), seq(s.Last), s.Records, s.Holes, s.Problem})
	}
	for _, m := range r.Missing {
		out.Missing = append(out.Missing, loss{seq(m.From), seq(m.To), m.Name, m.Reason})
	}
	return out
}

// seq is a sequence as JSON keeps it whole: as text.
func seq(n uint64) string { return strconv.FormatUint(n, 10) }
