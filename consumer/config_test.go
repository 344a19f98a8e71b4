package consumer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestValidate(t *testing.T) {
	good := func() Config {
		return Config{Kafka: kafkaclient.Config{Brokers: []string{"localhost:9092"}}, Group: "g", Sink: &sinkertest.Memory{}}
	}
	require.NoError(t, good().Validate())
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string // the beginnings of the lines
	}{
		"nothing": {func(c *Config) { *c = Config{} }, []string{"kafka: brokers: missing", "group: missing", "sink: missing"}},
		"topics": {
			func(c *Config) { c.Topics = []string{"a", "", "a", "a.dlq"} },
			[]string{"topics: \"\" is no name", "topics: \"a\" is there twice", "topics: \"a.dlq\" is the topic of letters"},
		},
		"letters go nowhere":  {func(c *Config) { c.LetterTopic = NoLetterTopic }, []string{"letter_topic: off"}},
		"no dir is durable":   {func(c *Config) { c.DirIsDurable = true }, []string{"dir_is_durable: set, but there is no letter_dir"}},
		"letters in the dir":  {func(c *Config) { c.LetterTopic = NoLetterTopic; c.LetterDir = &dlq.Dir{} }, nil},
		"unlimited in flight": {func(c *Config) { c.MaxInFlightBytes = -1 }, []string{"max_in_flight_bytes: -1 is negative"}},
		"unlimited batches":   {func(c *Config) { c.Batch = Batch{MaxSize: -1, MaxBytes: -1} }, []string{"batch.max_size: -1", "batch.max_bytes: -1"}},
		"short session":       {func(c *Config) { c.SessionTimeout = 1 }, []string{"session_timeout: 1ns is outside 100ms to 596h0m0s"}},
		"long session":        {func(c *Config) { c.SessionTimeout = 1000 * time.Hour }, []string{"session_timeout: 1000h0m0s is outside"}},
		"no flush interval":   {func(c *Config) { c.Batch.FlushInterval = -1 }, nil},
		"delays": {
			func(c *Config) { c.Retry.Delay = time.Hour },
			[]string{"retry.delay: 1h0m0s is over retry.max_delay"},
		},
		"negative delay":      {func(c *Config) { c.Retry.Delay = -1 }, []string{"retry.delay: -1 is negative"}},
		"no retries, no wait": {func(c *Config) { c.Retry.Attempts = -1; c.Retry.WriteTimeout = -1; c.ShutdownTimeout = -1 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			c.change(&cfg)
			_, err := New(cfg)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			lines := strings.Split(strings.TrimPrefix(err.Error(), "consumer: "), "\n")
			require.Len(t, lines, len(c.want), err)
			for i, want := range c.want {
				require.True(t, strings.HasPrefix(lines[i], want), "%q, want %q", lines[i], want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	c := Config{}.withDefaults()
	require.Equal(t, []string{"audit.events"}, c.Topics)
	require.Equal(t, "audit.events.dlq", c.LetterTopic)
	require.Equal(t, Batch{MaxSize: 10_000, MaxBytes: 8 << 20, FlushInterval: time.Second, MinFlushInterval: 100 * time.Millisecond}, c.Batch)
	require.Equal(t, Retry{Attempts: 3, Delay: time.Second, MaxDelay: 30 * time.Second, WriteTimeout: time.Minute}, c.Retry)
	require.Equal(t, 30*time.Second, c.ShutdownTimeout)
	require.EqualValues(t, 64<<20, c.MaxInFlightBytes)
}

// Each batch has delays of its own: 1, 2, 4 s, give or take a fifth; in an outage up to the longest, for ever.
func TestDelays(t *testing.T) {
	r := Config{}.withDefaults().Retry
	for range 20 {
		b := r.first()
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			next, stop := b.Next()
			require.False(t, stop)
			require.InDelta(t, want, next, float64(want)/5)
		}
		_, stop := b.Next()
		require.True(t, stop)
	}
	b := r.outage()
	for range 1000 {
		next, stop := b.Next()
		require.False(t, stop)
		require.LessOrEqual(t, next, r.MaxDelay)
		require.Positive(t, next)
	}
}
