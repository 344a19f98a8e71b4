package kafkaclient

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTenantTopic(t *testing.T) {
	for _, c := range []struct{ prefix, tenant, want string }{
		{"audit.t.", "acme", "audit.t.acme"},
		{"audit.t.", "Acme-42", "audit.t.Acme-42"},
		{"audit.t.", "", "audit.t._"},
		{"audit.t.", "_", "audit.t._5f"},
		{"audit.t.", "a.b", "audit.t.a_2eb"},
		{"audit.t.", "a_b", "audit.t.a_5fb"},
		{"audit.t.", "a/b c", "audit.t.a_2fb_20c"},
		{"audit.t.", "müller", "audit.t.m_c3_bcller"},
		{"audit.t.", "..", "audit.t._2e_2e"},
		{"audit.t.", "*", "audit.t._2a"},
		{"audit.t.", "dlq", "audit.t.dl_71"},
		{"audit.t.", "x.dlq", "audit.t.x_2edlq"},
		{"audit.dl", "q", "audit.dl_71"},
		{"audit.t.", strings.Repeat("a", 241), "audit.t." + strings.Repeat("a", 241)},
		{"audit.t.", strings.Repeat("a", 242), "audit.t._h8fded59c427b2e6809c810915aaca9635732a1decc4ba2ac8e0a1d90fc1092c9"},
	} {
		require.Equal(t, c.want, TenantTopic(c.prefix, c.tenant))
	}
}

func TestCheckTopicPrefix(t *testing.T) {
	for _, good := range []string{"audit.t.", "a", "audit-", ".", strings.Repeat("a", maxTopicPrefix)} {
		require.NoError(t, CheckTopicPrefix(good), good)
	}
	for bad, why := range map[string]string{
		"": "is empty", "_a": "begins with '_'", "a.dlq": "ends in .dlq", "audit.*": "leave the '*' out", "a b": "has a character",
		strings.Repeat("a", maxTopicPrefix+1): "is longer than",
	} {
		require.ErrorContains(t, CheckTopicPrefix(bad), why, bad)
	}
}

// tenantOf is the inverse of TenantTopic, written from its documentation; ok is false for a hashed one.
func tenantOf(t testing.TB, prefix, topic string) (tenant string, ok bool) {
	rest, found := strings.CutPrefix(topic, prefix)
	require.True(t, found)
	if rest == "_" {
		return "", true
	}
	if strings.HasPrefix(rest, "_h") {
		return "", false
	}
	var b []byte
	for i := 0; i < len(rest); i++ {
		if rest[i] != '_' {
			b = append(b, rest[i])
			continue
		}
		c, err := hex.DecodeString(rest[i+1 : i+3])
		require.NoError(t, err)
		b = append(b, c...)
		i += 2
	}
	return string(b), true
}

// FuzzTenantTopic holds every name to Kafka's rules and, by an inverse, to being one tenant's alone, also where '.' and
// '_' are the same.
func FuzzTenantTopic(f *testing.F) {
	for _, tenant := range []string{"", "_", "acme", "a.b", "a_b", "dlq", "x.dlq", "dl_71", "_h", "müller", "\xff", strings.Repeat("é", 128), strings.Repeat("a", 300)} {
		f.Add("audit.t.", tenant)
		f.Add("audit.dl", tenant)
	}
	f.Fuzz(func(t *testing.T, prefix, tenant string) {
		if CheckTopicPrefix(prefix) != nil {
			return
		}
		topic := TenantTopic(prefix, tenant)
		require.NoError(t, CheckTopic(topic))
		require.False(t, IsPattern(topic))
		require.True(t, MatchesTopic(prefix+"*", topic), topic)
		rest := topic[len(prefix):]
		require.NotContains(t, rest, ".", "so that '.' for '_' changes nothing in what is the tenant's")
		if got, ok := tenantOf(t, prefix, topic); ok {
			require.Equal(t, tenant, got)
		} else {
			require.Greater(t, len(prefix)+3*len(tenant), 249, "it is hashed only for its length")
		}
	})
}

// TestTenantTopicsDiffer pits tenants that are alike against each other.
func TestTenantTopicsDiffer(t *testing.T) {
	parts := []string{"", "a", "A", ".", "_", "-", "dlq", "_h", "71", "2e", "é", "\x00", strings.Repeat("x", 245)}
	for _, prefix := range []string{"audit.t.", "audit.dl", "p", "p."} {
		seen := map[string]string{}
		for _, a := range parts {
			for _, b := range parts {
				for _, c := range parts {
					tenant := a + b + c
					metric := strings.ReplaceAll(TenantTopic(prefix, tenant), ".", "_")
					other, there := seen[metric]
					require.True(t, !there || other == tenant, "%q and %q", other, tenant)
					seen[metric] = tenant
				}
			}
		}
		for topic, tenant := range seen { // no name is another tenant's topic, however it is hashed
			name := strings.TrimPrefix(topic, strings.ReplaceAll(prefix, ".", "_"))
			require.NotEqual(t, topic, strings.ReplaceAll(TenantTopic(prefix, name+"!"), ".", "_"), tenant)
		}
	}
}
