package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
)

// Defaults of a [Config].
const (
	DefaultTopic            = "audit.events"
	DefaultMaxSize          = 10_000
	DefaultMaxBytes         = 8 << 20
	DefaultFlushInterval    = time.Second
	DefaultMinFlushInterval = 100 * time.Millisecond
	DefaultMaxInFlightBytes = 64 << 20
	DefaultAttempts         = 3
	DefaultDelay            = time.Second
	DefaultMaxDelay         = 30 * time.Second
	DefaultWriteTimeout     = time.Minute
	DefaultShutdownTimeout  = 30 * time.Second
	DefaultSessionTimeout   = 45 * time.Second
	DefaultConflictInterval = 10 * time.Minute
)

// Bounds of a [Config].SessionTimeout, whatever the brokers allow.
const (
	MinSessionTimeout = 100 * time.Millisecond
	MaxSessionTimeout = 596 * time.Hour // nearly all that Kafka's protocol can say
)

// OutagePolicy says what becomes of records while their database is away.
type OutagePolicy string

// The policies.
const (
	// Pause keeps them in memory, up to MaxInFlightBytes, and Kafka is the buffer beyond that: then the tenants
	// of the same partitions wait too.
	Pause OutagePolicy = "pause"
	// Spill puts them into LetterDir, commits their offsets, and leaves it to the directory's retry engine to store
	// them: the others go on, for as long as the directory has room.
	Spill OutagePolicy = "spill"
)

// NoLetterTopic as [Config].LetterTopic switches the topic of letters off.
const NoLetterTopic = "-"

// Config says what a [Worker] reads and where it writes. The zero value of every field but Kafka, Group
// and Sink is its default.
type Config struct {
	// Kafka says how to reach the brokers. Required.
	Kafka kafkaclient.Config
	// Group is the consumer group; all workers of one database share it. Required.
	Group string
	// Topics to read, by their names, or by patterns such as audit.t.* in which an asterisk stands for any characters.
	// Topics that match are read within seconds of their being made. A pattern passes over topics whose name ends in
	// ".dlq" or begins with "__". Default [DefaultTopic].
	Topics []string
	// InstanceID makes the worker a static member of the group (KIP-345): a restart within the session
	// timeout moves no partition. It must be unique in the group and the same after a restart, such as a
	// pod's name. On a clean stop the member leaves. Default none.
	InstanceID string
	// SessionTimeout is how long the group waits for a worker that gives no sign of life until its partitions go to
	// others. A static member must be back within it for no partition to move. The brokers bound it, by default to
	// 6 s and 30 min. Default 45 s.
	SessionTimeout time.Duration

	// Sink stores the events. Required. It belongs to the caller, who closes it after Run has returned.
	Sink sinkers.Sinker
	// WeakTopics says that topics which can lose acknowledged records, such as those with a single replica, are
	// meant to: they are not warned of. Default false.
	WeakTopics bool
	// LetterTopic takes the records that can't be stored, whichever topic they come from. Default: the first topic's
	// name with ".dlq", of a pattern what comes before its asterisk: audit.dlq for audit.*. [NoLetterTopic] switches it
	// off, which needs a LetterDir.
	LetterTopic string
	// LetterDir takes the same letters as files, and tries those again that may yet be stored. It belongs to
	// the caller, who closes it after Run has returned; the worker runs it. Default none.
	LetterDir *dlq.Dir
	// DirIsDurable says that a letter is safe when LetterDir has it: its volume outlives the host.
	// Default false: an offset waits for the topic's acknowledgement.
	DirIsDurable bool

	// OnOutage says what becomes of a tenant's records while its database is away, where Sink is a
	// sinkers.PerTenant. Default: Spill where DirIsDurable says that files suffice, otherwise Pause. One database
	// for all is always paused for.
	OnOutage OutagePolicy

	// Prune says when expired events are deleted from the sink, which must be a sinkers.Pruner then. Default: never.
	Prune Prune

	// Batch says when a batch is cut.
	Batch Batch
	// MaxInFlightBytes bounds the memory of what lies between fetch and commit. A record counts with its
	// bytes and 1024 more, for what is kept of it besides. When half of it is taken, the partitions that take more than half as
	// much again as the mean (than three times the mean, while all are behind) are paused, so that the others have the
	// rest; when all of it is taken nothing is fetched. The Kafka client holds at the most one fetch of each broker
	// besides. Default 64 MiB.
	MaxInFlightBytes int64
	// Retry says how often and how fast a failed write is tried again.
	Retry Retry
	// ConflictInterval is how often a Sink that is a sinkers.ConflictFinder is asked for rows that lost against
	// another of the same id, which become letters. Default 10 min; negative: never.
	ConflictInterval time.Duration
	// ShutdownTimeout bounds the draining when Run's context has ended. Default 30 s; negative: what is
	// in flight is dropped at once, for the next owner of its partition to read again.
	ShutdownTimeout time.Duration

	// Logger receives what happens. Default: none.
	Logger *slog.Logger
	// OnBatch is called after each write and the commit that followed, one call at a time, on a goroutine of
	// the worker's: it must be quick. See [BatchReport]. Default none.
	OnBatch func(BatchReport)

	groupOpts      []kgo.Opt     // for tests: shorter timeouts
	orphanInterval time.Duration // for tests; default [orphanInterval]
}

