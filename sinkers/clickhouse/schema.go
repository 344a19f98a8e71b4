package clickhouse

import (
	"fmt"
	"strings"
)

// migration takes the schema from the version before to version. ClickHouse has no transactions: the statements
// can be run again, and by two programs at a time.
type migration struct {
	version    int
	statements []string
}

// latest is the schema version that this program knows.
const latest = 1

const (
	createVersion = `CREATE TABLE IF NOT EXISTS firetrail_schema (
		version    UInt32,
		applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
	) ENGINE = MergeTree ORDER BY version`
	selectVersion = `SELECT max(version) FROM firetrail_schema`
	insertVersion = `INSERT INTO firetrail_schema (version) VALUES (%d)`
	// selectTables tells a database of ours from another program's.
	selectTables = `SELECT countIf(name = 'firetrail_schema'), countIf(name = 'audit_events')
		FROM system.tables WHERE database = currentDatabase() AND name IN ('firetrail_schema', 'audit_events')`
)

// migrations of the schema, in order. One that has been released is never changed.
//
// The key is (tenant, id, hash), since the order of ids is that of time, and is what a page is in: so a page
// is read off the end of a tenant's range, backwards, with its cursor as a plain bound, and the thousandth costs
// what the first does. Rows with the same tenant and id lie side by side and in one month (an id has the
// milliseconds of its event's time), equal ones merge into one, others stay apart by their hash.
//
// README.md has the measurements.
var migrations = []migration{{version: 1, statements: []string{
	`CREATE TABLE IF NOT EXISTS audit_events (
		tenant_id    LowCardinality(String),
		id           FixedString(16), -- UUIDv7 in byte order, since ClickHouse's own UUIDs sort by their second half
		uuid         String ALIAS UUIDNumToString(id),
		time_us      Int64,           -- when it happened, µs since 1970
		created_at   DateTime64(6, 'UTC') ALIAS fromUnixTimestamp64Micro(time_us, 'UTC'),
		action       LowCardinality(String),
		actor_type   LowCardinality(String),
		actor_id     String,
		actor_name   String,
		entity_type  LowCardinality(String),
		entity_id    String,
		old_values   String,          -- JSON, as are the next two and extra; '' is none
		new_values   String,
		metadata     String,
		outcome      Enum8('success' = 0, 'failure' = 1, 'denied' = 2),
		ip           String,
		user_agent   String,
		request_id   String,
		traceparent  String,
		source       LowCardinality(String), -- the producer's run
		seq          UInt64,          -- counts a source's events of a tenant, from 1
		recorded_us  Int64,           -- when the producer took it, µs since 1970; the least Int64 is unknown
		recorded_at  Nullable(DateTime64(6, 'UTC')) ALIAS
			if(recorded_us = toInt64('-9223372036854775808'), NULL, fromUnixTimestamp64Micro(recorded_us, 'UTC')),
		truncated    UInt8,           -- what was left out, as bits: 1 old, 2 new, 4 metadata, 8 texts, 16 extra
		extra        String,          -- attributes that this version doesn't know
		hash         FixedString(16), -- of the content
		inserted_at  DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
		first_wins   UInt64 MATERIALIZED bitNot(toUInt64(toUnixTimestamp64Micro(inserted_at))),
		INDEX at     time_us     TYPE minmax             GRANULARITY 1,
		INDEX recent inserted_at TYPE minmax             GRANULARITY 1,
		INDEX actor  actor_id    TYPE bloom_filter(0.01) GRANULARITY 1,
		INDEX entity entity_id   TYPE bloom_filter(0.01) GRANULARITY 1
	) ENGINE = ReplacingMergeTree(first_wins)
	PARTITION BY toYYYYMM(fromUnixTimestamp64Micro(time_us, 'UTC'))
	ORDER BY (tenant_id, id, hash)
	SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024, ttl_only_drop_parts = 1,
		fsync_after_insert = 1, fsync_part_directory = 1`,
	`CREATE TABLE IF NOT EXISTS audit_probes (id UInt64, body String) ENGINE = MergeTree ORDER BY id`,
	// What has been pruned and erased, which nothing may bring back. These are only ever added to.
	`CREATE TABLE IF NOT EXISTS audit_pruned (before_us Int64) ENGINE = MergeTree ORDER BY before_us`,
	`CREATE TABLE IF NOT EXISTS audit_tombstones (
		tenant_id  String,
		actor_id   String, -- '' is the whole tenant
		actor_type String, -- '' is any
		before_us  Int64,  -- what happened earlier is refused, µs since 1970
		reason     String,
		erased_us  Int64   -- when it was asked for, µs since 1970
	) ENGINE = MergeTree ORDER BY (tenant_id, actor_id, actor_type)`,
	// Entries may meet: they are merged when they are read.
	`CREATE TABLE IF NOT EXISTS audit_ledger (
		tenant_id String,
		source    String,
		reason    LowCardinality(String), -- expired, erased, conflict, dead_letter
		from_seq  UInt64,
		to_seq    UInt64, -- included
		at_us     Int64   -- of the last act in it, µs since 1970
	) ENGINE = ReplacingMergeTree(at_us) ORDER BY (tenant_id, source, reason, from_seq, to_seq)`,
}}}

// modifyTTL returns the statement that sets the table's TTL. Its times have 32 bits, so what happens after
// 2090 is taken for that year's.
func modifyTTL(days int) string {
	return fmt.Sprintf("ALTER TABLE audit_events MODIFY TTL %s", ttl(days))
}

func ttl(days int) string {
	return fmt.Sprintf("toDateTime(least(intDiv(time_us, 1000000), 3786912000)) + toIntervalDay(%d)", days)
}

// hasTTL says whether the table was created with this TTL, "" being none.
func hasTTL(createQuery, ttl string) bool {
	_, rest, found := strings.Cut(createQuery, " TTL ")
	if ttl == "" || !found {
		return ttl == "" && !found
	}
	return strings.HasPrefix(rest, ttl+" ")
}
