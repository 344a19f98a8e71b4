package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("nothing\nof use\n"), 0o600))
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"flag":            {[]string{"--evens=3"}, cli.Usage, []string{`unknown flag --evens, did you mean "--events"?`}},
		"argument":        {[]string{"run"}, cli.Usage, []string{"unexpected argument run"}},
		"values":          {[]string{"--events=many", "--rate=fast", "--tenants=-1", "--outage=long", "--mode=durabel", "--format=csv"}, cli.Usage, []string{"6 problems:", `events: "many"`, "format: ", `mode: "durabel" is none of durable, volatile; did you mean "durable"?`, "outage: ", "rate: ", "tenants: -1 is outside 1 to 1000000"}},
		"negative":        {[]string{"--events=-1", "--rate=-1", "--outage=-1s", "--topic=", "--dir="}, cli.Usage, []string{"5 problems:"}},
		"outage, brokers": {[]string{"--outage=1s", "--brokers=a:1"}, cli.Usage, []string{"outage: only the broker in this process"}},
		"format":          {[]string{"--format=firetrail"}, cli.Usage, []string{"format: the bundled events are CloudTrail's"}},
		"drain":           {[]string{"--drain-only", "--input=x", "--events=3", "--rate=2", "--tenants=4", "--mode=volatile", "--outage=1s"}, cli.Usage, []string{"6 problems:", "events: contradicts --drain-only", "mode: volatile leaves nothing to drain"}},
		"no input":        {[]string{"--input=/nowhere.ndjson", "--dir", dir}, cli.Failed, []string{"input: open /nowhere.ndjson: no such file"}},
		"useless input":   {[]string{"--input", file, "--dir", dir}, cli.Failed, []string{"file: not one line could be read as an event"}},
		"input is a dir":  {[]string{"--input", dir, "--dir", dir}, cli.Failed, []string{"is a directory"}},
		"dir is a file":   {[]string{"--dir", file}, cli.Failed, []string{"dir: ", "file: not a directory"}},
		"no broker":       {[]string{"--brokers=127.0.0.1:1", "--dir", dir}, cli.Failed, []string{"brokers 127.0.0.1:1: unreachable"}},
		"bad broker":      {[]string{"--brokers=http://x", "--dir", dir}, cli.Usage, []string{`brokers[0]: "http://x" is a URL`}},
	} {
		t.Run(name, func(t *testing.T) {
			out, stderr, code := demoRun(t, "", c.args...)
			require.Equal(t, c.code, code, stderr)
			require.Empty(t, out)
			for _, w := range c.want {
				require.Contains(t, stderr, w)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	out, stderr, code := demoRun(t, "", "--help")
	require.Equal(t, cli.Done, code)
	require.Empty(t, stderr)
	for line := range strings.Lines(out) {
		require.LessOrEqual(t, text.StringWidth(strings.TrimRight(line, "\n")), 80, line)
	}
	path := filepath.Join("testdata", "help.txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(out), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), out)
}
