package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

type grammar struct {
	Config string `flagonly:""`
	Work   struct {
		Name  string       `default:"x" choice:"x,yes,zebra"`
		List  []string     `placeholder:"A"`
		Count cli.Int      `default:"3"`
		Size  cli.Size     `default:"8MiB"`
		Wait  cli.Duration `default:"1s"`
		Rate  cli.Float    ``
		TLS   struct {
			Enabled cli.Bool
			CAFile  string `name:"ca-file"`
		} `embed:"" prefix:"tls-"`
		Since cli.Time `flagonly:""`
	} `cmd:"" default:"withargs"`
	Other struct {
		Only string
	} `cmd:""`
}

func environment(pairs ...string) cli.Environment { return pairs }

// parse returns the grammar, the parsed command, and what Exit printed and returned.
func parse(t *testing.T, env cli.Environment, args ...string) (grammar, *cli.Command, string, int) {
	t.Helper()
	var g grammar
	var out bytes.Buffer
	cmd, err := cli.Program{Name: "prog", Env: env, Stdout: &out}.Parse(&g, args)
	if err == nil {
		err = cmd.Problems.Err()
	}
	code := cli.Exit(&out, "prog", err)
	return g, cmd, out.String(), code
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	file := write(t, "count: 1\nsize: 1KiB\nwait: 10ms\nlist: [a, b]\ntls:\n  enabled: yes\n  ca-file: ca.pem\nonly: for the other command\nrate:\n")
	env := environment("FIRETRAIL_CONFIG="+file, "FIRETRAIL_COUNT=2", "FIRETRAIL_SIZE=2KiB", "FIRETRAIL_NAME=", "FIRETRAIL_ONLY=y", "FIRETRAIL_SINCE=nonsense")
	g, cmd, out, code := parse(t, env, "--count=3", "--since=2020-01-02")
	require.Equal(t, cli.Done, code, out)
	require.Equal(t, 3, g.Work.Count.N, "the flag")
	require.EqualValues(t, 2048, g.Work.Size.Bytes, "the environment")
	require.Equal(t, 10*time.Millisecond, g.Work.Wait.Duration, "the file")
	require.Equal(t, "x", g.Work.Name, "the default: an empty variable is none")
	require.Equal(t, []string{"a", "b"}, g.Work.List)
	require.True(t, g.Work.TLS.Enabled.On)
	require.Equal(t, "ca.pem", g.Work.TLS.CAFile)
	require.Equal(t, 2020, g.Work.Since.Year())
	require.Equal(t, "work", cmd.Path)

	require.Empty(t, cmd.Warnings)

	from := map[string]string{}
	for _, s := range cmd.Settings {
		from[s.Name] = s.Value + " from " + s.From
	}
	require.Equal(t, "3 from flag", from["count"])
	require.Equal(t, "2KiB from FIRETRAIL_SIZE", from["size"])
	require.Equal(t, "10ms from "+file+":3", from["wait"])
	require.Equal(t, "x from default", from["name"])
	require.NotContains(t, from, "since")
}

func TestAlmostAVariable(t *testing.T) {
	env := environment("FIRETRAIL_CUONT=2", "FIRETRAIL_SERVICE_PORT_HTTP=80", "FIRETRAIL_SASL_PASSWORD=x", "FIRETRAIL_WAIT=1s", "WAIT=2s")
	_, cmd, out, code := parse(t, env)
	require.Equal(t, cli.Done, code, out)
	require.Equal(t, []string{"FIRETRAIL_CUONT is no setting; did you mean FIRETRAIL_COUNT?"}, cmd.Warnings)
}

