package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/sinkers"
)

// examine asks the database for every id, and gathers the figures.
func (d *demonstration) examine(ctx context.Context, p *pipeline, f *feeder) (*result, error) {
	c, err := p.ids.ask(ctx, p.db)
	if err != nil {
		return nil, err
	}
	made, took := p.producer.Stats(), p.worker.Stats()
	r := &result{
		Fired: f.fired.Load(), Recovered: int64(made.Recovered), Shipped: int64(made.Shipped + made.Reshipped),
		Stored: int64(c.Stored), Missing: int64(c.Missing), Repeated: int64(c.Repeated), Duplicates: took.Duplicates,
		DeadLettered: int64(f.bad) + int64(made.Letters) - made.Dir.Delivered, Unprotected: int64(made.Unprotected),
		FireNS: fireNS{
			P50: f.latency.quantile(0.5), P99: f.latency.quantile(0.99), P999: f.latency.quantile(0.999), Max: f.latency.max,
		},
		MaxRSSBytes: maxRSS(), missing: c.firsts,
	}
	// What is still in the log has not said its id.
	r.Missing += int64(made.Recovered) - int64(made.Reshipped)
	r.Dropped = int64(made.DroppedEvents())
	for _, n := range took.Letters {
		r.DeadLettered += n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	const ms = float64(time.Millisecond)
	r.EndToEndMS = latency{P50: float64(p.endToEnd.quantile(0.5)) / ms, P99: float64(p.endToEnd.quantile(0.99)) / ms}
	begin := f.first
	if begin.IsZero() {
		begin = p.began
	}
	if p.last.After(begin) {
		r.Seconds = p.last.Sub(begin).Seconds()
		r.EventsPerSecond = float64(c.Stored) / r.Seconds
	}
	return r, nil
}

// newest is how many events are shown in the end.
const newest = 5

// print shows the figures, the newest events, and how to go on.
func (d *demonstration) print(ctx context.Context, p *pipeline, r *result) error {
	if d.settings.JSON {
		return r.printJSON(d.stdout)
	}
	if err := r.printTable(d.stdout); err != nil {
		return err
	}
	events, err := newestEvents(ctx, p.db)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(d.stdout, "\nThe newest events:\n"); err != nil {
		return err
	}
	t := show.Table{Out: d.stdout, Width: cli.Width(d.stdout, 100), Tenants: true}
	if err := t.Page(events); err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.stdout, "\nGo on with:\n  %s\n", d.goOn())
	return err
}

// newestEvents returns the newest events that somebody fired. The ends of earlier runs are newer than most: they
// happened now, the bundled events in 2023.
func newestEvents(ctx context.Context, db sinkers.Sinker) (events []firetrail.Event, err error) {
	q := sinkers.Query{AllTenants: true, Limit: sinkers.MaxLimit}
	for {
		page, err := db.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Events {
			if !e.Action.Reserved() {
				events = append(events, e)
			}
			if len(events) == newest {
				return events, nil
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return events, nil
		}
	}
}

// goOn is the command line that reads what was stored.
func (d *demonstration) goOn() string {
	command := "sink-worker"
	if exe, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(exe), command)
		if strings.Contains(exe, string(filepath.Separator)+"go-build") {
			command = "go run ./cmd/sink-worker"
		} else if _, err := os.Stat(beside); err == nil {
			command = quote(beside)
		}
	}
	line := fmt.Sprintf("%s query --sqlite %s", command, quote(d.settings.path("audit.db")))
	if d.settings.Input == "" && d.settings.Tenants.N == 0 {
		line += " --action 'iam.*' --limit 20"
	}
	return line
}

// quote makes one word for a shell of s.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:=@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
