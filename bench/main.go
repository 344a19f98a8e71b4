// Command bench measures Firetrail beside what a service would use instead, in one run on one machine, and prints
// tables with ratios: absolute figures are the machine's, ratios are the program's.
//
//	go run .                  what an event costs its caller, the log beside its ceiling, recovery, shipping
//	go run . -only fire,log   some of them
//	go run . -short           all of it once, in seconds: that it works
//
// It is a module of its own, so that the peers' dependencies reach nobody. Candidates take turns, so that what else
// the machine does meets all of them alike, and each is given its best block of turns.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// settings are the command line's.
type settings struct {
	dir     string
	blocks  int           // each candidate's result is its best block's median
	bursts  int           // in a block
	pause   time.Duration // before each burst, for what runs behind the callers to come to rest
	backlog int64         // bytes, of the log that is recovered
	ship    int           // events to ship
	brokers []string
	match   string // part of the names of the candidates that are measured
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == brokerArgument {
		runBroker()
		return
	}
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

var sections = []struct {
	name string
	run  func(*settings) (*table, error)
}{
	{"fire", fireSection},
	{"log", logSection},
	{"recovery", recoverySection},
	{"ship", shipSection},
}

func run(args []string) (err error) {
	fl := flag.NewFlagSet("bench", flag.ContinueOnError)
	s := settings{}
	only := fl.String("only", "", "sections to run, with commas between: fire, log, recovery, ship (default all)")
	short := fl.Bool("short", false, "a few seconds of everything, to see that it works; the figures mean nothing")
	brokers := fl.String("brokers", "", "addresses of a Kafka that has the topic "+topic+" (default: an embedded broker, in a process of its own)")
	fl.StringVar(&s.dir, "dir", "", "where files go (default: a temporary directory)")
	fl.StringVar(&s.match, "match", "", "measure only candidates whose name has this in it")
	fl.IntVar(&s.blocks, "blocks", 7, "blocks of bursts for each candidate; the best counts")
	fl.IntVar(&s.bursts, "bursts", 40, "bursts of a block")
	fl.DurationVar(&s.pause, "pause", 4*time.Millisecond, "rest before each burst: with 4 ms, some 20,000 events a second")
	fl.Int64Var(&s.backlog, "backlog", 1<<30, "bytes of the log that is recovered")
	fl.IntVar(&s.ship, "ship", 200_000, "events to ship")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if *short {
		s.blocks, s.bursts, s.pause, s.backlog, s.ship = 1, 2, time.Millisecond, 32<<20, 2000
	}
	if s.dir, err = os.MkdirTemp(s.dir, "firetrail-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	if s.brokers = strings.Split(*brokers, ","); *brokers == "" {
		b, err := startBroker()
		if err != nil {
			return err
		}
		defer b.stop()
		s.brokers = []string{b.addr}
	}
	fmt.Fprintf(os.Stdout, "%s, %s/%s, %d processors\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	for _, section := range sections {
		if *only != "" && !strings.Contains(","+*only+",", ","+section.name+",") {
			continue
		}
		t, err := section.run(&s)
		if err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
		t.print(os.Stdout)
	}
	return nil
}
