package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/perf/benchfmt"
)

const module = "github.com/firetrail/firetrail"

// program is the test binary of a sink's package.
type program struct {
	database string
	path     string
	dir      string // of the package: its tests are run there
	temp     string // where its servers and databases have their files
}

// compile makes the test binaries of the sinks' packages, with the build tag of those that have servers.
func compile(dir string, databases []string) ([]program, error) {
	out, err := command("go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return nil, err
	}
	root := strings.TrimSpace(string(out))
	programs := make([]program, len(databases))
	for i, name := range databases {
		p := program{name, filepath.Join(dir, name+".test"), filepath.Join(root, "sinkers", name), dir}
		if _, err := command("go", "-C", p.dir, "test", "-c", "-tags", "integration", "-o", p.path, "."); err != nil {
			return nil, err
		}
		programs[i] = p
	}
	return programs, nil
}

func command(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return out, nil
}

// result is what one benchmark reported in one round.
type result struct {
	name    string // without the function's: native/10000
	metrics map[string]float64
}

// bench runs one benchmark function of the package in a process of its own. What the function does before its
// sub-benchmarks, such as filling a table, is done once; each of those is then run count times.
func (p *program) bench(function, benchtime string, count int, env ...string) ([]result, error) {
	cmd := exec.Command(p.path, "-test.run", "^$", "-test.bench", "^Benchmark"+function+"$",
		"-test.benchtime", benchtime, "-test.count", fmt.Sprint(count))
	cmd.Dir = p.dir
	cmd.Env = append(append(os.Environ(), "TMPDIR="+p.temp), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: Benchmark%s: %w\n%s", p.database, function, err, out)
	}
	results, err := parse(out)
	if err == nil && len(results) == 0 {
		err = fmt.Errorf("it said nothing; the servers need a Unix\n%s", out)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: Benchmark%s: %w", p.database, function, err)
	}
	return results, nil
}

func parse(out []byte) (results []result, err error) {
	reader := benchfmt.NewReader(bytes.NewReader(out), "")
	for reader.Scan() {
		switch r := reader.Result().(type) {
		case *benchfmt.Result:
			// The parts are the function, its sub-benchmarks' names, and the number of processors.
			_, parts := r.Name.Parts()
			var name strings.Builder
			for _, part := range parts {
				if part[0] == '/' {
					name.Write(part)
				}
			}
			metrics := make(map[string]float64, len(r.Values))
			for _, v := range r.Values {
				metrics[v.Unit] = v.Value
			}
			results = append(results, result{strings.TrimPrefix(name.String(), "/"), metrics})
		case *benchfmt.SyntaxError:
			return nil, r
		}
	}
	return results, reader.Err()
}
