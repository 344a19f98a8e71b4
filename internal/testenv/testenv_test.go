package testenv

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The same lines run against kfake and against Kafka.
func TestBroker(t *testing.T) {
	addrs := Broker(t)
	topic := Topic(t, addrs, 2)
	require.NotEqual(t, topic, Topic(t, addrs, 2), "a test may have several")
	produceAndConsume(t, addrs, topic)
}

func produceAndConsume(t *testing.T, addrs []string, topic string) {
	t.Helper()
	cl := Client(t, addrs, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{
		Topic: topic, Key: []byte("key"), Value: []byte("value"),
		Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("text/plain")}},
	}).FirstErr())
	f := cl.PollRecords(t.Context(), 1)
	require.NoError(t, f.Err())
	require.Equal(t, "value", string(f.Records()[0].Value))
}

func TestUniqueIsFitForKafka(t *testing.T) {
	t.Run("odd / name, ütf-8", func(t *testing.T) {
		require.Regexp(t, `^[a-zA-Z0-9-]{10,200}$`, Unique(t))
		require.NotEqual(t, Unique(t), Unique(t))
	})
}
