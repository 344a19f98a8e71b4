package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// target is the least of what a bare driver does that a sink should do.
const target = 0.9

// series holds the rounds of the benchmarks of one kind, in the order in which they came first.
type series struct {
	keys   []string
	rounds map[string][]map[string]float64
}

func (s *series) add(database string, results []result) {
	for _, r := range results {
		key := database + "/" + r.name
		if s.rounds == nil {
			s.rounds = make(map[string][]map[string]float64)
		}
		if s.rounds[key] == nil {
			s.keys = append(s.keys, key)
		}
		s.rounds[key] = append(s.rounds[key], r.metrics)
	}
}

// spread returns the least, the median and the most of a metric. A round without it is an error: the table would
// otherwise show a nought.
func (s *series) spread(key, metric string) (least, median, most float64, err error) {
	var values []float64
	for _, round := range s.rounds[key] {
		v, ok := round[metric]
		if !ok {
			return 0, 0, 0, fmt.Errorf("%s: no %s", key, metric)
		}
		values = append(values, v)
	}
	slices.Sort(values)
	n := len(values)
	median = (values[(n-1)/2] + values[n/2]) / 2
	return values[0], median, values[n-1], nil
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

// writes has the packages take turns: what else the machine does meets all of them alike.
func writes(s *settings, programs []program) error {
	var all series
	for range s.rounds {
		for _, p := range programs {
			results, err := p.bench("Write", s.benchtime, 1)
			if err != nil {
				return err
			}
			all.add(p.database, results)
		}
	}
	lines := [][]string{{"database", "protocol", "batch", "rows/s sink", "rows/s bare", "sink/bare", "in the rounds", fmt.Sprint("target ", target)}}
	for _, key := range all.keys {
		_, sink, _, err := all.spread(key, "sink-rows/s")
		if err != nil {
			return err
		}
		_, bare, _, err := all.spread(key, "bare-rows/s")
		if err != nil {
			return err
		}
		least, ratio, most, err := all.spread(key, "sink/bare")
		if err != nil {
			return err
		}
		verdict := "met"
		if ratio < target {
			verdict = "MISSED"
		}
		lines = append(lines, append(strings.Split(key, "/"), fmt.Sprintf("%.0f", sink), fmt.Sprintf("%.0f", bare),
			fmt.Sprintf("%.3f", math.Floor(ratio*1000)/1000), // never rounded up to a target it missed
			fmt.Sprintf("%.2f-%.2f", least, most), verdict))
	}
	table("Storing the same rows; the ratio is the median of the pairs of batches, not that of the rates", lines)
	return nil
}

// pages fills each table once and reads it in so many rounds: filling takes longest.
func pages(s *settings, programs []program) error {
	var all series
	var env []string
	if s.pageRows > 0 {
		env = append(env, fmt.Sprint("FIRETRAIL_PAGE_ROWS=", s.pageRows))
	}
	for _, p := range programs {
		if !slices.Contains(paged, p.database) {
			continue
		}
		results, err := p.bench("Pages", s.benchtime, s.rounds, env...)
		if err != nil {
			return err
		}
		all.add(p.database, results)
	}
	lines := [][]string{{"database", "page of", "first µs", "thousandth µs", "thousandth/first", "in the rounds"}}
	for _, key := range all.keys {
		_, first, _, err := all.spread(key, "first-µs")
		if err != nil {
			return err
		}
		_, far, _, err := all.spread(key, "thousandth-µs")
		if err != nil {
			return err
		}
		least, ratio, most, err := all.spread(key, "thousandth/first")
		if err != nil {
			return err
		}
		database, name, _ := strings.Cut(key, "/")
		lines = append(lines, []string{
			database, strings.ReplaceAll(name, "_", " "), fmt.Sprintf("%.0f", first),
			fmt.Sprintf("%.0f", far), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.2f-%.2f", least, most),
		})
	}
	if len(all.keys) > 0 {
		table("Reading pages of 50, newest first", lines)
	}
	return nil
}
