package kafkaclient

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		topic, name string
		want        bool
	}{
		{"audit.events", "audit.events", true},
		{"audit.events", "audit-events", false},
		{"audit.*", "audit.events", true},
		{"audit.*", "audit.", true},
		{"audit.*", "audit", false},
		{"audit.*", "auditX", false},
		{"audit.*", "my.audit.events", false},
		{"audit.*", "audit.events.dlq", false},
		{"audit.t.*", "audit.t.acme", true},
		{"audit.t.*", "audit.events", false},
		{"*", "anything", true},
		{"*", "__consumer_offsets", false},
		{"*.events", "audit.events", true},
		{"*.events", "audit.events.old", false},
		{"a*b*c", "a.b.c", true},
		{"a*b*c", "a.b", false},
	} {
		require.Equal(t, c.want, MatchesTopic(c.topic, c.name), "%s %s", c.topic, c.name)
	}
	for topic, want := range map[string]string{
		"audit.events": "audit.events.dlq", "audit.*": "audit.dlq", "audit.t.*": "audit.t.dlq", "*": "audit.events.dlq", "a*.b": "a.dlq",
	} {
		require.Equal(t, want, LettersOf([]string{topic, "other"}))
	}
}

func TestCheckTopics(t *testing.T) {
	for _, topics := range [][]string{{"audit.events"}, {"audit.*", "other"}, {"other.dlq"}, {"*"}} {
		require.NoError(t, CheckTopics(topics, LettersOf(topics)))
	}
	for _, c := range []struct {
		topics        []string
		letters, want string
	}{
		{[]string{"a b"}, "", `"a b" has a character`},
		{[]string{""}, "", "is no name of a topic"},
		{[]string{"a", "a"}, "", `"a" is there twice`},
		{[]string{"a"}, "a", `"a" is the topic of letters`},
		{[]string{"a*"}, "a.letters", `"a*" matches the topic of letters, "a.letters"; let its name end in .dlq`},
		{[]string{"a*", "b.dlq"}, "a.dlq", `"b.dlq" is a topic of letters`},
	} {
		require.ErrorContains(t, CheckTopics(c.topics, c.letters), c.want)
	}
}

func TestFindTopics(t *testing.T) {
	cl := client(t, Config{Brokers: cluster(t, kfake.SeedTopics(1, "audit.b", "audit.a", "audit.dlq", "other")).ListenAddrs()})
	found, err := FindTopics(t.Context(), cl, []string{"none", "audit.*", "*.b"})
	require.NoError(t, err)
	require.Equal(t, []string{"audit.a", "audit.b", "none"}, found)
	found, err = FindTopics(t.Context(), cl, []string{"x.*"})
	require.NoError(t, err)
	require.Empty(t, found)
}
