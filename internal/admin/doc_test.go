package admin

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

const (
	metricsDoc = "../../docs/metrics.md"
	begin      = "<!-- worker: kept by go test ./internal/admin -update -->\n"
	end        = "<!-- end -->\n"
)

// served returns all that /metrics serves of ours, of a worker of which everything is known.
func served(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	w := NewWorker(func() consumer.Stats {
		return consumer.Stats{
			Letters: map[string]int64{dlq.ReasonRefused: 1}, State: consumer.Paused,
			Partitions: []consumer.PartitionStat{{Topic: "t", Lag: 1, Oldest: time.Now()}},
			Circuit:    consumer.Circuit{State: consumer.CircuitOpen, Since: time.Now()},
		}
	})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w, NewLetters(func() dlq.DirStats { return dlq.DirStats{} }))
	families, err := registry.Gather()
	require.NoError(t, err)
	return families
}

func table(families []*dto.MetricFamily) string {
	var b strings.Builder
	b.WriteString("| metric | kind | labels | what |\n|---|---|---|---|\n")
	for _, f := range families {
		labels := []string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
	}
	return b.String()
}

// The metrics in docs/metrics.md are those that are served. -update rewrites them.
func TestMetricsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile(metricsDoc)
	require.NoError(t, err)
	before, rest, ok := bytes.Cut(doc, []byte(begin))
	require.True(t, ok)
	_, after, ok := bytes.Cut(rest, []byte(end))
	require.True(t, ok)
	want := slices.Concat(before, []byte(begin+table(served(t))+end), after)
	if *update {
		require.NoError(t, os.WriteFile(metricsDoc, want, 0o600))
		return
	}
	require.Equal(t, string(want), string(doc))
}

// The example of alert rules is YAML, and asks for metrics that there are.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../../docs/alerts.yml")
	require.NoError(t, err)
	var rules struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	require.NoError(t, yaml.UnmarshalWithOptions(text, &rules, yaml.Strict()))
	doc, err := os.ReadFile(metricsDoc)
	require.NoError(t, err)
	name := regexp.MustCompile(`firetrail_\w+`)
	for _, g := range rules.Groups {
		require.NotEmpty(t, g.Rules, g.Name)
		for _, r := range g.Rules {
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			for _, metric := range name.FindAllString(r.Expr, -1) {
				metric = strings.TrimSuffix(metric, "_bucket")
				require.Contains(t, string(doc), "| `"+metric+"` |", r.Alert)
			}
		}
	}
}
