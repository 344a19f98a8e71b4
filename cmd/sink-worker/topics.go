package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/kafkaclient"
)

type topicsCreateCmd struct {
	kafkaSettings
	topicSettings

	Partitions        cli.Int  `group:"topic" default:"12" help:"Partitions of each topic; can't be raised later without changing which tenant is where."`
	Replication       cli.Int  `group:"topic" default:"3" help:"Brokers that keep each record; 1 is for trying things out."`
	MinInsyncReplicas cli.Int  `group:"topic" default:"2" help:"Brokers that must have a record before it counts (1 with --replication=1)."`
	LetterMaxBytes    cli.Size `group:"topic" default:"2MiB" help:"Largest dead letter: the largest event the broker takes, and its headers."`

	Tenant           []string `flagonly:"" sep:"none" group:"tenants" placeholder:"TENANT" help:"Make this tenant's own topic, and no other; may be given again for more of them."`
	TenantsFile      string   `flagonly:"" group:"tenants" placeholder:"FILE" help:"The same for the tenants in a file, one a line."`
	TopicPrefix      string   `flagonly:"" group:"tenants" default:"audit.t." help:"What tenants' topics begin with, as the producers have it."`
	TenantPartitions cli.Int  `flagonly:"" group:"tenants" default:"1" help:"Partitions of a tenant's topic; its events are in order, and so in one of them."`

	Timeout cli.Duration `flagonly:"" group:"general" default:"30s" help:"Longest to wait for the brokers."`
	Output  string       `flagonly:"" group:"general" short:"o" default:"table" choice:"table,json" help:"Print the result as table or json."`
}

func (c *topicsCreateCmd) check(p *cli.Problems) {
	c.topicSettings.check(p)
	if c.Partitions.N < 1 || c.Partitions.N > 10_000 {
		p.Add("partitions", "%d is outside 1 to 10000", c.Partitions.N)
	}
	if c.Replication.N < 1 || c.Replication.N > 100 {
		p.Add("replication", "%d is outside 1 to 100", c.Replication.N)
	}
	if c.Replication.N == 1 && c.MinInsyncReplicas.N == 2 {
		c.MinInsyncReplicas.N = 1
	}
	if n := c.MinInsyncReplicas.N; n < 1 || n > c.Replication.N {
		p.Add("min-insync-replicas", "%d is outside 1 to replication, which is %d", n, c.Replication.N)
	}
	if c.LetterMaxBytes.Bytes < 1 || c.LetterMaxBytes.Bytes > 1<<30 {
		p.Add("letter-max-bytes", "%s is outside 1B to 1GiB", c.LetterMaxBytes)
	}
	if c.Timeout.Duration <= 0 {
		p.Add("timeout", "must be more than 0")
	}
}

// ofTenants reports whether the topics to make are those of tenants.
func (c *topicsCreateCmd) ofTenants() bool { return len(c.Tenant) > 0 || c.TenantsFile != "" }

// checkTenants reads the file of tenants, and notes what is wrong with them.
func (c *topicsCreateCmd) checkTenants(p *cli.Problems) {
	if !c.ofTenants() {
		for name, set := range map[string]bool{"topic-prefix": c.TopicPrefix != kafkaclient.TenantTopicPrefix, "tenant-partitions": c.TenantPartitions.N != 1} {
			if set {
				p.Add(name, "set, but no tenant is; give --tenant or --tenants-file")
			}
		}
		return
	}
	if err := kafkaclient.CheckTopicPrefix(c.TopicPrefix); err != nil {
		p.Add("topic-prefix", "%q %w", c.TopicPrefix, err)
	}
	if n := c.TenantPartitions.N; n < 1 || n > 10_000 {
		p.Add("tenant-partitions", "%d is outside 1 to 10000", n)
	}
	check := func(setting, tenant string) {
		if err := firetrail.ValidateTenant(tenant); err != nil {
			p.Add(setting, "%q: %w", tenant, err)
		}
	}
	for _, tenant := range c.Tenant {
		check("tenant", tenant)
	}
	if c.TenantsFile == "" {
		return
	}
	b, err := os.ReadFile(c.TenantsFile)
	if err != nil {
		p.Add("tenants-file", "%w", err)
		return
	}
	for line := range strings.Lines(string(b)) {
		if tenant := strings.TrimRight(line, "\r\n"); tenant != "" { // the default tenant has a flag
			check("tenants-file", tenant)
			c.Tenant = append(c.Tenant, tenant)
		}
	}
	if len(c.Tenant) == 0 {
		p.Add("tenants-file", "%s names no tenant", c.TenantsFile)
	}
}

