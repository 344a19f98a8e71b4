//go:build integration && unix

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/perf/benchfmt"

	"github.com/firetrail/firetrail/internal/testenv"
)

// targets are the least of what bounds it that the worker should do, by its sink.
var targets = map[string]float64{sinkDiscard: 0.6, sinkClickHouse: 0.9, sinkSQLite: 0.9}

// round is what came of one round, by name; bare inserts are under "bare " and the database.
type round map[string]outcome

// throughput has bare consumer, workers and bare drivers take turns.
func throughput(t *tb, s *settings, root string) error {
	binaries := map[string]string{}
	for _, name := range s.sinks {
		if name == sinkDiscard {
			continue
		}
		binaries[name] = filepath.Join(s.dir, name+".test")
		cmd := exec.Command("go", "-C", filepath.Join(root, "sinkers", name), "test", "-c", "-tags", "integration", "-o", binaries[name], ".")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := fill(t, s, s.events); err != nil {
		return err
	}
	var rounds []round
	for n := range s.rounds + 1 { // the first warms the page cache, and doesn't count
		r := round{}
		for _, name := range append([]string{consumeBare}, s.sinks...) {
			j := job{Name: name, Brokers: s.brokers, Topic: s.topic, Letters: s.letters, Events: s.events, Group: testenv.Unique(t)}
			if n == 0 && name != consumeBare {
				continue
			}
			if s.profile != "" {
				j.Profile = filepath.Join(s.profile, strings.ReplaceAll(name, " ", "-")+".pprof")
			}
			_, wait, err := start(j)
			if err != nil {
				return err
			}
			if r[name], err = wait(); err != nil {
				return err
			}
			if binary := binaries[name]; binary != "" {
				if r["bare "+name], err = bare(binary, filepath.Join(root, "sinkers", name), s.events, int(r[name].Batch)); err != nil {
					return err
				}
			}
		}
		if n > 0 {
			rounds = append(rounds, r)
		}
	}
	report(s, rounds)
	return nil
}

// bare runs the bare loop of a sink's package: so many of the same rows, in batches of the size that the worker's had.
func bare(binary, dir string, rows, batch int) (o outcome, err error) {
	cmd := exec.Command(binary, "-test.run", "^$", "-test.bench", "^BenchmarkBare$", "-test.benchtime", "1x")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprint("FIRETRAIL_BARE_ROWS=", rows), fmt.Sprint("FIRETRAIL_BARE_BATCH=", batch))
	out, err := cmd.Output()
	if err != nil {
		return o, fmt.Errorf("%s: %w\n%s", binary, err, out)
	}
	for reader := benchfmt.NewReader(bytes.NewReader(out), ""); reader.Scan(); {
		if r, ok := reader.Result().(*benchfmt.Result); ok {
			rate, _ := r.Value("bare-rows/s")
			o.Events, o.Batch = rows, float64(batch)
			o.Seconds = float64(rows) / rate
			o.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		}
	}
	if o.Events == 0 {
		return o, fmt.Errorf("%s said nothing:\n%s", binary, out)
	}
	return o, nil
}

// report prints the rates, and the ratios that the targets are about: each is the median of the rounds' own.
func report(s *settings, rounds []round) {
	lines := [][]string{{"", "events/s", "in the rounds", "CPU an event", "rows a write", "of the time in writes"}}
	add := func(name, title string) {
		rates, cpu, batch := values(rounds, func(r round) float64 { o := r[name]; return o.rate() }),
			values(rounds, func(r round) float64 { o := r[name]; return float64(o.cpuEach()) }),
			values(rounds, func(r round) float64 { return r[name].Batch })
		line := []string{
			title, fmt.Sprintf("%.0f", median(rates)), fmt.Sprintf("%.0f-%.0f", slices.Min(rates), slices.Max(rates)),
			time.Duration(median(cpu)).Round(10 * time.Nanosecond).String(), "", "",
		}
		if strings.HasPrefix(title, "bare driver") {
			line[3] = "" // it makes its rows too
		}
		if b := median(batch); b > 0 {
			line[4] = fmt.Sprintf("%.0f", b)
		}
		if writing := median(values(rounds, func(r round) float64 { o := r[name]; return o.Writing / o.Seconds })); writing > 0 {
			line[5] = fmt.Sprintf("%.2f", writing)
		}
		lines = append(lines, line)
	}
	add(consumeBare, "franz-go alone, reading")
	for _, name := range s.sinks {
		if name != sinkDiscard {
			add("bare "+name, "bare driver, "+name)
		}
		add(name, "worker to "+name)
	}
	table(fmt.Sprintf("%d events, %d rounds", s.events, s.rounds), lines)
	lines = [][]string{{"worker to", "beside", "ratio", "in the rounds", "target"}}
	for _, name := range s.sinks {
		ceiling := func(r round) float64 {
			c, b := r[consumeBare], r["bare "+name]
			if name == sinkDiscard {
				return c.rate()
			}
			return min(c.rate(), b.rate())
		}
		ratios := values(rounds, func(r round) float64 { o := r[name]; return o.rate() / ceiling(r) })
		beside, verdict := "bare consume", "MISSED"
		if name != sinkDiscard {
			beside = "the slower of bare consume and bare insert"
		}
		if median(ratios) >= targets[name] {
			verdict = "met"
		}
		lines = append(lines, []string{
			name, beside, fmt.Sprintf("%.3f", math.Floor(median(ratios)*1000)/1000), // never rounded up to a target it missed
			fmt.Sprintf("%.2f-%.2f", slices.Min(ratios), slices.Max(ratios)), fmt.Sprint(targets[name], " ", verdict),
		})
	}
	table("Ratios, in each round by itself; their median", lines)
}

func values[R any](rounds []R, of func(R) float64) []float64 {
	out := make([]float64, len(rounds))
	for i, r := range rounds {
		out[i] = of(r)
	}
	return out
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// table is printed with its columns aligned.
func table(title string, lines [][]string) {
	fmt.Fprintf(os.Stdout, "\n%s\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, cells := range lines {
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // to a terminal or a file of the user's
}
