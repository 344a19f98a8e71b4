package sqlstore

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// Columns is how many parameters a row takes in an INSERT.
const Columns = 23

const eventColumns = "tenant_id, id, created_at, action, actor_type, actor_id, actor_name, entity_type, entity_id, " +
	"old_values, new_values, metadata, outcome, ip, user_agent, request_id, traceparent, source, seq, recorded_at, truncated, extra"

// Insert returns the statement that stores n rows, with Columns parameters each, and leaves alone those
// whose tenant and id are there already.
//
// OR FAIL concerns every other constraint: it fails the statement without undoing its first rows, which
// spares SQLite a journal for the statement (measured: 3.3 times fewer bytes written). The transaction
// around it must be rolled back then.
func Insert(n int) string {
	row := "(?" + strings.Repeat(", ?", Columns-1) + ")"
	return "INSERT OR FAIL INTO audit_events (" + eventColumns + ", hash) VALUES " +
		row + strings.Repeat(", "+row, n-1) + " ON CONFLICT (tenant_id, id) DO NOTHING"
}

// SelectHash is the statement that reads the content hash stored for a tenant and id.
const SelectHash = "SELECT hash FROM audit_events WHERE tenant_id = ?1 AND id = ?2"

// MaxRow is the most bytes that the values and texts of a row may have together. SQLite's own limit is
// 1,000,000,000 a row.
const MaxRow = 900_000_000

// AppendArgs appends the parameters of r in [Insert] to args. The id and the hash alias r. An error says what makes r
// unfit to be stored.
func AppendArgs(args []any, r *sinkers.Row) ([]any, error) {
	if err := r.Validate(); err != nil {
		return args, err
	}
	n := len(args)
	args = append(args,
		r.Tenant, r.ID[:], r.Time.UnixMicro(), r.Action.String(),
		text(r.Actor.Type), text(r.Actor.ID), text(r.Actor.Name), text(r.Entity.Type), text(r.Entity.ID),
		nil, nil, nil, r.Outcome.String(),
		text(r.Request.IP), text(r.Request.UserAgent), text(r.Request.ID), text(r.Request.Traceparent),
		r.Source, int64(r.Seq), micros(r.Recorded), int64(r.Truncated), nil, r.Hash[:])
	size := 0
	for _, v := range [...]struct {
		at    int
		field string
		value *firetrail.Value
	}{{9, "old", &r.Old}, {10, "new", &r.New}, {11, "metadata", &r.Metadata}, {21, "extra", &r.Extra}} {
		if v.value.IsZero() {
			continue
		}
		s, err := jsonText(*v.value)
		if err != nil {
			return args[:n], fmt.Errorf("%s: %w", v.field, err)
		}
		size += len(s)
		args[n+v.at] = s
	}
	if size > MaxRow {
		return args[:n], fmt.Errorf("values: %d bytes; the most is %d", size, MaxRow)
	}
	return args, nil
}

func jsonText(v firetrail.Value) (string, error) {
	b := v.Bytes()
	if b == nil { // a Go value: never in a row of the worker's
		var err error
		if b, err = v.AppendJSON(nil); err != nil {
			return "", err
		}
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%.80q is not valid UTF-8", b)
	}
	return string(b), nil
}

// text is a nullable column's parameter: nothing is NULL, which also keeps it out of partial indexes.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// idBounds returns the least id of the millisecond that from lies in, and the least id after the one that
// the last microsecond before to lies in. An id has the milliseconds of its event's time in its first 48
// bits, whoever made it.
func idBounds(from, to int64) (low, high []byte) {
	const most = 1<<48 - 1
	if from > 0 {
		low = idOfMilli(min(from/1000, most))
	}
	if to != math.MaxInt64 {
		high = idOfMilli(min(max(to+999, 0)/1000, most))
	}
	return low, high
}

func idOfMilli(ms int64) []byte {
	id := make([]byte, 16)
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}
