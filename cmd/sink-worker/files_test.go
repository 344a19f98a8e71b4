package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// composition is the part of the Compose specification that our file uses; anything else is a mistake.
type composition struct {
	Name     string
	Services map[string]service
	Volumes  map[string]*struct{}
}

type service struct {
	Image       string
	Build       *struct{ Context string }
	Command     []string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck *struct {
		Test              []string
		Interval, Timeout string
		Retries           int
		StartPeriod       string `yaml:"start_period"`
	}
	Profiles        []string
	Tmpfs           []string
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	Restart         string
	Ulimits         map[string]struct{ Soft, Hard int }
}

func repository(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", name))
	require.NoError(t, err)
	return b
}

// No engine runs the compose file in the tests, so what can be wrong in it without one is looked for here.
func TestComposeFile(t *testing.T) {
	var c composition
	dec := yaml.NewDecoder(bytes.NewReader(repository(t, "docker-compose.redpanda.yml")), yaml.Strict())
	require.NoError(t, dec.Decode(&c))
	require.Subset(t, keys(c.Services), []string{"redpanda", "console", "topics", "worker", "clickhouse"})
	pinned := regexp.MustCompile(`^[a-z0-9/-]+:v?\d+(\.\d+)+$`)
	for name, s := range c.Services {
		if s.Build == nil {
			require.Regexp(t, pinned, s.Image, name)
		}
		for other, d := range s.DependsOn {
			require.Contains(t, c.Services, other, name)
			require.Contains(t, []string{"service_healthy", "service_completed_successfully"}, d.Condition, name)
			if d.Condition == "service_healthy" {
				require.NotNil(t, c.Services[other].Healthcheck, other)
			}
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			require.Contains(t, c.Volumes, volume, name)
		}
		for _, p := range s.Ports {
			require.True(t, strings.HasPrefix(p, "127.0.0.1:"), "%s: %s is open to others", name, p)
		}
	}
}

// The settings that the container files give are ones the worker takes.
func TestContainerSettings(t *testing.T) {
	var c composition
	require.NoError(t, yaml.Unmarshal(repository(t, "docker-compose.redpanda.yml"), &c))
	docker := string(repository(t, "Dockerfile"))
	image := map[string]string{}
	for _, m := range regexp.MustCompile(`(FIRETRAIL_[A-Z_]+)=(\S+)`).FindAllStringSubmatch(docker, -1) {
		image[m[1]] = m[2]
	}
	require.NotEmpty(t, image)
	for name, command := range map[string][]string{"worker": {"config", "check"}, "topics": nil} {
		var env []string
		for k, v := range image {
			env = append(env, k+"="+v)
		}
		for k, v := range c.Services[name].Environment {
			env = append(env, k+"="+v)
		}
		if command == nil {
			command = append(append([]string{}, c.Services[name].Command...), "--help")
		}
		out, stderr, code := sinkWorker(t, environment(env...), command...)
		require.Equal(t, cli.Done, code, stderr)
		for k := range c.Services[name].Environment {
			if name == "worker" {
				require.Contains(t, out, k, "%s is no setting", k)
			}
		}
	}
	for k := range image {
		require.True(t, known(t, k), "%s is no setting", k)
	}
	require.Contains(t, docker, "CGO_ENABLED=0")
	require.Regexp(t, `(?m)^USER [1-9]\d*:[1-9]\d*$`, docker)
}

// known reports whether an environment variable is one of run's settings.
func known(t *testing.T, env string) bool {
	out, _, code := sinkWorker(t, environment(), "config", "check", "--brokers=a:1", "--sqlite=x")
	require.Equal(t, cli.Done, code)
	for line := range strings.Lines(out) {
		if name, _, _ := strings.Cut(line, " "); cli.EnvName(name) == env {
			return true
		}
	}
	return false
}

func keys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}
