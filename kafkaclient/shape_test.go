package kafkaclient

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTopicShape(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.CreateTopic("events", 7, map[string]string{"max.message.bytes": "12345"}))
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	s, err := TopicShape(ctx, cl, "events")
	require.NoError(t, err)
	require.Equal(t, Shape{Partitions: 7, MaxMessageBytes: 12345, Leaderless: map[int32]bool{}}, s)

	denied := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	s, err = TopicShape(ctx, cl, "events")
	require.NoError(t, err, "its settings may not be looked at")
	require.Equal(t, 7, s.Partitions)
	require.Zero(t, s.MaxMessageBytes)
	require.Positive(t, denied.Hits())

	_, err = TopicShape(ctx, cl, "missing")
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
}