// Batch says when a batch is written. While the worker is behind it is as large as MaxSize and MaxBytes allow; once
// all that is known to be in a row's partition was read, there is nothing more to wait for, and it is small: it is
// written as soon as the sink is idle, but no sooner than MinFlushInterval after the one before.
//
// Each partition has an equal share of a batch's bytes, and what it doesn't need is the others': one that is
// flooded holds up itself. While one is, and others have caught up, batches are so small that their rows take about a quarter of
// MinFlushInterval to write, or half of it where a write takes long whatever its rows, and what comes of the others joins
// the next one that is written.
type Batch struct {
	// MaxSize is the most rows. Default 10,000.
	MaxSize int
	// MaxBytes is the most bytes, as the records have them in Kafka. Default 8 MiB.
	MaxBytes int64
	// FlushInterval is the longest a row waits for others. Default 1 s; negative: not at all.
	FlushInterval time.Duration
	// MinFlushInterval is the least time between two writes of a worker that has caught up: what comes meanwhile shares one,
	// so that a trickle makes no write, and no commit, of each event. It suits a database to which a small write
	// is cheap; where it isn't, as in ClickHouse, let it be FlushInterval. With a database for each tenant it is
	// not used: a row waits for FlushInterval. Default 100 ms, or FlushInterval where that is less; negative: none.
	MinFlushInterval time.Duration
}

// Retry says how a failed write is tried again: Attempts times after Delay, twice Delay and so on, each
// give or take a fifth; then, while the database is away, with delays that go on doubling up to MaxDelay.
type Retry struct {
	// Attempts after the first. Default 3; negative: none.
	Attempts int
	// Delay before the first of them. Default 1 s.
	Delay time.Duration
	// MaxDelay between tries in an outage. Default 30 s.
	MaxDelay time.Duration
	// WriteTimeout bounds one write; running into it is a transient error. Default 1 min; negative: none.
	WriteTimeout time.Duration
}

// BatchReport says what one write stored. It is given after the commit that followed the write.
type BatchReport struct {
	// Rows of the write. They belong to the worker: a callback that keeps any of them copies it.
	Rows []sinkers.Row
	// Result is the sink's own account of Rows.
	Result sinkers.Result
	// Duration of the write.
	Duration time.Duration
	// Committed says whether the offsets that the write allows are committed. If not, the rows may come
	// again, as duplicates.
	Committed bool

	reuse bool // Rows, once OnBatch has returned
}

