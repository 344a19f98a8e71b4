//go:build integration && unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firetrail/firetrail/internal/testenv"
)

const (
	// memoryTarget is the most that a worker should take, whatever its lag.
	memoryTarget = 300 << 20
	// memoryLimit is what sink-worker sets for the garbage collector, with its defaults, and so is collector.
	memoryLimit = "GOMEMLIMIT=216MiB"
	collector   = "GOGC=400"
)

type sample struct {
	at  time.Time
	rss int64
}

// lag measures the memory of a worker that discards while it catches up.
func lag(t *tb, s *settings) error {
	if err := fill(t, s, s.lag); err != nil {
		return err
	}
	cmd, wait, err := start(job{
		Name: sinkDiscard, Brokers: s.brokers, Topic: s.topic, Letters: s.letters, Events: s.lag, Group: testenv.Unique(t),
	})
	if err != nil {
		return err
	}
	var (
		samples []sample
		done    = make(chan error, 1)
		o       outcome
		tick    = time.NewTicker(100 * time.Millisecond)
		highest int64
	)
	defer tick.Stop()
	go func() {
		var err error
		o, err = wait()
		done <- err
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			running = false
		case now := <-tick.C:
			rss, high, err := memoryOf(cmd.Process.Pid)
			if err == nil && rss > 0 { // it may have ended
				samples, highest = append(samples, sample{now, rss}), max(highest, high)
			}
		}
	}
	return reportLag(samples, highest, &o)
}

// memoryOf returns what the process has in memory, and the most it ever had.
func memoryOf(pid int) (rss, high int64, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		into := map[string]*int64{"VmRSS": &rss, "VmHWM": &high}[name]
		if into == nil {
			continue
		}
		kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		*into = kB << 10
	}
	return rss, high, nil
}

func reportLag(samples []sample, highest int64, o *outcome) error {
	var within []float64
	for _, s := range samples {
		if s.at.After(o.Begun) && s.at.Before(o.Ended) {
			within = append(within, float64(s.rss)/(1<<20))
		}
	}
	tenth := len(within) / 10
	if tenth == 0 {
		return errors.New("it was over too soon for ten samples; give a larger -lag")
	}
	lines := [][]string{{"memory (RSS)", "MiB"}}
	add := func(what string, mib float64) { lines = append(lines, []string{what, fmt.Sprintf("%.0f", mib)}) }
	first, last := median(within[:tenth]), median(within[len(within)-tenth:])
	add("first tenth of the time, median", first)
	add("all of it, median", median(within))
	add("last tenth, median", last)
	add("highest sample", slices.Max(within))
	add("highest ever (VmHWM)", float64(highest)/(1<<20))
	table(fmt.Sprintf("A worker that discards, %d events behind, caught up with %d in %.0f s (%.0f/s), %s", o.Events, o.Events,
		o.Seconds, o.rate(), memoryLimit), lines)
	verdict := "met"
	if highest > memoryTarget {
		verdict = "MISSED"
	}
	fmt.Fprintf(os.Stdout, "last ÷ first tenth %.2f; at the most %d MiB wanted: %s\n", last/first, memoryTarget>>20, verdict)
	return nil
}
