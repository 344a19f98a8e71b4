package main

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	db := database(t, trail(1))
	text := file("text.db", "this is no database")
	newer := database(t, trail(1))
	raw, err := sql.Open("sqlite", newer)
	require.NoError(t, err)
	_, err = raw.Exec("INSERT INTO firetrail_schema (version, applied_at) VALUES (9999, 0)")
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	settings := []string{"--brokers=127.0.0.1:1", "--sqlite=" + filepath.Join(dir, "new.db"), "--dlq-dir=" + filepath.Join(dir, "dlq")}

	for name, c := range map[string]struct {
		args []string
		env  []string
		code int
		want []string
	}{
		"nothing given":  {nil, nil, cli.Usage, []string{"2 problems:\n  brokers: missing; say where Kafka is, such as --brokers localhost:9092\n  sqlite: missing; name the database's file"}},
		"command":        {[]string{"qurey"}, nil, cli.Usage, []string{`did you mean "query"?`}},
		"flag":           {[]string{"query", "--tennant=x"}, nil, cli.Usage, []string{`unknown flag --tennant, did you mean "--tenant"?`}},
		"password flag":  {[]string{"--sasl-password=hush"}, nil, cli.Usage, []string{"unknown flag --sasl-password", "--sasl-password-file"}},
		"no config":      {[]string{"--config=/nowhere.yaml"}, nil, cli.Usage, []string{"config: cannot read the file"}},
		"key":            {append(settings, "--config="+file("key.yaml", "batch-max-sise: 3\n")), nil, cli.Usage, []string{`batch-max-sise: no such setting; did you mean "batch-max-size"? (`, "key.yaml:1)"}},
		"secret in file": {append(settings, "--config="+file("secret.yaml", "sasl:\n  password: hush\n")), nil, cli.Usage, []string{"sasl-password: a secret is not taken from here; use sasl-password-file or FIRETRAIL_SASL_PASSWORD"}},
		"contradictions": {[]string{"--brokers=http://a", "--tls-ca-file=ca.pem", "--sasl-user=u", "--topics=a,b", "--letter-topic=b", "--max-in-flight-bytes=1MiB", "--flush-interval=-1s", "--sqlite=x/"}, nil, cli.Usage, []string{
			"7 problems:", `brokers[0]: "http://a" is a URL`, "flush-interval: must be more than 0", `topics: "b" is the topic of letters`,
			"max-in-flight-bytes: 1MiB is less than one batch (batch-max-bytes 8MiB)", "sasl-mechanism: missing", `sqlite: "x/" is a directory`,
			"tls-ca-file: set, but tls-enabled is false",
		}},
		"bad values":         {append(settings, "--batch-max-size=many", "--dlq-dir-is-durable=perhaps"), []string{"FIRETRAIL_BATCH_MAX_BYTES=8 apples"}, cli.Usage, []string{`batch-max-bytes: "8 apples" is not a size`, "(from FIRETRAIL_BATCH_MAX_BYTES)", `batch-max-size: "many"`, `dlq-dir-is-durable: "perhaps"`}},
		"session":            {append(settings, "--session-timeout=1ns"), nil, cli.Usage, []string{"session-timeout: 1ns is outside 100ms to 596h0m0s"}},
		"two passwords":      {append(settings, "--sasl-mechanism=plain", "--sasl-user=u", "--sasl-password-file="+text), []string{"FIRETRAIL_SASL_PASSWORD=hush"}, cli.Usage, []string{"sasl-password-file: set beside a password"}},
		"no password":        {append(settings, "--sasl-mechanism=scram-sha-256", "--sasl-user=u"), nil, cli.Usage, []string{"sasl-password-file: missing; give the file, or the password in FIRETRAIL_SASL_PASSWORD"}},
		"mechanism":          {append(settings, "--sasl-mechanism=scram-sha-265", "--sasl-user=u"), []string{"FIRETRAIL_SASL_PASSWORD=hush"}, cli.Usage, []string{`sasl-mechanism: "scram-sha-265" is none of plain, scram-sha-256, scram-sha-512; did you mean "scram-sha-256"?`}},
		"missing CA":         {append(settings, "--tls-enabled", "--tls-ca-file=/nowhere/ca.pem"), nil, cli.Usage, []string{"tls-ca-file: open /nowhere/ca.pem: no such file or directory"}},
		"topic name":         {append(settings, "--topics=audit events"), nil, cli.Usage, []string{`topics: "audit events" has a character other than`}},
		"broker unreachable": {append([]string{"topics", "create"}, settings[0]), nil, cli.Failed, []string{"brokers 127.0.0.1:1: unreachable"}},
		"replication":        {append([]string{"topics", "create", "--min-insync-replicas=5", "--partitions=0"}, settings[0]), nil, cli.Usage, []string{"min-insync-replicas: 5 is outside 1 to replication, which is 3", "partitions: 0 is outside"}},
		"directory missing":  {append(settings, "--sqlite=/nowhere/at/all/audit.db"), nil, cli.Failed, []string{"/nowhere/at/all does not exist"}},
		"dlq is a file":      {append(settings, "--dlq-dir="+text), nil, cli.Failed, []string{"dlq-dir: ", "text.db"}},
		"no database":        {append(settings, "--sqlite="+text), nil, cli.Failed, []string{"text.db"}},
		"newer database":     {append(settings, "--sqlite="+newer), nil, cli.Failed, []string{"newer"}},
		"query: none":        {[]string{"query", "--sqlite=/nowhere/audit.db"}, nil, cli.Failed, []string{"/nowhere"}},
		"query: text":        {[]string{"query", "--sqlite=" + text}, nil, cli.Failed, []string{"text.db"}},
		"query: newer":       {[]string{"query", "--sqlite=" + newer}, nil, cli.Failed, []string{"newer"}},
		"query: filters": {[]string{"query", "--sqlite=" + db, "--limit=501", "--outcome=maybe", "--action=iam", "--from=soon", "--cursor=x", "--tenant=a", "--all-tenants", "-o=yaml"}, nil, cli.Usage, []string{
			"7 problems:", "action: ", "all-tenants: contradicts --tenant", "cursor: not one that a query returned", `from: "soon" is not a time`,
			"limit: 501 is outside 1 to 500", `outcome: "maybe" is none of`, `output: "yaml" is none of`,
		}},
		"two databases": {append(settings, "--clickhouse-addrs=a:1"), nil, cli.Usage, []string{"clickhouse-addrs: set beside sqlite; choose one database"}},
		"clickhouse: no address": {append(settings, "--clickhouse-user=u", "--clickhouse-tls-enabled"), nil, cli.Usage, []string{
			"2 problems:", "clickhouse-tls-enabled: set, but clickhouse-addrs is missing", "clickhouse-user: set, but clickhouse-addrs is missing",
		}},
		"clickhouse: all wrong": {[]string{"query", "--clickhouse-addrs=a,b:0", "--clickhouse-protocol=grpc", "--clickhouse-compression=gzip", "--clickhouse-password-file=/nowhere", "--clickhouse-tls-ca-file=ca.pem"}, []string{"FIRETRAIL_CLICKHOUSE_PASSWORD="}, cli.Usage, []string{
			"6 problems:", `clickhouse-addrs[0]: "a" is not host:port`, `clickhouse-addrs[1]: "b:0" has the port "0"`, `clickhouse-compression: "gzip" is none of lz4, zstd, none`,
			"clickhouse-password-file: open /nowhere", `clickhouse-protocol: "grpc" is none of native, http`, "clickhouse-tls-ca-file: set, but clickhouse-tls-enabled is false",
		}},
		"clickhouse: two passwords":    {[]string{"query", "--clickhouse-addrs=a:1", "--clickhouse-password-file=" + text}, []string{"FIRETRAIL_CLICKHOUSE_PASSWORD=hush"}, cli.Usage, []string{"clickhouse-password-file: set beside a password in FIRETRAIL_CLICKHOUSE_PASSWORD"}},
		"clickhouse: secret in a file": {[]string{"query", "--config=" + file("ch.yaml", "clickhouse:\n  addrs: [a:1]\n  password: hush\n")}, nil, cli.Usage, []string{"clickhouse-password: a secret is not taken from here; use clickhouse-password-file or FIRETRAIL_CLICKHOUSE_PASSWORD"}},
		"clickhouse: unreachable":      {[]string{"query", "--clickhouse-addrs=127.0.0.1:1"}, []string{"FIRETRAIL_CLICKHOUSE_PASSWORD=hush"}, cli.Failed, []string{"clickhouse: 127.0.0.1:1/default: open: ", "refused"}},
		"libsql: all wrong": {[]string{"query", "--libsql-url=http://u:hush@h", "--libsql-proxy=x", "--libsql-token-file=/nowhere", "--libsql-lease-ttl=1ms"}, []string{"FIRETRAIL_LIBSQL_TOKEN=hush"}, cli.Usage, []string{
			"5 problems:", "libsql-lease-ttl: 1ms is less than 1s", "libsql-proxy: want the server's address", "libsql-token: given in FIRETRAIL_LIBSQL_TOKEN beside libsql-token-file",
			"libsql-token-file: open /nowhere", "libsql-url: has a user, a query or a fragment",
		}},
		"libsql: tenants": {[]string{"query", "--libsql-url=http://h/{tenant}/{tenant}", "--libsql-tenants-file=/nowhere"}, []string{"FIRETRAIL_LIBSQL_TOKEN=hu sh"}, cli.Usage, []string{
			"4 problems:", "libsql-tenants-file: open /nowhere", "libsql-token: has a space", "libsql-url: has {tenant} 2 times",
		}},
		"libsql: one tenant's name": {[]string{"query", "--libsql-url=http://{tenant}.h", "--libsql-tenants-file=" + file("tenants-bad", "acme\na\tb\n")}, nil, cli.Usage, []string{"libsql-tenants-file: line 2: tenant: "}},
		"libsql: tenants of one":    {[]string{"query", "--libsql-url=http://h", "--libsql-tenants-file=" + file("tenants", "acme\n")}, nil, cli.Usage, []string{"libsql-tenants-file: set, but libsql-url has no {tenant} in it"}},
		"libsql: which tenant":      {[]string{"query", "--libsql-url=http://{tenant}.h"}, nil, cli.Usage, []string{"tenant: missing"}},
		"libsql: tenants, which":    {[]string{"query", "--libsql-url=http://{tenant}.h", "--all-tenants"}, nil, cli.Failed, []string{"libsql-tenants-file: missing; libSQL doesn't tell"}},
		"libsql: no url":            {append(settings, "--libsql-lease-ttl=1m"), nil, cli.Usage, []string{"libsql-lease-ttl: set, but libsql-url is missing"}},
		"libsql: beside another":    {[]string{"query", "--clickhouse-addrs=a:1", "--libsql-url=http://h"}, nil, cli.Usage, []string{"libsql-url: set beside clickhouse-addrs; choose one database"}},
		"libsql: secret in a file":  {[]string{"query", "--config=" + file("lq.yaml", "libsql:\n  url: http://h\n  token: hush\n")}, nil, cli.Usage, []string{"libsql-token: a secret is not taken from here; use libsql-token-file or FIRETRAIL_LIBSQL_TOKEN"}},
		"libsql: unreachable":       {[]string{"query", "--libsql-url=http://127.0.0.1:1"}, []string{"FIRETRAIL_LIBSQL_TOKEN=hush"}, cli.Failed, []string{"libsql: http://127.0.0.1:1: ", "refused"}},
		"query: span":               {[]string{"query", "--sqlite=" + db, "--from=2023-02-01", "--to=2023-01-01"}, nil, cli.Usage, []string{"from: 2023-02-01T00:00:00Z is not before to"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, stderr, code := sinkWorker(t, environment(c.env...), c.args...)
			require.Equal(t, c.code, code, stderr)
			require.Empty(t, out)
			for _, w := range c.want {
				require.Contains(t, stderr, w)
			}
			require.NotContains(t, stderr, "hush")
			require.NotContains(t, stderr, "%!")
		})
	}
}

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"help.txt": {"--help"}, "help-run.txt": {"run", "--help"}, "help-query.txt": {"query", "--help"},
		"help-lag.txt": {"lag", "--help"}, "help-verify.txt": {"verify", "--help"}, "help-replay.txt": {"replay", "--help"},
		"help-dlq-list.txt": {"dlq", "list", "--help"}, "help-dlq-show.txt": {"dlq", "show", "--help"},
		"help-dlq-redrive.txt": {"dlq", "redrive", "--help"}, "help-dlq-purge.txt": {"dlq", "purge", "--help"},
		"help-wal-inspect.txt": {"wal", "inspect", "--help"}, "help-topics-create.txt": {"topics", "create", "--help"}, "help-config-check.txt": {"config", "check", "--help"},
	} {
		t.Setenv("COLUMNS", "80")
		out, stderr, code := sinkWorker(t, environment(), args...)
		require.Equal(t, cli.Done, code)
		require.Empty(t, stderr)
		golden(t, name, out)
		for line := range strings.Lines(out) {
			require.LessOrEqual(t, text.StringWidth(strings.TrimRight(line, "\n")), 80, line)
		}
	}
}