func TestEveryProblemAtOnce(t *testing.T) {
	file := write(t, "wait: soon\nsise: 3\ntls:\n  enabled: perhaps\nlist: [a, {b: c}]\nsasl-password: hush\n")
	_, _, out, code := parse(t, environment("FIRETRAIL_COUNT=many"), "--config", file, "--rate=fast", "--name", "zebre", "--since=never")
	require.Equal(t, cli.Usage, code)
	require.Equal(t, strings.ReplaceAll(`prog: 9 problems:
  count: "many" is not a whole number (from FIRETRAIL_COUNT)
  list: want one value, not mapping (FILE:5)
  name: "zebre" is none of x, yes, zebra; did you mean "zebra"?
  rate: "fast" is not a number
  sasl-password: a secret is not taken from here; use sasl-password-file or FIRETRAIL_SASL_PASSWORD (FILE:6)
  since: "never" is not a time: give 2006-01-02T15:04:05Z, 2006-01-02, or how long ago, such as 24h
  sise: no such setting; did you mean "size"? (FILE:2)
  tls-enabled: "perhaps" is neither true nor false (from FILE:4)
  wait: "soon" is not a duration, such as 500ms, 30s or 5m (from FILE:1)
`, "FILE", file), out)
}

func TestBadCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":       {[]string{"--cuont=3"}, "prog: unknown flag --cuont, did you mean \"--count\"?\nRun \"prog --help\" for what there is.\n"},
		"misspelt command":   {[]string{"othr"}, "prog: unexpected argument othr, did you mean \"other\"?\nRun \"prog --help\" for what there is.\n"},
		"a secret as a flag": {[]string{"--sasl-password=x"}, "prog: unknown flag --sasl-password\nRun \"prog --help\" for what there is.\n"},
		"no number":          {[]string{"work", "--count"}, "prog: --count: needs a value\nRun \"prog work --help\" for what there is.\n"},
		"a minus":            {[]string{"work", "--count", "-1"}, "prog: --count: expected string value but got \"-1\" (short flag); perhaps try --count=\"-1\"?\nRun \"prog work --help\" for what there is.\n"},
		"no value":           {[]string{"work", "--name"}, "prog: --name: needs a value\nRun \"prog work --help\" for what there is.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, out, code := parse(t, environment(), c.args...)
			require.Equal(t, cli.Usage, code)
			require.Equal(t, c.want, out)
		})
	}
}

func TestBadFile(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not YAML":      {"a: [", "is not YAML"},
		"twice":         {"count: 1\ncount: 2\n", `"count" already defined`},
		"twice, nested": {"tls-ca-file: a\ntls:\n  ca-file: b\n", "tls-ca-file: set twice; the first is at"},
		"a list":        {"- a\n- b\n", `want lines of "setting: value"`},
		"a word":        {"hello\n", `want lines of "setting: value"`},
		"two documents": {"count: 1\n---\ncount: 2\n", "a second document"},
		"comma in list": {"list:\n  - a,b\n", "a comma in a list's entry"},
		"flags only":    {"since: 2020-01-01\n", "since: no such setting"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, out, code := parse(t, environment(), "--config", write(t, c.text))
			require.Equal(t, cli.Usage, code, out)
			require.Contains(t, out, c.want)
		})
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "count:\n"} {
		_, _, out, code := parse(t, environment(), "--config", write(t, text))
		require.Equal(t, cli.Done, code, "%q: %s", text, out)
	}
	_, _, out, code := parse(t, environment(), "--config", "/nowhere/c.yaml")
	require.Equal(t, cli.Usage, code)
	require.Equal(t, "prog: config: cannot read the file: open /nowhere/c.yaml: no such file or directory\n", out)
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{"count: 1", "a: &x [1]\nb: *x", "? a\n: b", "tls: {ca-file: !!str x}", "- - a", "a: |\n  b\n", "<<: {a: b}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var g grammar
		path := filepath.Join(t.TempDir(), "c.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		cmd, err := cli.Program{Name: "prog", Env: environment(), Stdout: &bytes.Buffer{}}.Parse(&g, []string{"--config", path})
		if err == nil && len(cmd.Settings) == 0 {
			t.Fatal("neither an error nor settings")
		}
	})
}

func TestHelpAndSecretsStayApart(t *testing.T) {
	_, cmd, out, code := parse(t, environment(), "--help")
	require.Equal(t, cli.Done, code)
	require.True(t, cmd.Help)
	require.Contains(t, out, "Usage: prog <command> [flags]")
}
