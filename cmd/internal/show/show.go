// Package show prints events for people, as a table, and for programs, as one CloudEvents object a line.
package show

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/firetrail/firetrail"
)

// TimeLayout is how a table shows when an event happened.
const TimeLayout = "2006-01-02 15:04:05Z"

// Table prints events in rows of at most Width columns. Its columns are as wide on every page.
type Table struct {
	Out     io.Writer
	Width   int  // of the terminal; narrower than 80 counts as 80
	Tenants bool // show whose each event is
	headed  bool
}

// column is one column of the table: its share of what the fixed ones leave.
type column struct {
	title string
	share int // in 100; 0: fixed
	fixed int
	tail  bool // cut at the front: the end of an ARN or a path says more than its beginning
	cell  func(e *firetrail.Event) string
}

func (t *Table) columns() []column {
	cols := []column{
		{title: "TIME", fixed: len(TimeLayout), cell: func(e *firetrail.Event) string { return e.Time.UTC().Format(TimeLayout) }},
		{title: "TENANT", share: 24, cell: func(e *firetrail.Event) string { return e.Tenant }},
		{title: "ACTION", share: 30, cell: func(e *firetrail.Event) string { return e.Action.String() }},
		{title: "ACTOR", share: 20, tail: true, cell: func(e *firetrail.Event) string { return first(e.Actor.Name, e.Actor.ID, e.Actor.Type) }},
		{title: "ENTITY", share: 26, tail: true, cell: func(e *firetrail.Event) string { return first(e.Entity.ID, e.Entity.Type) }},
		{title: "OUTCOME", fixed: len("success"), cell: func(e *firetrail.Event) string { return e.Outcome.String() }},
	}
	if !t.Tenants {
		cols = append(cols[:1], cols[2:]...)
	}
	return cols
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

const gap = "  "

func widths(cols []column, total int) []int {
	total = max(total, 80) - len(gap)*(len(cols)-1)
	shares := 0
	for _, c := range cols {
		total -= c.fixed
		shares += c.share
	}
	w := make([]int, len(cols))
	for i, c := range cols {
		w[i] = c.fixed + total*c.share/shares
	}
	return w
}

// Page prints events. The first page, even an empty one, has the header.
func (t *Table) Page(events []firetrail.Event) error {
	cols := t.columns()
	width := widths(cols, t.Width)
	w := NewTable()
	configs := make([]table.ColumnConfig, len(cols))
	for i := range cols {
		configs[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignLeft, AlignHeader: text.AlignLeft, WidthMin: width[i], WidthMax: width[i]}
	}
	w.SetColumnConfigs(configs)
	if !t.headed {
		t.headed = true
		row := make(table.Row, len(cols))
		for i, c := range cols {
			row[i] = c.title
		}
		w.AppendHeader(row)
	}
	for i := range events {
		row := make(table.Row, len(cols))
		for j, c := range cols {
			row[j] = fit(Clean(c.cell(&events[i])), width[j], c.tail)
		}
		w.AppendRow(row)
	}
	_, err := io.WriteString(t.Out, Lines(w.Render()))
	return err
}

// NewTable returns a table without lines, two blanks between its columns.
func NewTable() table.Writer {
	w := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", gap
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	return w
}

// Lines returns rendered lines without the blanks at their ends, each ended by a line feed.
func Lines(rendered string) string {
	if rendered == "" {
		return ""
	}
	var b strings.Builder
	for line := range strings.Lines(rendered) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// fit cuts s to width columns, at its end or at its front.
func fit(s string, width int, tail bool) string {
	if text.StringWidth(s) <= width {
		return s
	}
	if !tail {
		return text.Trim(s, width-1) + "…"
	}
	for text.StringWidth(s) > width-1 {
		_, n := utf8.DecodeRuneInString(s)
		s = s[n:]
	}
	return "…" + s
}

// Clean replaces what a terminal would act on instead of showing it: control characters, and those that
// turn the direction of writing. Whoever writes an event must not be able to rewrite the screen of
// who reads it.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return '\uFFFD'
		}
		return r
	}, s)
}