func (c *topicsCreateCmd) specs() []kafkaclient.TopicSpec {
	var specs []kafkaclient.TopicSpec
	if c.ofTenants() {
		slices.Sort(c.Tenant)
		for _, tenant := range slices.Compact(c.Tenant) {
			specs = append(specs, c.sized(kafkaclient.EventsTopic(kafkaclient.TenantTopic(c.TopicPrefix, tenant)), c.TenantPartitions.N))
		}
		return specs
	}
	for _, t := range c.Topics {
		if !kafkaclient.IsPattern(t) { // whoever makes a topic that it matches names that
			specs = append(specs, c.sized(kafkaclient.EventsTopic(t), c.Partitions.N))
		}
	}
	if c.LetterTopic == consumer.NoLetterTopic {
		return specs
	}
	letters := kafkaclient.LettersTopic(c.LetterTopic)
	letters.Config["max.message.bytes"] = strconv.FormatInt(c.LetterMaxBytes.Bytes, 10)
	return append(specs, c.sized(letters, c.Partitions.N))
}

// sized is a topic with as many partitions and replicas as it should have.
func (c *topicsCreateCmd) sized(s kafkaclient.TopicSpec, partitions int) kafkaclient.TopicSpec {
	s.Partitions, s.ReplicationFactor = int32(partitions), int16(c.Replication.N)
	if s.Config == nil {
		s.Config = map[string]string{}
	}
	s.Config["min.insync.replicas"] = strconv.Itoa(c.MinInsyncReplicas.N)
	return s
}

func (p *program) createTopics(ctx context.Context, c *topicsCreateCmd) error {
	kafka := c.config(p)
	c.check(&p.command.Problems)
	c.checkTenants(&p.command.Problems)
	if err := p.command.Problems.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout.Duration)
	defer cancel()
	var states []kafkaclient.TopicState
	err := withClient(ctx, kafka, func(cl *kgo.Client) (err error) {
		states, err = kafkaclient.EnsureTopics(ctx, cl, c.specs())
		return err
	})
	if printErr := printTopics(p.stdout, c.Output, states); printErr != nil {
		return printErr
	}
	return err
}

// withClient calls f with a client of brokers that answer.
func withClient(ctx context.Context, kafka kafkaclient.Config, f func(*kgo.Client) error) error {
	opts, err := kafka.Opts()
	if err != nil {
		return err
	}
	return withKafkaClient(ctx, opts, f)
}

func checkBrokers(ctx context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return kafkaclient.Check(ctx, cl)
}

func printTopics(w io.Writer, output string, states []kafkaclient.TopicState) error {
	if output == "json" {
		for _, s := range states {
			line := struct {
				Topic   string   `json:"topic"`
				Created bool     `json:"created"`
				Differs []string `json:"differs"`
			}{s.Name, s.Created, s.Differs}
			if err := json.NewEncoder(w).Encode(line); err != nil {
				return err
			}
		}
		return nil
	}
	for _, s := range states {
		if _, err := io.WriteString(w, show.Clean(describeTopic(s))+"\n"); err != nil {
			return err
		}
	}
	return nil
}

func describeTopic(s kafkaclient.TopicState) string {
	switch {
	case s.Created:
		return fmt.Sprintf("%s: created", s.Name)
	case len(s.Differs) == 0:
		return fmt.Sprintf("%s: is there, as it should be", s.Name)
	default:
		return fmt.Sprintf("%s: is there and was left as it is, but differs: %s", s.Name, strings.Join(s.Differs, "; "))
	}
}