func TestVersion(t *testing.T) {
	out, _, code := sinkWorker(t, environment(), "version")
	require.Equal(t, cli.Done, code)
	require.True(t, strings.HasPrefix(out, "sink-worker "), out)
}

func TestConfigCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte("topics: [a, b]\nsasl:\n  mechanism: plain\n  user: u\n"), 0o600))
	env := environment("FIRETRAIL_SASL_PASSWORD=hush", "FIRETRAIL_SQLITE=audit.db", "FIRETRAIL_CONFIG="+path)
	out, stderr, code := sinkWorker(t, env, "config", "check", "--brokers=a:1,b:2")
	require.Equal(t, cli.Done, code, stderr)
	golden(t, "config-check.txt", strings.ReplaceAll(out, path, "FILE"))
	require.Equal(t, "warning: sasl-mechanism: plain without tls-enabled sends the password in clear text\n", stderr)

	out, _, code = sinkWorker(t, env, "config", "check", "--brokers=a:1,b:2", "-o", "json")
	require.Equal(t, cli.Done, code)
	var got map[string]struct{ Value, From string }
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Equal(t, "a.dlq", got["letter-topic"].Value)
	require.Equal(t, "(hidden)", got["sasl-password"].Value)
	require.NotContains(t, out, "hush")
}

