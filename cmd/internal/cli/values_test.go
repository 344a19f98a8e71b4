package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "8MiB": 8 << 20, "8 MiB": 8 << 20, "1.5KiB": 1536, "500kB": 500_000, "12B": 12, "2TiB": 2 << 40,
	} {
		n, err := parseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "MiB", "8 apples", "NaN", "9e99", "9999999TiB", "0x"} {
		_, err := parseSize(text)
		require.Error(t, err, text)
	}
	for n, want := range map[int64]string{0: "0B", 12: "12B", 1024: "1KiB", 1536: "1536B", 8 << 20: "8MiB", 3 << 40: "3TiB"} {
		require.Equal(t, want, Size{Bytes: n}.String())
	}
}

func TestTime(t *testing.T) {
	now := time.Date(2025, 5, 6, 7, 8, 9, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2023-07-10T11:42:18Z":           time.Date(2023, 7, 10, 11, 42, 18, 0, time.UTC),
		"2023-07-10T13:42:18.5+02:00":    time.Date(2023, 7, 10, 11, 42, 18, 5e8, time.UTC),
		"2023-07-10":                     time.Date(2023, 7, 10, 0, 0, 0, 0, time.UTC),
		"24h":                            now.Add(-24 * time.Hour),
		"-90m":                           now.Add(-90 * time.Minute),
		"2023-07-10T11:42:18.123456789Z": time.Date(2023, 7, 10, 11, 42, 18, 123456789, time.UTC),
	} {
		got, err := parseTime(text, now)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "yesterday", "2023", "2023-13-01", "10/07/2023"} {
		_, err := parseTime(text, now)
		require.Error(t, err, text)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"brokers", "batch-max-size", "flush-interval", "sqlite"}
	for name, want := range map[string]string{
		"broker": "brokers", "borkers": "brokers", "flush_interval": "flush-interval", "sqllite": "sqlite",
		"batch": "batch-max-size", "elephant": "", "": "", "b": "",
	} {
		require.Equal(t, want, Nearest(name, names), name)
	}
}

func TestExit(t *testing.T) {
	var out strings.Builder
	require.Equal(t, Done, Exit(&out, "prog", nil))
	require.Empty(t, out.String())
	require.Equal(t, Failed, Exit(&out, "prog", errors.New("no disk")))
	require.Equal(t, "prog: no disk\n", out.String())

	out.Reset()
	var p Problems
	require.NoError(t, p.Err())
	p.Add("b", "is bad")
	p.Add("b", "and follows from that")
	p.AddError(errors.Join(errors.New("c: too"), errors.New("a: first")))
	p.AddError(nil)
	require.True(t, p.Has("b"))
	require.Equal(t, Usage, Exit(&out, "prog", fmt.Errorf("%w", p.Err())))
	require.Equal(t, "prog: 3 problems:\n  a: first\n  b: is bad\n  c: too\n", out.String())
}

func TestLogger(t *testing.T) {
	var out strings.Builder
	log, flush := LogSettings{LogLevel: "info", LogFormat: "auto"}.Logger(&out)
	log.Debug("hidden")
	log.Error("shown", "after", 3*time.Second)
	flush()
	require.Contains(t, out.String(), `"level":"error"`)
	require.Contains(t, out.String(), `"msg":"shown","after":"3s"}`)
	require.NotContains(t, out.String(), "hidden")
	require.NotContains(t, out.String(), "stacktrace")

	out.Reset()
	log, _ = LogSettings{LogLevel: "debug", LogFormat: "console"}.Logger(&out)
	log.Debug("now shown")
	require.Contains(t, out.String(), "DEBUG\tnow shown\n")

	out.Reset()
	log = LogSettings{LogLevel: "info", LogFormat: "json"}.KafkaLogger(&out)
	for i := range 100 {
		log.Info("chat")
		log.Warn("away", "try", i)
	}
	require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
	require.Contains(t, out.String(), `"logger":"kafka","msg":"away","try":0`)
	require.NotContains(t, out.String(), "chat")
}
