//go:build integration && unix

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/firetrail/firetrail/internal/testenv"
)

const (
	module   = "github.com/firetrail/firetrail"
	childArg = "measured-process"
)

// settings are the command line's.
type settings struct {
	dir     string
	events  int
	rounds  int
	sinks   []string
	lag     int
	scale   bool
	flood   bool
	times   int
	profile string
	brokers []string
	topic   string
	letters string
}

func main() {
	var err error
	if len(os.Args) == 2 && os.Args[1] == childArg {
		err = withTB(runChild)
	} else {
		err = withTB(func(t *tb) error { return run(t, os.Args[1:]) })
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// sinkNames are what the worker writes to, in the order of the report.
var sinkNames = []string{sinkDiscard, sinkClickHouse, sinkSQLite}

func run(t *tb, args []string) error {
	fl := flag.NewFlagSet("worker", flag.ContinueOnError)
	var s settings
	fl.StringVar(&s.dir, "dir", "", "where files go (default: a temporary directory)")
	fl.IntVar(&s.events, "events", 500_000, "events of the topic")
	fl.IntVar(&s.rounds, "rounds", 5, "rounds; their median counts")
	only := fl.String("only", strings.Join(sinkNames, ","), "what the worker writes to, with commas between")
	fl.IntVar(&s.lag, "lag", 0, "measure the memory of a worker with so many records of lag instead")
	fl.BoolVar(&s.scale, "scale", false, "measure 1, 2 and 4 workers instead")
	fl.BoolVar(&s.flood, "flood", false, "measure what tenants wait beside one that has all of the topic's events waiting instead")
	fl.IntVar(&s.times, "times", 0, "with -flood: that one produces so many times the others' events instead of having -events waiting")
	fl.StringVar(&s.profile, "profile", "", "folder for processor profiles of the workers (default: none are made)")
	if err := fl.Parse(args); err != nil {
		return err
	}
	for _, name := range strings.Split(*only, ",") {
		if !slices.Contains(sinkNames, name) {
			return fmt.Errorf("-only %s: no such sink; there are %s", name, strings.Join(sinkNames, ", "))
		}
		s.sinks = append(s.sinks, name)
	}
	if s.rounds < 1 || s.events < 1000 {
		return errors.New("-rounds must be 1 or more, -events 1000 or more")
	}
	if s.times < 0 || s.times > 0 && !s.flood {
		return errors.New("-times must be 1 or more, and given with -flood")
	}
	if s.profile != "" {
		var err error
		if s.profile, err = filepath.Abs(s.profile); err != nil {
			return err
		}
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if err := os.Chdir(filepath.Join(root, "bench", "worker")); err != nil { // where the rows are found from
		return err
	}
	if s.dir, err = os.MkdirTemp(s.dir, "firetrail-worker-"); err != nil {
		return err
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })
	if err := os.Setenv("TMPDIR", s.dir); err != nil { // the servers' files too
		return err
	}
	s.brokers = testenv.StartKafka(t, 1).Addrs()
	fmt.Fprintf(os.Stdout, "%s, %s/%s, %d processors, one broker beside it\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	switch {
	case s.lag > 0:
		return lag(t, &s)
	case s.scale:
		return scale(t, &s)
	case s.flood:
		return flood(t, &s)
	default:
		return throughput(t, &s, root)
	}
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	return strings.TrimSpace(string(out)), err
}

// start starts j in a process of its own; the function it returns waits for what comes of it.
func start(j job) (*exec.Cmd, func() (outcome, error), error) {
	cmd := exec.Command(os.Args[0], childArg)
	in, err := json.Marshal(j)
	if err != nil {
		return nil, nil, err
	}
	var out strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(string(in)), &out, os.Stderr
	cmd.Env = append(os.Environ(), memoryLimit, collector) // for the bare ones, too: it makes them faster
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return cmd, func() (o outcome, err error) {
		if err := cmd.Wait(); err != nil {
			return o, fmt.Errorf("%s: %w", j.Name, err)
		}
		if err := json.Unmarshal([]byte(out.String()), &o); err != nil {
			return o, fmt.Errorf("%s: %w in %q", j.Name, err, out.String())
		}
		return o, nil
	}, nil
}
