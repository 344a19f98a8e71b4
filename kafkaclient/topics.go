package kafkaclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Defaults of a [TopicSpec].
const (
	DefaultPartitions        = 12
	DefaultReplicationFactor = 3
)

// Settings of a topic that decide whether an acknowledged record can be lost.
const (
	minInsync = "min.insync.replicas"
	unclean   = "unclean.leader.election.enable"
)

// TopicSpec says how a topic should be. The zero value of every field but Name is its default.
type TopicSpec struct {
	// Name of the topic. Required.
	Name string
	// Partitions it has. Default 12; negative: the broker's default.
	Partitions int32
	// ReplicationFactor is how many brokers keep each record. Default 3; negative: the broker's default.
	// A single broker for trying things out can only do 1.
	ReplicationFactor int16
	// Config of the topic, by Kafka's names. What it leaves out of these two is set all the same:
	// min.insync.replicas to 2 (1 with a ReplicationFactor of 1), so that an acknowledged record is on two
	// disks, and unclean.leader.election.enable to false, so that no broker that lacks it takes over.
	Config map[string]string
}

// EventsTopic is the topic of events under that name, with every default.
func EventsTopic(name string) TopicSpec { return TopicSpec{Name: name} }

// LettersTopic is the topic of dead letters under that name: kept for ever, and with room for a record
// as large as the events' topic takes (1 MiB by default) plus the headers that make it a letter.
func LettersTopic(name string) TopicSpec {
	return TopicSpec{Name: name, Config: map[string]string{
		"retention.ms":      "-1",
		"max.message.bytes": strconv.Itoa(2 << 20),
	}}
}

// withDefaults fills in what the spec leaves out.
func (s TopicSpec) withDefaults() TopicSpec {
	s.Partitions = cmp.Or(s.Partitions, DefaultPartitions)
	s.ReplicationFactor = cmp.Or(s.ReplicationFactor, DefaultReplicationFactor)
	conf := map[string]string{unclean: "false"}
	switch {
	case s.ReplicationFactor == 1:
		conf[minInsync] = "1"
	case s.ReplicationFactor > 1:
		conf[minInsync] = "2"
	}
	maps.Copy(conf, s.Config)
	s.Config = conf
	return s
}

// TopicState is what [EnsureTopics] found or made.
type TopicState struct {
	// Name of the topic.
	Name string
	// Created says that it was not there before.
	Created bool
	// Differs names what an existing topic has otherwise than asked for, such as "partitions: 6, wanted
	// 12". An existing topic is never changed: more partitions would break the order of its keys, and
	// its settings may be somebody's choice.
	Differs []string
}

// EnsureTopics makes the topics that are not there, and says how those that are differ from the spec.
// One state is returned for each spec that has no error, in the order of the specs; the errors of the
// others are joined, each beginning with its topic's name; those that ctx's end left are one error. It may be called again, and from several
// places at once.
func EnsureTopics(ctx context.Context, cl *kgo.Client, specs []TopicSpec) ([]TopicState, error) {
	adm := kadm.NewClient(cl)
	states := make([]TopicState, 0, len(specs))
	var errs []error
	for i, spec := range specs {
		if err := ctx.Err(); err != nil && i > 0 {
			errs = append(errs, fmt.Errorf("%d of %d topics were not looked at: %w", len(specs)-i, len(specs), err))
			break
		}
		state, err := ensureTopic(ctx, adm, spec.withDefaults())
		if err != nil {
			errs = append(errs, fmt.Errorf("topic %q: %w", spec.Name, err))
			continue
		}
		states = append(states, state)
	}
	return states, errors.Join(errs...)
}

func ensureTopic(ctx context.Context, adm *kadm.Client, spec TopicSpec) (TopicState, error) {
	state := TopicState{Name: spec.Name}
	if spec.Name == "" {
		return state, errors.New("name: missing")
	}
	conf := make(map[string]*string, len(spec.Config))
	for k, v := range spec.Config {
		conf[k] = &v
	}
	resp, err := adm.CreateTopic(ctx, spec.Partitions, spec.ReplicationFactor, conf, spec.Name)
	switch {
	case err == nil:
		state.Created = true
		return state, nil
	case errors.Is(err, kerr.TopicAlreadyExists):
		have, err := describeSoon(ctx, adm, spec.Name)
		if err != nil {
			return state, fmt.Errorf("exists, but can't be described: %w", err)
		}
		state.Differs = have[spec.Name].differs(spec)
		return state, nil
	case errors.Is(err, kerr.InvalidReplicationFactor):
		return state, fmt.Errorf("replication factor %d is more than the cluster has brokers; a single broker "+
			"for trying things out can only do 1: %w", spec.ReplicationFactor, err)
	case resp.ErrMessage != "":
		return state, fmt.Errorf("can't be created: %s: %w", resp.ErrMessage, err)
	default:
		return state, fmt.Errorf("can't be created: %w", err)
	}
}

