//go:build integration && unix

package testenv

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kcat, which nobody here made, reads the key, the header and the value of a record.
func TestKcat(t *testing.T) {
	addrs := Broker(t)
	topic := Topic(t, addrs, 1)
	produceAndConsume(t, addrs, topic)
	out := Kcat(t, addrs, "-C", "-t", topic, "-e", "-q", "-f", "%k|%h|%s|%o\n")
	require.Equal(t, "key|content-type=text/plain|value|0\n", out)
}

func TestSharedIsOne(t *testing.T) {
	require.Same(t, SharedKafka(t), SharedKafka(t))
	require.True(t, Real, "the tag chooses the real one")
}

// A cluster keeps three copies and takes writes with one of its brokers gone; one killed with -9 comes back with what it had
// acknowledged, and one that is paused does not answer.
func TestClusterKillAndPause(t *testing.T) {
	k := StartKafka(t, 3, "message.max.bytes=2000000")
	require.Len(t, k.Addrs(), 3)
	topic := Topic(t, k.Addrs(), 3)
	produceAndConsume(t, k.Addrs(), topic)
	k.Kill(t, 2)
	require.Error(t, ping(t, k.Addrs()[2]))
	produceAndConsume(t, k.Addrs()[:2], topic)
	k.StartAgain(t, 2)
	require.NoError(t, ping(t, k.Addrs()[2]))
	produceAndConsume(t, k.Addrs()[2:], topic)

	k.Pause(t, 2)
	require.Error(t, ping(t, k.Addrs()[2]))
	k.Resume(t, 2)
	require.NoError(t, ping(t, k.Addrs()[2]))
}

func ping(t *testing.T, addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return Client(t, []string{addr}, kgo.DialTimeout(2*time.Second)).Ping(ctx)
}
