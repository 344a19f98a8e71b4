package clickhouse

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/internal/backend"
)

// columns are the rows of a block of an insert, column by column, used again by the next. Texts alias the rows until reset.
type columns struct {
	tenant, action, actorType, entityType, source words

	id, hash       [][]byte
	time, recorded []int64
	outcome        []int8
	seq            []uint64
	truncated      []uint8

	actorID, actorName, entityID          []string
	old, new, metadata, extra             []string
	ip, userAgent, requestID, traceparent []string
}

func (c *columns) len() int { return len(c.seq) }

// columnTypes are the columns of an insert in their order, with their types: over HTTP, where the server
// does not tell.
var columnTypes = []clickhouse.ColumnNameAndType{
	{Name: "tenant_id", Type: "LowCardinality(String)"},
	{Name: "id", Type: "FixedString(16)"},
	{Name: "time_us", Type: "Int64"},
	{Name: "action", Type: "LowCardinality(String)"},
	{Name: "actor_type", Type: "LowCardinality(String)"},
	{Name: "actor_id", Type: "String"},
	{Name: "actor_name", Type: "String"},
	{Name: "entity_type", Type: "LowCardinality(String)"},
	{Name: "entity_id", Type: "String"},
	{Name: "old_values", Type: "String"},
	{Name: "new_values", Type: "String"},
	{Name: "metadata", Type: "String"},
	{Name: "outcome", Type: "Enum8('success' = 0, 'failure' = 1, 'denied' = 2)"},
	{Name: "ip", Type: "String"},
	{Name: "user_agent", Type: "String"},
	{Name: "request_id", Type: "String"},
	{Name: "traceparent", Type: "String"},
	{Name: "source", Type: "LowCardinality(String)"},
	{Name: "seq", Type: "UInt64"},
	{Name: "recorded_us", Type: "Int64"},
	{Name: "truncated", Type: "UInt8"},
	{Name: "extra", Type: "String"},
	{Name: "hash", Type: "FixedString(16)"},
}

// eventColumns are the names of those that make an event: all but the last.
var eventColumns = func() string {
	var names []string
	for _, c := range columnTypes[:len(columnTypes)-1] {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}()

var insert = "INSERT INTO audit_events (" + eventColumns + ", hash)"

// appendTo hands the columns over to an insert.
func (c *columns) appendTo(b driver.Batch) error {
	for i, column := range [...]any{
		c.tenant.values, c.id, c.time, c.action.values, c.actorType.values, c.actorID, c.actorName,
		c.entityType.values, c.entityID, c.old, c.new, c.metadata, c.outcome, c.ip, c.userAgent, c.requestID,
		c.traceparent, c.source.values, c.seq, c.recorded, c.truncated, c.extra, c.hash,
	} {
		if err := b.Column(i).Append(column); err != nil {
			return err
		}
	}
	return nil
}

// noRecorded stands for an unknown recorded time.
const noRecorded = math.MinInt64

// add appends a row that has passed check.
func (c *columns) add(r *sinkers.Row, v *values) {
	c.tenant.add(r.Tenant)
	c.action.add(r.Action.String())
	c.actorType.add(r.Actor.Type)
	c.entityType.add(r.Entity.Type)
	c.source.add(r.Source)

	c.id = append(c.id, r.ID[:])
	c.hash = append(c.hash, r.Hash[:])
	c.time = append(c.time, r.Time.UnixMicro())
	c.recorded = append(c.recorded, micros(r.Recorded))
	c.outcome = append(c.outcome, int8(r.Outcome))
	c.seq = append(c.seq, r.Seq)
	c.truncated = append(c.truncated, uint8(r.Truncated))

	c.actorID = append(c.actorID, r.Actor.ID)
	c.actorName = append(c.actorName, r.Actor.Name)
	c.entityID = append(c.entityID, r.Entity.ID)
	c.old = append(c.old, v.old)
	c.new = append(c.new, v.new)
	c.metadata = append(c.metadata, v.metadata)
	c.extra = append(c.extra, v.extra)
	c.ip = append(c.ip, r.Request.IP)
	c.userAgent = append(c.userAgent, r.Request.UserAgent)
	c.requestID = append(c.requestID, r.Request.ID)
	c.traceparent = append(c.traceparent, r.Request.Traceparent)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return noRecorded
	}
	return t.UnixMicro()
}

// reset empties the columns, and lets go of the rows' memory.
func (c *columns) reset() {
	for _, w := range []*words{&c.tenant, &c.action, &c.actorType, &c.entityType, &c.source} {
		w.reset()
	}
	for _, b := range []*[][]byte{&c.id, &c.hash} {
		clear(*b)
		*b = (*b)[:0]
	}
	for _, s := range []*[]string{
		&c.actorID, &c.actorName, &c.entityID, &c.old, &c.new, &c.metadata, &c.extra,
		&c.ip, &c.userAgent, &c.requestID, &c.traceparent,
	} {
		clear(*s)
		*s = (*s)[:0]
	}
	c.time, c.recorded, c.outcome = c.time[:0], c.recorded[:0], c.outcome[:0]
	c.seq, c.truncated = c.seq[:0], c.truncated[:0]
}

// words are a LowCardinality column. The driver looks its values up in a map of interfaces, and would box each
// string of a []string anew, so they are boxed here, and the box of the row before is taken again.
type words struct {
	values []any
	last   string
	box    any
}

func (w *words) add(s string) {
	if w.box == nil || s != w.last {
		w.last, w.box = s, s
	}
	w.values = append(w.values, w.box)
}

func (w *words) reset() {
	clear(w.values)
	*w = words{values: w.values[:0]}
}

// values are a row's JSON as texts, which share its memory.
type values struct{ old, new, metadata, extra string }

func (v *values) size() int { return len(v.old) + len(v.new) + len(v.metadata) + len(v.extra) }

// MaxRow is the most bytes that the values of a row may have together.
const MaxRow = 512 << 20

// check says what makes a row unfit to be stored, and returns its values.
func check(r *sinkers.Row) (v values, err error) {
	if err := r.Validate(); err != nil {
		return v, err
	}
	var errs [4]error
	v.old, errs[0] = backend.JSONText("old", r.Old)
	v.new, errs[1] = backend.JSONText("new", r.New)
	v.metadata, errs[2] = backend.JSONText("metadata", r.Metadata)
	v.extra, errs[3] = backend.JSONText("extra", r.Extra)
	if err := errors.Join(errs[:]...); err != nil {
		return v, err
	}
	if n := v.size(); n > MaxRow {
		return v, fmt.Errorf("values: %d bytes; the most is %d", n, MaxRow)
	}
	return v, nil
}
