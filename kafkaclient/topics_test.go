package kafkaclient

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestEnsureTopics(t *testing.T) {
	cl := client(t, Config{Brokers: cluster(t, kfake.NumBrokers(3)).ListenAddrs()})
	specs := []TopicSpec{EventsTopic("audit.events"), LettersTopic("audit.events.dlq")}

	states, err := EnsureTopics(t.Context(), cl, specs)
	require.NoError(t, err)
	require.Equal(t, []TopicState{{Name: "audit.events", Created: true}, {Name: "audit.events.dlq", Created: true}}, states)
	weak, err := WeakTopics(t.Context(), cl, "audit.events", "audit.events.dlq")
	require.NoError(t, err)
	require.Empty(t, weak, "what is made is not weak")

	states, err = EnsureTopics(t.Context(), cl, specs)
	require.NoError(t, err)
	require.Equal(t, []TopicState{{Name: "audit.events"}, {Name: "audit.events.dlq"}}, states, "a second time finds nothing to do")

	states, err = EnsureTopics(t.Context(), cl, []TopicSpec{{
		Name: "audit.events", Partitions: 6, ReplicationFactor: 2, Config: map[string]string{"min.insync.replicas": "1"},
	}})
	require.NoError(t, err)
	require.Equal(t, []string{
		"partitions: 12, wanted 6", "replication factor: 3, wanted 2", "min.insync.replicas: 2, wanted 1",
	}, states[0].Differs)

	states, err = EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "audit.events", Partitions: -1, ReplicationFactor: -1}})
	require.NoError(t, err)
	require.Empty(t, states[0].Differs, "negative asks for nothing")
}

func TestEnsureTopicsSaysWhatItCannot(t *testing.T) {
	cl := client(t, Config{Brokers: cluster(t).ListenAddrs()})
	states, err := EnsureTopics(t.Context(), cl, []TopicSpec{
		{Name: ""}, {Name: "three"}, {Name: "one", ReplicationFactor: 1}, {Name: "no/name", ReplicationFactor: 1},
	})
	require.ErrorContains(t, err, `topic "": name: missing`)
	require.ErrorContains(t, err, `topic "three": replication factor 3`)
	require.ErrorIs(t, err, kerr.InvalidReplicationFactor)
	require.Contains(t, states, TopicState{Name: "one", Created: true}, "the others are made all the same")
}

func TestWeakTopics(t *testing.T) {
	cl := client(t, Config{Brokers: cluster(t).ListenAddrs()})
	_, err := EnsureTopics(t.Context(), cl, []TopicSpec{{
		Name: "weak", ReplicationFactor: 1, Config: map[string]string{"unclean.leader.election.enable": "true"},
	}})
	require.NoError(t, err)
	weak, err := WeakTopics(t.Context(), cl, "weak")
	require.NoError(t, err)
	require.Len(t, weak, 3)
	require.Contains(t, weak[0].String(), `topic "weak": replication factor 1`)
	require.Contains(t, weak[1].Problem, "min.insync.replicas 1")
	require.Contains(t, weak[2].Problem, "unclean.leader.election.enable true")

	_, err = WeakTopics(t.Context(), cl, "weak", "missing")
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	require.ErrorContains(t, err, "missing")
	weak, err = WeakTopics(t.Context(), cl)
	require.NoError(t, err)
	require.Empty(t, weak, "no names are no topics")
}
