package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table is what a section found out.
type table struct {
	title  string
	header []any
	rows   [][]any
	notes  []string
}

func (t *table) row(cells ...any) { t.rows = append(t.rows, cells) }

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", t.title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, cells := range append([][]any{t.header}, t.rows...) {
		for _, c := range cells {
			if f, ok := c.(float64); ok {
				c = number(f)
			}
			fmt.Fprintf(w, "%v\t", c)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // to a terminal or a file of the user's
	for _, n := range t.notes {
		fmt.Fprintln(out, n)
	}
}

// number has as many digits as mean anything here.
func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// goal says what a ratio should be, and whether it is.
func goal(met bool, want string) string {
	if met {
		return "met (" + want + ")"
	}
	return "MISSED (" + want + ")"
}
