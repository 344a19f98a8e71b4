package testenv

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Client returns a client of the brokers, closed with the test.
func Client(t testing.TB, addrs []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addrs...)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// Topic makes a topic with a name of its own and the brokers' default replication, and returns the name.
// It stays when the test ends: a broker is shared, but goes with the test binary.
func Topic(t testing.TB, addrs []string, partitions int32) string {
	t.Helper()
	name := Unique(t)
	cl := Client(t, addrs)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := kadm.NewClient(cl).CreateTopic(ctx, partitions, -1, nil, name)
	require.NoError(t, err)
	for _, addr := range addrs { // a broker learns of it a moment later than the controller that made it
		require.Eventually(t, func() bool { return hasTopic(ctx, addr, name, partitions) }, 30*time.Second, 20*time.Millisecond,
			"%s does not know topic %s", addr, name)
	}
	return name
}

// EachRecord calls visit for each record that the topic has as of now, in the order of its partition.
func EachRecord(ctx context.Context, t testing.TB, addrs []string, topic string, visit func(*kgo.Record)) {
	t.Helper()
	cl := Client(t, addrs, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	require.NoError(t, err)
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		require.NoError(t, o.Err)
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl.AddConsumeTopics(topic)
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			visit(r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
}

// hasTopic says whether the broker at addr knows the topic and the leaders of its partitions. The client is
// new each time, since the first request of a client alone goes to where it is told.
func hasTopic(ctx context.Context, addr, name string, partitions int32) bool {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return false
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, name)
	if err != nil || topics[name].Err != nil || len(topics[name].Partitions) != int(partitions) {
		return false
	}
	for _, p := range topics[name].Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return true
}

// Unique returns a name that no other test has, for a topic or a group: the test's own name, made fit for
// Kafka, and some random letters.
func Unique(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		default:
			return '-'
		}
	}, t.Name())
	return name[:min(len(name), 150)] + "-" + strings.ToLower(rand.Text()[:8])
}
