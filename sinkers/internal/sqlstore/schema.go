package sqlstore

// Migration takes the schema from the version before to Version.
type Migration struct {
	Version    int
	Statements []string
}

// Latest is the schema version that this program knows.
const Latest = 2

// The schema versions that a database has been through, the newest being its own. It also tells a
// database of ours from another program's.
const (
	VersionTable  = "firetrail_schema"
	CreateVersion = `CREATE TABLE IF NOT EXISTS firetrail_schema (
		version    INTEGER PRIMARY KEY,
		applied_at INTEGER NOT NULL
	) STRICT`
	SelectVersion = `SELECT coalesce(max(version), 0) FROM firetrail_schema`
	InsertVersion = `INSERT INTO firetrail_schema (version, applied_at) VALUES (?1, ?2)`
	// SelectForeignTable names a table of somebody else's, if there is any.
	SelectForeignTable = `SELECT coalesce(min(name), '') FROM sqlite_schema
		WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
		AND name NOT LIKE 'firetrail\_%' ESCAPE '\' AND name NOT LIKE 'audit\_%' ESCAPE '\'`
)

// The indexes. A query names the one it uses (INDEXED BY), since without ANALYZE the planner guesses.
const (
	byTenant  = "audit_events_by_tenant"
	byID      = "audit_events_by_id"
	byAction  = "audit_events_by_action"
	byActor   = "audit_events_by_actor"
	byEntity  = "audit_events_by_entity"
	byOutcome = "audit_events_by_outcome"
)

// Migrations of the schema, in order. One that has been released is never changed.
//
// Measured on rows of CloudTrail records (1.04 kB, 20 tenants, transactions of 10,000, 100k rows): a rowid
// table with a unique index takes 49k rows/s, one WITHOUT ROWID keyed by (tenant_id, id) 45k, and is
// 6 % larger, since wide rows split its pages; at 500k rows 28k against 25k, at transactions of 1,000 rows
// 30k against 18k. Of the 81k rows/s without further indexes, action costs 17 %, actor 13 %, entity
// 16 %, id 8 %; outcome is partial and costs nothing to speak of. An index on (tenant_id, source, seq)
// would cost 9 % and serve Scan alone, which sorts instead.
var Migrations = []Migration{{Version: 1, Statements: []string{
	`CREATE TABLE audit_events (
		tenant_id    TEXT    NOT NULL,
		id           BLOB    NOT NULL, -- UUIDv7, 16 bytes: its order is that of time
		created_at   INTEGER NOT NULL, -- when it happened, µs since 1970
		action       TEXT    NOT NULL,
		actor_type   TEXT,
		actor_id     TEXT,
		actor_name   TEXT,
		entity_type  TEXT,
		entity_id    TEXT,
		old_values   TEXT,             -- JSON, as are the next two and extra
		new_values   TEXT,
		metadata     TEXT,
		outcome      TEXT    NOT NULL, -- success, failure, denied
		ip           TEXT,
		user_agent   TEXT,
		request_id   TEXT,
		traceparent  TEXT,
		source       TEXT    NOT NULL, -- the producer's run
		seq          INTEGER NOT NULL, -- counts a source's events of a tenant, from 1
		recorded_at  INTEGER,          -- when the producer took it, µs since 1970
		truncated    INTEGER NOT NULL, -- what was left out, as bits: 1 old, 2 new, 4 metadata, 8 texts
		extra        TEXT,             -- attributes that this version doesn't know
		hash         BLOB    NOT NULL  -- of the content, 16 bytes
	) STRICT`,
	`CREATE UNIQUE INDEX ` + byTenant + ` ON audit_events (tenant_id, id)`,
	`CREATE INDEX ` + byID + ` ON audit_events (id, tenant_id)`,
	`CREATE INDEX ` + byAction + ` ON audit_events (tenant_id, action, id)`,
	`CREATE INDEX ` + byActor + ` ON audit_events (tenant_id, actor_id, id) WHERE actor_id IS NOT NULL`,
	`CREATE INDEX ` + byEntity + ` ON audit_events (tenant_id, entity_id, id) WHERE entity_id IS NOT NULL`,
	`CREATE INDEX ` + byOutcome + ` ON audit_events (tenant_id, outcome, id) WHERE outcome <> 'success'`,
	`CREATE TABLE audit_probes (
		id   INTEGER PRIMARY KEY,
		body BLOB NOT NULL
	) STRICT`,
}}, {Version: 2, Statements: []string{
	`CREATE TABLE audit_tombstones (
		tenant_id  TEXT    NOT NULL,
		actor_id   TEXT    NOT NULL, -- '' is the whole tenant
		actor_type TEXT    NOT NULL, -- '' is any
		before     INTEGER NOT NULL, -- what happened earlier is refused, µs since 1970
		reason     TEXT    NOT NULL,
		erased_at  INTEGER NOT NULL, -- when it was asked for, µs since 1970
		pending    INTEGER NOT NULL, -- 1 until all it covers is deleted
		PRIMARY KEY (tenant_id, actor_id, actor_type)
	) STRICT, WITHOUT ROWID`,
	`CREATE INDEX ` + tombstonesPending + ` ON audit_tombstones (pending) WHERE pending = 1`,
	`CREATE TABLE audit_pruned (
		id     INTEGER PRIMARY KEY CHECK (id = 1),
		before INTEGER NOT NULL -- what happened earlier was deleted and is refused, µs since 1970
	) STRICT`,
	`CREATE TABLE audit_ledger (
		tenant_id TEXT    NOT NULL,
		source    TEXT    NOT NULL,
		reason    TEXT    NOT NULL, -- expired, erased, conflict, dead_letter
		from_seq  INTEGER NOT NULL,
		to_seq    INTEGER NOT NULL, -- included
		at        INTEGER NOT NULL, -- of the last act in it, µs since 1970
		PRIMARY KEY (tenant_id, source, reason, to_seq)
	) STRICT, WITHOUT ROWID`,
}}}

const tombstonesPending = "audit_tombstones_pending"
