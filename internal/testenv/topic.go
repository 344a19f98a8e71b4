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
	return name
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