// orDefault puts def in the place of zero; negative values stay.
func orDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func (c Config) withDefaults() Config {
	if len(c.Topics) == 0 {
		c.Topics = []string{DefaultTopic}
	}
	c.Topics = slices.Clone(c.Topics)
	if c.LetterTopic == "" {
		c.LetterTopic = kafkaclient.LettersOf(c.Topics)
	}
	orDefault(&c.Batch.MaxSize, DefaultMaxSize)
	orDefault(&c.Batch.MaxBytes, DefaultMaxBytes)
	orDefault(&c.Batch.FlushInterval, DefaultFlushInterval)
	orDefault(&c.Batch.MinFlushInterval, min(DefaultMinFlushInterval, max(c.Batch.FlushInterval, -1)))
	orDefault(&c.MaxInFlightBytes, DefaultMaxInFlightBytes)
	orDefault(&c.Retry.Attempts, DefaultAttempts)
	orDefault(&c.Retry.Delay, DefaultDelay)
	orDefault(&c.Retry.MaxDelay, DefaultMaxDelay)
	orDefault(&c.Retry.WriteTimeout, DefaultWriteTimeout)
	orDefault(&c.ConflictInterval, DefaultConflictInterval)
	orDefault(&c.ShutdownTimeout, DefaultShutdownTimeout)
	orDefault(&c.SessionTimeout, DefaultSessionTimeout)
	orDefault(&c.orphanInterval, orphanInterval)
	if _, tenants := c.Sink.(sinkers.PerTenant); c.OnOutage == "" {
		c.OnOutage = Pause
		if tenants && c.DirIsDurable {
			c.OnOutage = Spill
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports everything that is wrong with the configuration, each problem beginning with its field's
// name; nil when there is nothing. It reads no file and touches no network.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := c.Kafka.Validate(); err != nil {
		bad("kafka: %w", err)
	}
	if c.Group == "" {
		bad("group: missing; workers of one database share one name, such as \"audit\"")
	}
	for _, err := range unjoin(kafkaclient.CheckTopics(c.Topics, c.LetterTopic)) {
		bad("topics: %w", err)
	}
	if c.Sink == nil {
		bad("sink: missing; open one of the packages under sinkers")
	}
	c.validateLetters(bad)
	c.validatePrune(bad)
	positive := func(field string, v int64) {
		if v < 0 {
			bad("%s: %d is negative; it can't be unlimited, leave it out for the default", field, v)
		}
	}
	positive("batch.max_size", int64(c.Batch.MaxSize))
	positive("batch.max_bytes", c.Batch.MaxBytes)
	if c.Batch.MinFlushInterval > max(c.Batch.FlushInterval, 0) {
		bad("batch.min_flush_interval: %v is over batch.flush_interval, %v", c.Batch.MinFlushInterval, c.Batch.FlushInterval)
	}
	positive("max_in_flight_bytes", c.MaxInFlightBytes)
	if c.SessionTimeout < MinSessionTimeout || c.SessionTimeout > MaxSessionTimeout {
		bad("session_timeout: %v is outside %v to %v", c.SessionTimeout, MinSessionTimeout, MaxSessionTimeout)
	}
	positive("retry.delay", int64(c.Retry.Delay))
	positive("retry.max_delay", int64(c.Retry.MaxDelay))
	if c.Retry.Delay > c.Retry.MaxDelay && c.Retry.MaxDelay > 0 {
		bad("retry.delay: %v is over retry.max_delay, %v", c.Retry.Delay, c.Retry.MaxDelay)
	}
	return errors.Join(errs...)
}

func (c Config) validateLetters(bad func(string, ...any)) {
	if c.LetterDir == nil && c.LetterTopic == NoLetterTopic {
		bad("letter_topic: off, and there is no letter_dir: a bad record would have nowhere to go; give one of the two")
	}
	if c.LetterDir == nil && c.DirIsDurable {
		bad("dir_is_durable: set, but there is no letter_dir")
	}
	_, tenants := c.Sink.(sinkers.PerTenant)
	switch c.OnOutage {
	case Pause:
	case Spill:
		if c.Sink != nil && !tenants {
			bad("on_outage: spill is for a database per tenant; with one database use pause")
		}
		if c.LetterDir == nil || !c.DirIsDurable {
			bad("on_outage: spill keeps records in files alone; give a letter_dir whose volume outlives the host, and set dir_is_durable")
		}
	default:
		bad("on_outage: %q is neither pause nor spill", c.OnOutage)
	}
}

var errNoReply = errors.New("no answer from the database")

// writeContext bounds one write.
func (r Retry) writeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.WriteTimeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, r.WriteTimeout,
		fmt.Errorf("%w within %v (retry.write_timeout)", errNoReply, r.WriteTimeout))
}

// allTopics are the topics that must be there: those of events that are given by name, and that of letters.
func (c *Config) allTopics() []string {
	topics := c.named()
	if c.LetterTopic != NoLetterTopic {
		topics = append(topics, c.LetterTopic)
	}
	return topics
}

// named are the topics that are given by name.
func (c *Config) named() []string {
	return slices.DeleteFunc(slices.Clone(c.Topics), kafkaclient.IsPattern)
}

// unjoin takes joined errors apart.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
