package kafkaclient

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Shape is what a producer needs to know of a topic.
type Shape struct {
	// Partitions is how many there are.
	Partitions int
	// Leaderless are those that nothing can be written to now.
	Leaderless map[int32]bool
	// MaxMessageBytes is the largest batch that the brokers take, in bytes; 0 where they don't tell.
	MaxMessageBytes int
}

// TopicShape asks the brokers for the shape of a topic. That its settings may not be looked at is no error; that
// the topic is not there, or not to be seen, is.
func TopicShape(ctx context.Context, cl *kgo.Client, name string) (Shape, error) {
	found, errs := TopicShapes(ctx, cl, name)
	return found[name], errs[name]
}

// TopicShapes is [TopicShape] for several topics at once: each name is in one of the two results.
func TopicShapes(ctx context.Context, cl *kgo.Client, names ...string) (map[string]Shape, map[string]error) {
	found, errs := topicPartitions(ctx, cl, names)
	if len(found) == 0 {
		return found, errs
	}
	configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, slices.Collect(maps.Keys(found))...)
	if err != nil {
		return found, errs // it is the permission that is missing, or a broker that went away meanwhile
	}
	for _, c := range configs {
		s, ok := found[c.Name]
		for _, v := range c.Configs {
			if ok && v.Key == "max.message.bytes" && v.Value != nil {
				s.MaxMessageBytes, _ = strconv.Atoi(*v.Value)
				found[c.Name] = s
			}
		}
	}
	return found, errs
}

// TopicPartitions is [TopicShape] without the settings.
func TopicPartitions(ctx context.Context, cl *kgo.Client, name string) (Shape, error) {
	found, errs := topicPartitions(ctx, cl, []string{name})
	return found[name], errs[name]
}

func topicPartitions(ctx context.Context, cl *kgo.Client, names []string) (map[string]Shape, map[string]error) {
	found, errs := map[string]Shape{}, map[string]error{}
	if len(names) == 0 {
		return found, errs // to franz-go, no names are all topics
	}
	details, err := kadm.NewClient(cl).ListTopics(ctx, names...)
	for _, name := range names {
		d, ok := details[name]
		switch {
		case err != nil:
			errs[name] = fmt.Errorf("topic %q: %w", name, err)
			continue
		case !ok:
			errs[name] = fmt.Errorf("topic %q: %w", name, kerr.UnknownTopicOrPartition)
			continue
		case d.Err != nil:
			errs[name] = fmt.Errorf("topic %q: %w", name, d.Err)
			continue
		}
		s := Shape{Partitions: len(d.Partitions), Leaderless: map[int32]bool{}}
		for _, p := range d.Partitions {
			if p.Leader < 0 {
				s.Leaderless[p.Partition] = true
			}
		}
		found[name] = s
	}
	return found, errs
}
