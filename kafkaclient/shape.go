package kafkaclient

import (
	"context"
	"fmt"
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
	s, err := TopicPartitions(ctx, cl, name)
	if err != nil {
		return s, err
	}
	configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, name)
	if err != nil {
		return s, nil //nolint:nilerr // it is the permission that is missing, or a broker that went away meanwhile
	}
	for _, c := range configs {
		for _, v := range c.Configs {
			if v.Key == "max.message.bytes" && v.Value != nil {
				s.MaxMessageBytes, _ = strconv.Atoi(*v.Value)
			}
		}
	}
	return s, nil
}

// TopicPartitions is [TopicShape] without the settings.
func TopicPartitions(ctx context.Context, cl *kgo.Client, name string) (Shape, error) {
	details, err := kadm.NewClient(cl).ListTopics(ctx, name)
	if err != nil {
		return Shape{}, fmt.Errorf("topic %q: %w", name, err)
	}
	d, ok := details[name]
	switch {
	case !ok:
		return Shape{}, fmt.Errorf("topic %q: %w", name, kerr.UnknownTopicOrPartition)
	case d.Err != nil:
		return Shape{}, fmt.Errorf("topic %q: %w", name, d.Err)
	}
	s := Shape{Partitions: len(d.Partitions), Leaderless: map[int32]bool{}}
	for _, p := range d.Partitions {
		if p.Leader < 0 {
			s.Leaderless[p.Partition] = true
		}
	}
	return s, nil
}