// ClickHouse has larger batches, unless somebody says otherwise.
func TestConfigCheckClickHouse(t *testing.T) {
	env := environment("FIRETRAIL_CLICKHOUSE_PASSWORD=hush", "FIRETRAIL_CLICKHOUSE_ADDRS=a:9000,b:9000", "FIRETRAIL_FLUSH_INTERVAL=3s")
	out, stderr, code := sinkWorker(t, env, "config", "check", "--brokers=a:1", "-o", "json")
	require.Equal(t, cli.Done, code, stderr)
	require.Empty(t, stderr)
	var got map[string]struct{ Value, From string }
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	for name, want := range map[string]string{
		"batch-max-size": "50000", "batch-max-bytes": "32MiB", "flush-interval": "3s", "clickhouse-addrs": "a:9000,b:9000",
		"clickhouse-password": "(hidden)", "clickhouse-user": "", "max-in-flight-bytes": "64MiB",
	} {
		require.Contains(t, got, name)
		require.Equal(t, want, got[name].Value, name)
	}
	require.NotContains(t, out, "hush")
	_, stderr, code = sinkWorker(t, env, "config", "check", "--brokers=a:1", "--max-in-flight-bytes=16MiB")
	require.Equal(t, cli.Usage, code)
	require.Contains(t, stderr, "max-in-flight-bytes: 16MiB is less than one batch (batch-max-bytes 32MiB)")
}