// topic is a topic as the brokers describe it.
type topic struct {
	partitions, replicas int
	config               map[string]string
}

func (t topic) differs(spec TopicSpec) []string {
	var out []string
	if spec.Partitions > 0 && t.partitions != int(spec.Partitions) {
		out = append(out, fmt.Sprintf("partitions: %d, wanted %d", t.partitions, spec.Partitions))
	}
	if spec.ReplicationFactor > 0 && t.replicas != int(spec.ReplicationFactor) {
		out = append(out, fmt.Sprintf("replication factor: %d, wanted %d", t.replicas, spec.ReplicationFactor))
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Config)) {
		if have, ok := t.config[k]; ok && have != spec.Config[k] {
			out = append(out, fmt.Sprintf("%s: %s, wanted %s", k, have, spec.Config[k]))
		}
	}
	return out
}

// describe returns the topics by name; one that is missing or forbidden is an error.
func describe(ctx context.Context, adm *kadm.Client, names ...string) (map[string]topic, error) {
	if len(names) == 0 {
		return nil, nil // to franz-go, no names are all topics
	}
	details, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, err
	}
	var errs []error
	out := make(map[string]topic, len(names))
	for _, name := range names {
		d, ok := details[name]
		if !ok {
			d.Err = kerr.UnknownTopicOrPartition
		}
		if d.Err != nil {
			errs = append(errs, fmt.Errorf("topic %q: %w", name, d.Err))
			continue
		}
		t := topic{partitions: len(d.Partitions), config: map[string]string{}}
		for _, p := range d.Partitions {
			if t.replicas == 0 || len(p.Replicas) < t.replicas {
				t.replicas = len(p.Replicas)
			}
		}
		out[name] = t
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, err
	}
	for _, c := range configs {
		if c.Err != nil {
			errs = append(errs, fmt.Errorf("topic %q: settings: %w", c.Name, c.Err))
			continue
		}
		for _, v := range c.Configs {
			if v.Value != nil && out[c.Name].config != nil {
				out[c.Name].config[v.Key] = *v.Value
			}
		}
	}
	return out, errors.Join(errs...)
}

// describeSoon gives a topic that was made a moment ago some seconds to be known to all brokers.
func describeSoon(ctx context.Context, adm *kadm.Client, name string) (map[string]topic, error) {
	deadline, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		have, err := describe(ctx, adm, name)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return have, err
		}
		select {
		case <-deadline.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Weakness is a setting of a topic by which an acknowledged record can be lost.
type Weakness struct {
	// Topic that has it.
	Topic string
	// Problem is the setting, its value, and what would be safe.
	Problem string
}

// String is the topic and the problem.
func (w Weakness) String() string { return fmt.Sprintf("topic %q: %s", w.Topic, w.Problem) }

// WeakTopics tells where the topics are weaker than [EventsTopic] makes them: fewer than 3 replicas, fewer
// than 2 in sync needed for an acknowledgement, or a leader that may lack what was acknowledged. It
// returns an error when a topic is not there, or may not be looked at; a setting that the broker doesn't
// tell is not reported.
func WeakTopics(ctx context.Context, cl *kgo.Client, names ...string) ([]Weakness, error) {
	topics, err := describe(ctx, kadm.NewClient(cl), names...)
	if err != nil {
		return nil, err
	}
	var out []Weakness
	for _, name := range names {
		for _, p := range topics[name].weaknesses() {
			out = append(out, Weakness{Topic: name, Problem: p})
		}
	}
	return out, nil
}

func (t topic) weaknesses() []string {
	var out []string
	if t.replicas < 3 {
		out = append(out, fmt.Sprintf("replication factor %d; 3 survives the loss of a broker during maintenance of another", t.replicas))
	}
	if n, err := strconv.Atoi(t.config[minInsync]); err == nil && n < 2 {
		out = append(out, fmt.Sprintf("%s %d; with 2 an acknowledged record is on two disks", minInsync, n))
	}
	if t.config[unclean] == "true" {
		out = append(out, unclean+" true; a broker that lacks acknowledged records may become the leader")
	}
	return out
}
