package main

import (
	"github.com/alecthomas/kong"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// grammar is the command line. Flags are settings of environment and file too, except those marked
// flagonly. The defaults of the settings are the libraries' own.
type grammar struct {
	Config string `flagonly:"" group:"general" placeholder:"FILE" help:"Read settings from this YAML file (FIRETRAIL_CONFIG)."`
	cli.LogSettings

	Run     runCmd     `cmd:"" default:"withargs" help:"Store events until told to stop (the default)."`
	Query   queryCmd   `cmd:"" help:"Print stored events, newest first."`
	Prune   pruneCmd   `cmd:"" help:"Delete events that are older than the retention, or than a time."`
	Erase   eraseCmd   `cmd:"" help:"Delete a tenant's or an actor's events for good."`
	Topics  topicsCmd  `cmd:"" help:"Make the topics that the trail needs."`
	Lag     lagCmd     `cmd:"" help:"Show how far the workers are behind."`
	Replay  replayCmd  `cmd:"" help:"Read events again from Kafka: rewind the stopped workers, or read beside them."`
	Verify  verifyCmd  `cmd:"" help:"Look whether the trail in a database is whole; 1 is returned where it isn't."`
	DLQ     dlqCmd     `cmd:"" name:"dlq" help:"Look at dead letters, send them back, delete them."`
	WAL     walCmd     `cmd:"" name:"wal" help:"Look at a producer's write-ahead log."`
	Check   configCmd  `cmd:"" name:"config" help:"Look at the configuration."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

type runCmd struct {
	kafkaSettings
	topicSettings
	workerSettings
	sinkSettings
	retentionSettings
}

type topicsCmd struct {
	Create topicsCreateCmd `cmd:"" help:"Make the topics of events and of dead letters, where they are missing."`
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Check every setting of run and print those in effect."`
}

type versionCmd struct{}

// kafkaSettings say how to reach the brokers. Their names are those of kafkaclient.Config's fields.
type kafkaSettings struct {
	Brokers  []string `group:"kafka" placeholder:"HOST:PORT" help:"Brokers to begin with; required."`
	ClientID string   `group:"kafka" default:"firetrail-sink-worker" help:"Name of this client in the brokers' logs and quotas."`

	TLSEnabled    cli.Bool `name:"tls-enabled" group:"kafka" help:"Use TLS."`
	TLSCAFile     string   `name:"tls-ca-file" group:"kafka" placeholder:"FILE" help:"Authorities of the brokers' certificates, PEM (the system's)."`
	TLSCertFile   string   `name:"tls-cert-file" group:"kafka" placeholder:"FILE" help:"Our own certificate, PEM."`
	TLSKeyFile    string   `name:"tls-key-file" group:"kafka" placeholder:"FILE" help:"Our certificate's private key, PEM."`
	TLSServerName string   `name:"tls-server-name" group:"kafka" placeholder:"NAME" help:"Name that the brokers' certificates are for (the host dialled)."`

	SASLMechanism    string `name:"sasl-mechanism" group:"kafka" placeholder:"NAME" choice:"plain,scram-sha-256,scram-sha-512" help:"Log in by plain, scram-sha-256 or scram-sha-512."`
	SASLUser         string `name:"sasl-user" group:"kafka" placeholder:"NAME" help:"User to log in as."`
	SASLPasswordFile string `name:"sasl-password-file" group:"kafka" placeholder:"FILE" help:"File with the password, or give it in FIRETRAIL_SASL_PASSWORD."`
}

type topicSettings struct {
	Topics      []string `group:"kafka" aliases:"topic" default:"audit.events" help:"Topics of events, by name, or by pattern such as audit.* (* is any characters; never a name that ends in .dlq)."`
	LetterTopic string   `group:"kafka" placeholder:"NAME" help:"Topic of dead letters (the first topic's name, up to an *, and .dlq); - for none."`
}

type workerSettings struct {
	Group      string `group:"worker" default:"firetrail-sink" help:"Consumer group that the workers share."`
	InstanceID string `group:"worker" placeholder:"ID" help:"Static membership: a name of this worker that outlives restarts."`

	SessionTimeout cli.Duration `group:"worker" default:"45s" help:"Without a sign of life for so long, a worker's partitions go to the others."`

	BatchMaxSize  cli.Int      `group:"worker" default:"10000" help:"Events a batch at the most (ClickHouse: 50000)."`
	BatchMaxBytes cli.Size     `group:"worker" default:"8MiB" help:"Bytes a batch at the most (ClickHouse: 32MiB)."`
	FlushInterval cli.Duration `group:"worker" default:"1s" help:"Longest an event waits for its batch (ClickHouse: 10s)."`
	MinFlush      cli.Duration `name:"min-flush-interval" group:"worker" default:"100ms" help:"Least time between two writes of a worker that has caught up (ClickHouse: flush-interval)."`
	MaxInFlight   cli.Size     `name:"max-in-flight-bytes" group:"worker" default:"64MiB" help:"Bytes fetched and not stored yet, at the most."`

	DLQDir          string       `name:"dlq-dir" group:"worker" default:".firetrail/dlq" placeholder:"DIR" help:"Directory of dead letters (.firetrail/dlq)."`
	OnOutage        string       `group:"worker" placeholder:"POLICY" choice:"pause,spill" help:"While a tenant's own database is away, pause, or spill what is for it into the directory of dead letters (spill where that is durable)."`
	DLQDirIsDurable cli.Bool     `name:"dlq-dir-is-durable" group:"worker" help:"The directory outlives this host's container: a letter in it counts without its topic."`
	ShutdownTimeout cli.Duration `group:"worker" default:"30s" help:"Longest to finish what is in flight after SIGTERM."`

	adminSettings
}

func (p *program) kongOptions() []kong.Option {
	return []kong.Option{
		kong.Vars{"log_level": "info"},
		kong.ExplicitGroups([]kong.Group{
			{Key: "filter", Title: "Filters (joined by and)"},
			{Key: "page", Title: "Result"},
			{Key: "letters", Title: "Letters"},
			{Key: "redrive", Title: "Sending"},
			{Key: "rewind", Title: "Rewinding the group, which must be stopped"},
			{Key: "direct", Title: "Reading beside the group"},
			{Key: "purge", Title: "Deleting"},
			{Key: "erase", Title: "What"},
			{Key: "retention", Title: "Retention"},
			{Key: "database", Title: "Database (one of them)"},
			{Key: "clickhouse", Title: "ClickHouse"},
			{Key: "libsql", Title: "libSQL"},
			{Key: "kafka", Title: "Kafka"},
			{Key: "topic", Title: "Topics"},
			{Key: "tenants", Title: "Topics that belong to a tenant each, in place of the others"},
			{Key: "worker", Title: "Worker"},
			{Key: "general", Title: "General"},
		}),
	}
}

const description = `Takes audit events from Kafka into a database, and reads them there.

A setting is a flag, a variable of the environment, or a key of the YAML file
that --config names; the first of these that has it wins. They share one name:
--tls-ca-file is FIRETRAIL_TLS_CA_FILE, and tls-ca-file (or ca-file below tls)
in the file.

Exit codes: 0 done, 1 failed, 2 the command line or a setting is wrong.`
