package testenv

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
)

// RealRows makes events of the CloudTrail records that the demo brings along, again and again, with
// new ids and times. Its method must not be called concurrently.
type RealRows struct {
	events []firetrail.Event
	ids    *firetrail.IDGenerator
	random *rand.Rand
	at     int64
	Taken  int // rows so far
}

// NewRealRows reads the records, for the tests of a package up to two folders below the root.
func NewRealRows(tb testing.TB) *RealRows {
	f, err := os.Open("../../cmd/producer-demo/data/cloudtrail.ndjson.zst")
	if os.IsNotExist(err) {
		f, err = os.Open("../cmd/producer-demo/data/cloudtrail.ndjson.zst")
	}
	require.NoError(tb, err)
	defer func() { _ = f.Close() }()
	z, err := zstd.NewReader(f)
	require.NoError(tb, err)
	defer z.Close()
	r := &RealRows{ids: firetrail.NewIDGenerator(), random: rand.New(rand.NewPCG(1, 2)), at: 1_700_000_000_000_000}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r.events = append(r.events, realEvent(tb, lines.Bytes()))
	}
	require.NoError(tb, lines.Err())
	return r
}

func realEvent(tb testing.TB, line []byte) firetrail.Event {
	var rec struct {
		UserIdentity                                                struct{ Type, PrincipalID, ARN, InvokedBy, UserName string }
		EventSource, EventName, SourceIPAddress, UserAgent, EventID string
		ErrorCode, RequestID                                        string
		RequestParameters                                           json.RawMessage
		Resources                                                   []struct{ ARN string }
	}
	require.NoError(tb, json.Unmarshal(line, &rec))
	noun, _, _ := strings.Cut(rec.EventSource, ".")
	action, err := firetrail.ParseName(noun + "." + rec.EventName)
	require.NoError(tb, err)
	who := rec.UserIdentity
	e := firetrail.Event{
		Action:   action,
		Actor:    firetrail.Actor{Type: who.Type, ID: cmp.Or(who.ARN, who.PrincipalID, who.InvokedBy), Name: who.UserName},
		Entity:   firetrail.Entity{Type: noun, ID: fmt.Sprintf("%s/%.8s", noun, rec.EventID)},
		New:      firetrail.Raw(rec.RequestParameters),
		Metadata: firetrail.Raw(rest(tb, line)),
		Request:  firetrail.Request{IP: rec.SourceIPAddress, UserAgent: rec.UserAgent, ID: rec.RequestID},
		Source:   "host/4711/0192f0c1",
	}
	if len(rec.Resources) > 0 {
		e.Entity.ID = rec.Resources[0].ARN
	}
	if rec.ErrorCode != "" {
		e.Outcome = firetrail.Failure
	}
	return e
}

// rest returns what of a record isn't an event's own field.
func rest(tb testing.TB, line []byte) []byte {
	var fields map[string]json.RawMessage
	require.NoError(tb, json.Unmarshal(line, &fields))
	for _, f := range []string{"userIdentity", "requestParameters", "userAgent", "eventName", "eventTime", "sourceIPAddress"} {
		delete(fields, f)
	}
	b, err := json.Marshal(fields)
	require.NoError(tb, err)
	return b
}

// Take returns the next n rows, of twenty tenants of which some have more than others. They have no content hash: their ids stand
// for it.
func (r *RealRows) Take(n int) []sinkers.Row {
	rows := make([]sinkers.Row, n)
	for i := range rows {
		e := r.events[r.Taken%len(r.events)]
		r.at += 20
		r.Taken++
		e.ID, e.Time, e.Seq = r.ids.Next(r.at), time.UnixMicro(r.at).UTC(), uint64(r.Taken)
		e.Recorded = e.Time
		e.Tenant = fmt.Sprintf("tenant-%02d", int(20*r.random.Float64()*r.random.Float64()))
		rows[i] = sinkers.Row{Event: e, Hash: [16]byte(e.ID)}
	}
	return rows
}

// BareRows returns how many rows BenchmarkBare of a sink's package stores, and in batches of how many: what the environment
// says in FIRETRAIL_BARE_ROWS and FIRETRAIL_BARE_BATCH, by default few.
func BareRows(tb testing.TB) (total, batch int) {
	total, batch = 20_000, 10_000
	for name, n := range map[string]*int{"FIRETRAIL_BARE_ROWS": &total, "FIRETRAIL_BARE_BATCH": &batch} {
		if s := os.Getenv(name); s != "" {
			var err error
			*n, err = strconv.Atoi(s)
			require.NoError(tb, err, name)
			require.Positive(tb, *n, name)
		}
	}
	return total, batch
}
