package producer

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

// DefaultTopic is the topic events go to where a Config names none.
const DefaultTopic = "audit.events"

// Mode says what Fire's return means.
type Mode uint8

// The modes.
const (
	Durable  Mode = iota // the event is in a log on disk, and a kill -9 doesn't lose it
	Volatile             // the event is in memory
)

// String returns "durable" or "volatile".
func (m Mode) String() string { return name(m, "durable", "volatile") }

// OnFull says what becomes of an event for which the log has no room.
type OnFull uint8

// What a full log does.
const (
	FullLetters OnFull = iota // it goes to files of dead letters, waiting, and is sent from there
	FullDrop                  // it is dropped, and counted
)

// String returns "dlq" or "drop".
func (o OnFull) String() string { return name(o, "dlq", "drop") }

func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprint(uint8(v))
}

// Config configures a producer. The zero value of every field that isn't required is its default.
type Config struct {
	// Kafka says how to reach the brokers. Required.
	Kafka kafkaclient.Config
	// Topic that events go to. Default DefaultTopic. It must exist: it is never made silently.
	Topic string
	// TopicPrefix gives each tenant a topic of its own, in place of Topic: the one that [kafkaclient.TenantTopic]
	// names, by this prefix, such as [kafkaclient.TenantTopicPrefix]. It is never made silently either: as long
	// as a tenant's topic isn't there its events wait, and the other tenants' flow. One partition is enough for it, since
	// a tenant's events are in order. What waits from before, in logs and files, goes where the setting says now.
	// Default none.
	TopicPrefix string
	// WeakTopic says that a topic which can lose acknowledged events, such as one with a single replica, is
	// meant to: it is not warned of. Default false.
	WeakTopic bool
	// Mode says what Fire's return means. Default Durable.
	Mode Mode
	// Dir and Namespace name the place of the logs and dead letters, Dir/Namespace, on a local disk that
	// outlives the process. Several processes may share it: each takes a slot of its own there, and
	// ships what a slot holds whose process is gone. Namespace is a file name for those that may: the
	// service's name is a good one. Both are required in the mode Durable; in the mode Volatile they are for
	// the dead letters alone, of which there are none without them.
	Dir, Namespace string
	// MaxEvents bounds the events that wait in the log. Default unlimited.
	MaxEvents int
	// MaxBytes bounds what waits in the log, in bytes. Default 1 GiB in the mode Durable, 64 MiB in the mode
	// Volatile; negative is unlimited.
	MaxBytes int64
	// MaxTenants bounds the memory of tenants: of how many it is known, at a time, how many events they have
	// had. Beyond it the source of one that was not heard of lately is closed, and the tenant has another when it
	// comes back. Default 100,000; each takes about 150 bytes, and with a TopicPrefix about 1 KiB in all. So many
	// topics are known of at a time then, too, for each log; the Kafka client knows all of those it has sent to.
	MaxTenants int
	// MaxTenantBytes bounds what waits in the log of one tenant's events of this run, in bytes, so that one tenant's
	// flood leaves room for the others. An event over it is dealt with as if the log were full. A tenant that
	// MaxTenants has made forgotten begins anew. Default unlimited.
	MaxTenantBytes int64
	// OnFull says what becomes of an event for which the log has no room. Default FullLetters, or FullDrop
	// in the mode Volatile without a Dir. FullDrop with the mode Durable is an error.
	OnFull OnFull
	// MaxInFlight bounds the events that were handed to Kafka and are not yet acknowledged, for each log. A part
	// of it is kept for each partition, one event at the least, so that none that is away stops the others: in all,
	// that may be four times as many where each tenant has a topic.
	// Default 20,000.
	MaxInFlight int
	// ParkAfter is how long a partition may take nothing, while others take events, before its events go to files of
	// waiting letters: so that the log doesn't fill for one partition. They are sent from there, in order, when it
	// takes them again. Default 30 s; negative is never. Without a Dir it is never.
	ParkAfter time.Duration
	// StaleAfter is the age of the oldest event that is not yet acknowledged at which a line is logged, once a
	// minute. Default 1 min; negative is never.
	StaleAfter time.Duration
	// Linger is how long a batch waits for more before it is sent. Default 10 ms; negative is not at all.
	Linger time.Duration
	// WAL tunes the log. Its Dir, MaxBytes, Logger, OnState and OnLoss are the producer's.
	WAL wal.Config
	// LetterMaxBytes bounds the files of dead letters, in bytes. Default 1 GiB; negative is unlimited.
	LetterMaxBytes int64
	// LetterInterval is how often waiting letters are tried again. Default 60 s.
	LetterInterval time.Duration
	// OnDrop is called with the number of events that were dropped since the last call, for each reason.
	// Once Close has returned, the calls' sum is exactly what Stats says; what is fired after that is in
	// Stats alone. It is called on a goroutine of the producer's, never in Fire, and should return soon.
	OnDrop func(Drop)
	// OnState is called when the producer stops or starts being able to protect events from a kill -9. It
	// must not block, nor call the producer.
	OnState func(wal.StateChange)
	// OnAcknowledged is called for each event once the broker has acknowledged it; recovered says that an
	// earlier run fired it. Calls come one at a time, on a goroutine of the producer's; while one lasts nothing more
	// counts as acknowledged, so that it should return soon, and it must not wait for the producer.
	OnAcknowledged func(id firetrail.ID, recovered bool)
	// Logger takes what an operator should see. Default none.
	Logger *slog.Logger
	// Clock is the time that events are stamped with. Default time.Now.
	Clock func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Topic == "" && c.TopicPrefix == "" {
		c.Topic = DefaultTopic
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 20_000
	}
	if c.MaxTenants == 0 {
		c.MaxTenants = 100_000
	}
	if c.ParkAfter == 0 {
		c.ParkAfter = 30 * time.Second
	}
	if c.StaleAfter == 0 {
		c.StaleAfter = time.Minute
	}
	if c.Linger == 0 {
		c.Linger = 10 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Mode == Volatile && c.Dir == "" {
		c.OnFull = FullDrop
	}
	return c
}

func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("producer: "+format, args...)) }
	if err := c.Kafka.Validate(); err != nil {
		bad("Kafka: %w", err)
	}
	if c.TopicPrefix != "" {
		if c.Topic != "" {
			bad("TopicPrefix: %q contradicts Topic, %q: events go to one topic, or to one for each tenant", c.TopicPrefix, c.Topic)
		}
		if err := kafkaclient.CheckTopicPrefix(c.TopicPrefix); err != nil {
			bad("TopicPrefix: %q %w", c.TopicPrefix, err)
		}
	}
	switch c.Mode {
	case Durable:
		if c.Dir == "" {
			bad("Dir: missing; the mode durable needs a directory on a local disk")
		}
		if c.OnFull == FullDrop {
			bad("OnFull: drop contradicts the mode durable; leave it out, or use the mode volatile")
		}
	case Volatile:
	default:
		bad("Mode: %d is neither Durable nor Volatile", c.Mode)
	}
	if c.Dir != "" {
		switch {
		case c.Namespace == "":
			bad("Namespace: missing; it is the folder in Dir that the service's processes share, such as its name")
		case c.Namespace != filepath.Base(c.Namespace) || strings.HasPrefix(c.Namespace, ".") || strings.ContainsAny(c.Namespace, `/\:`):
			bad("Namespace: %q is not a plain file name", c.Namespace)
		}
	} else if c.Namespace != "" {
		bad("Namespace: %q is of no use without Dir", c.Namespace)
	}
	if c.OnFull > FullDrop {
		bad("OnFull: %d is neither FullLetters nor FullDrop", c.OnFull)
	}
	if c.MaxEvents < 0 {
		bad("MaxEvents: %d is negative; leave it out for no bound", c.MaxEvents)
	}
	if c.MaxTenants < 0 {
		bad("MaxTenants: %d is negative; leave it out for the default", c.MaxTenants)
	}
	if c.MaxTenantBytes < 0 {
		bad("MaxTenantBytes: %d is negative; leave it out for no bound", c.MaxTenantBytes)
	}
	if c.LetterInterval > 0 && c.LetterInterval < time.Millisecond {
		bad("LetterInterval: %s is below 1ms; leave it out for the default", c.LetterInterval)
	}
	if c.MaxInFlight < 0 {
		bad("MaxInFlight: %d is negative", c.MaxInFlight)
	}
	return errors.Join(errs...)
}

// newSource returns the name of a run: what Event.Source says.
func newSource() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "run-" + hex.EncodeToString(b[:])
}
