package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// What is wrong with the commands for operating the workers, all of it at once.
func TestBadInputOfOperations(t *testing.T) {
	dir := t.TempDir()
	const broker = "--brokers=127.0.0.1:1"
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"lag":              {[]string{"lag", broker, "--group=", "--topics=a b", "--timeout=0s"}, cli.Usage, []string{"3 problems", "group: missing", `topics: "a b" has`, "timeout: must be"}},
		"replay: whither":  {[]string{"replay", broker}, cli.Usage, []string{"to-beginning: give exactly one of --to-beginning, --to-time and --to-offset, or --direct"}},
		"replay: rewind":   {[]string{"replay", broker, "--to-offset=3:4", "--partition=x", "--from=1h", "--tenant=a"}, cli.Usage, []string{"4 problems", `to-offset: "3:4" is not PARTITION=OFFSET`, "partition: ", "from: set, but a group is rewound as a whole", "tenant: set"}},
		"replay: direct":   {[]string{"replay", broker, "--direct", "--dry-run", "--to-beginning", "--from=2023-02-01", "--to=2023-01-01"}, cli.Usage, []string{"4 problems", "dry-run: set, but --direct leaves the group alone", "to-beginning: set", "from: 2023-02-01T00:00:00Z is not before to", "sqlite: missing"}},
		"verify":           {[]string{"verify", "--letters"}, cli.Usage, []string{"2 problems", "sqlite: missing", "dlq-dir: missing"}},
		"replay: offsets":  {[]string{"replay", broker, "--to-offset=3=4", "--to-offset=3=5"}, cli.Usage, []string{"to-offset: partition 3 is given twice, with 4 and 5"}},
		"replay: tenant":   {[]string{"replay", broker, "--direct", "--tenant=a\nb", "--sqlite=x.db"}, cli.Usage, []string{`tenant: "a\nb" has a control character`}},
		"verify: tenant":   {[]string{"verify", "--tenant=a\nb", "--sqlite=x.db"}, cli.Usage, []string{`tenant: "a\nb" has a control character`}},
		"query: no dir":    {[]string{"query", "--all-tenants", "--sqlite-dir=/nowhere/t"}, cli.Failed, []string{"sqlite-dir: ", "/nowhere/t: no such file"}},
		"verify: letters":  {[]string{"verify", "--sqlite=x.db", "--dlq-dir=" + dir, broker}, cli.Usage, []string{"2 problems", "brokers: set, but letters are looked into only with --letters", "dlq-dir: set, but"}},
		"erase: no tenant": {[]string{"erase", "--dry-run", "--sqlite-dir=" + dir, "--tenant=a"}, cli.Failed, []string{`sink-worker: tenant "a": `, "does not exist"}},
		"topics: prefix":   {[]string{"topics", "create", broker, "--topic-prefix=a.", "--tenant-partitions=2"}, cli.Usage, []string{"2 problems", "topic-prefix: set, but no tenant is; give --tenant or --tenants-file", "tenant-partitions: set"}},
		"verify: no dir":   {[]string{"verify", "--sqlite=x.db", "--letters", "--dlq-dir=/nowhere/dlq"}, cli.Failed, []string{"dlq-dir: ", "/nowhere/dlq: no such file"}},
		"verify: broker":   {[]string{"verify", "--sqlite=x.db", "--letters", broker}, cli.Failed, []string{"brokers 127.0.0.1:1: unreachable"}},
		"dlq: nowhere":     {[]string{"dlq", "list"}, cli.Usage, []string{"dlq-dir: missing; name the directory of letters, or give brokers"}},
		"dlq: no dir":      {[]string{"dlq", "list", "--dir=/nowhere/dlq"}, cli.Failed, []string{"dlq-dir: ", "/nowhere/dlq: no such file"}},
		"dlq: no topic":    {[]string{"dlq", "list", "--topic=a b", "--brokers=a", "--limit=-1", "--since=2023-02-01", "--until=2023-01-01"}, cli.Usage, []string{"3 problems", `letter-topic: "a b" has`, "limit: -1 is negative", "since: 2023-02-01T00:00:00Z is not before until"}},
		"dlq: no broker":   {[]string{"dlq", "show", "x", broker}, cli.Failed, []string{"brokers 127.0.0.1:1: unreachable"}},
		"dlq: redrive":     {[]string{"dlq", "redrive", "--dir=" + dir, "--limit=-1", "--rate=-1", "--max-redrives=0"}, cli.Usage, []string{"4 problems", "brokers: missing; the letters go back to Kafka", "limit: ", "max-redrives: 0 is less than 1", "rate: -1"}},
		"dlq: unconfirmed": {[]string{"dlq", "purge", "--dir=" + dir}, cli.Usage, []string{"yes: missing; letters that are purged are gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, stderr, code := sinkWorker(t, environment(), c.args...)
			require.Equal(t, c.code, code, stderr)
			require.Empty(t, out)
			for _, w := range c.want {
				require.Contains(t, stderr, w)
			}
			require.NotContains(t, stderr, "%!")
		})
	}
}
