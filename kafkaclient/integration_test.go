//go:build integration && unix

package kafkaclient

import (
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Against a real broker, which, unlike kfake, also says why it refuses somebody.
func TestRealKafkaWithTLSAndSASL(t *testing.T) {
	files := newPKI(t)
	k := testenv.StartSecureKafka(t, "SASL_SSL",
		"ssl.keystore.type=PEM", "ssl.keystore.location="+files.keystore(t),
		"ssl.truststore.type=PEM", "ssl.truststore.location="+files.ca,
		"listener.name.secure.ssl.client.auth=required",
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "+
			`user_someone="hunter2";`,
		"listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
	)
	addScramUser(t, k.Addrs())
	topic := testenv.Topic(t, k.Addrs(), 1)
	secure := TLS{Enabled: true, CAFile: files.ca, CertFile: files.cert, KeyFile: files.key}

	for _, mechanism := range []string{SASLPlain, SASLScramSHA256, SASLScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			config := Config{
				Brokers: k.SecureAddrs(), TLS: secure,
				SASL: SASL{Mechanism: mechanism, User: "someone", Password: "hunter2"},
			}
			require.NoError(t, check(t, config))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			require.NoError(t, client(t, config).ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr())

			config.SASL.Password = "letmein"
			err := check(t, config)
			require.ErrorIs(t, err, kerr.SaslAuthenticationFailed)
			require.ErrorContains(t, err, "sasl.user")
			require.NotContains(t, err.Error(), "letmein")
		})
	}
	t.Run("no client certificate", func(t *testing.T) {
		err := check(t, Config{Brokers: k.SecureAddrs(), TLS: TLS{Enabled: true, CAFile: files.ca}})
		require.ErrorContains(t, err, "tls.cert_file")
	})
	t.Run("TLS to a port without it", func(t *testing.T) {
		err := check(t, Config{Brokers: k.Addrs(), TLS: TLS{Enabled: true, CAFile: files.ca}})
		require.ErrorContains(t, err, "whether this port speaks TLS")
	})
	t.Run("no TLS to a port with it", func(t *testing.T) {
		err := check(t, Config{Brokers: k.SecureAddrs()})
		require.ErrorContains(t, err, "tls.enabled")
	})
}

// keystore is the server's key and certificates in one file, as Kafka wants them.
func (p pki) keystore(t *testing.T) string {
	t.Helper()
	var all []byte
	for i, der := range append([][]byte{p.servingKey}, p.serving.Certificate...) {
		kind := "CERTIFICATE"
		if i == 0 {
			kind = "PRIVATE KEY"
		}
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	path := filepath.Join(t.TempDir(), "keystore.pem")
	require.NoError(t, os.WriteFile(path, all, 0o600))
	return path
}

func addScramUser(t *testing.T, addrs []string) {
	t.Helper()
	adm := kadm.NewClient(testenv.Client(t, addrs))
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // Kafka takes one user once a request
		res, err := adm.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{
			{User: "someone", Mechanism: m, Iterations: 4096, Password: "hunter2"},
		})
		require.NoError(t, err)
		require.NoError(t, res.Error())
	}
}

func TestTopicsOnRealKafka(t *testing.T) {
	k := testenv.StartKafka(t, 3)
	cl := client(t, Config{Brokers: k.Addrs()})
	specs := []TopicSpec{EventsTopic("audit.events"), LettersTopic("audit.events.dlq")}
	states, err := EnsureTopics(t.Context(), cl, specs)
	require.NoError(t, err)
	require.True(t, states[0].Created && states[1].Created)
	states, err = EnsureTopics(t.Context(), cl, specs)
	require.NoError(t, err)
	require.Equal(t, []TopicState{{Name: "audit.events"}, {Name: "audit.events.dlq"}}, states)
	var weak []Weakness
	require.EventuallyWithT(t, func(c *assert.CollectT) { // until every broker knows them
		weak, err = WeakTopics(t.Context(), cl, "audit.events", "audit.events.dlq")
		require.NoError(c, err)
	}, time.Minute, 100*time.Millisecond)
	require.Empty(t, weak)

	_, err = EnsureTopics(t.Context(), cl, []TopicSpec{
		{Name: "many", ReplicationFactor: 4}, {Name: "odd", Config: map[string]string{"no.such.setting": "1"}}, {Name: "a b"},
	})
	require.ErrorContains(t, err, `topic "many": replication factor 4`)
	require.ErrorContains(t, err, `topic "odd": can't be created: `)
	require.ErrorContains(t, err, "no.such.setting")
	require.ErrorContains(t, err, `topic "a b": `)
	states, err = EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "weak", ReplicationFactor: 1}})
	require.NoError(t, err)
	require.True(t, states[0].Created)
	require.EventuallyWithT(t, func(c *assert.CollectT) { // until every broker knows it
		weak, err = WeakTopics(t.Context(), cl, "weak")
		require.NoError(c, err)
	}, time.Minute, 100*time.Millisecond)
	require.Len(t, weak, 2)
}
