//go:build integration && unix

package clickhouse

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// BenchmarkWrite stores the same batches of real events (1 kB each, 20 tenants, mixed) turn by turn through a
// Sink and through the bare driver's column appends, into two databases with the same schema. The bare
// loop makes its columns of the same rows, in slices of its own; it looks nothing up, checks nothing and has no token. Reported are both rates, of the median batch, and the median of what the second took over
// what the first did, pair by pair: a busy machine is busy for both.
func BenchmarkWrite(b *testing.B) {
	for _, protocol := range []string{Native, HTTP} {
		for _, size := range []int{10_000, 50_000} {
			b.Run(fmt.Sprint(protocol, "/", size), func(b *testing.B) {
				server := testenv.SharedClickHouse(b)
				benchmarkWrite(b, openWith(b, configOf(b, server, protocol)), openWith(b, configOf(b, server, protocol)), size)
			})
		}
	}
}

func benchmarkWrite(b *testing.B, sink, bare *Sink, size int) {
	source := newRealRows(b)
	var filled columns
	var sinkTimes, bareTimes []time.Duration
	for b.Loop() {
		rows := source.take(size)
		texts := checked(b, rows)
		write := func() {
			began := time.Now()
			res, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
			sinkTimes = append(sinkTimes, time.Since(began))
			require.NoError(b, err)
			require.Equal(b, size, res.Stored)
		}
		loop := func() {
			began := time.Now()
			for i := range rows {
				filled.add(&rows[i], &texts[i])
			}
			bareInsert(b, bare, &filled)
			filled.reset()
			bareTimes = append(bareTimes, time.Since(began))
		}
		// Whoever comes second has the warmer processor: take turns.
		if source.taken/size%2 == 0 {
			write, loop = loop, write
		}
		write()
		loop()
	}
	ratios := make([]float64, len(sinkTimes))
	for i := range ratios {
		ratios[i] = float64(bareTimes[i]) / float64(sinkTimes[i])
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "sink/bare")
	b.ReportMetric(float64(size)/median(sinkTimes), "sink-rows/s")
	b.ReportMetric(float64(size)/median(bareTimes), "bare-rows/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWriteAgain stores batches that are there already, as a replay does.
func BenchmarkWriteAgain(b *testing.B) {
	const size = 50_000
	sink := openWith(b, configOf(b, testenv.SharedClickHouse(b), Native))
	rows := newRealRows(b).take(size)
	_, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
	require.NoError(b, err)
	for b.Loop() {
		res, err := sink.Write(b.Context(), sinkers.Batch{Rows: rows})
		require.NoError(b, err)
		require.Equal(b, size, res.Duplicates)
	}
	b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkParts says what the parts of a write cost beside the insert.
func BenchmarkParts(b *testing.B) {
	const size = 50_000
	sink := openWith(b, configOf(b, testenv.SharedClickHouse(b), Native))
	source := newRealRows(b)
	var before []sinkers.Row
	for range 4 {
		before = source.take(size)
		_, err := sink.Write(b.Context(), sinkers.Batch{Rows: before})
		require.NoError(b, err)
	}
	rows := source.take(size)
	b.Run("winners, none near", func(b *testing.B) {
		for b.Loop() {
			_, err := sink.winners(b.Context(), rows)
			require.NoError(b, err)
		}
	})
	b.Run("winners, some near", func(b *testing.B) { // as with several producers, whose times overlap
		near := slices.Clone(rows)
		near[0] = before[size/2]
		near[0].Tenant = "another"
		for b.Loop() {
			found, err := sink.winners(b.Context(), near)
			require.NoError(b, err)
			require.NotEmpty(b, found)
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			for i := range rows {
				if _, err := check(&rows[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("seen and columns", func(b *testing.B) {
		var c columns
		var s seen
		for b.Loop() {
			c.reset()
			s.reset(size)
			for i := range rows {
				s.first(rows, i)
				c.add(&rows[i], &values{})
			}
		}
	})
	b.Run("token", func(b *testing.B) {
		var c columns
		for i, v := range checked(b, rows) {
			c.add(&rows[i], &v)
		}
		for b.Loop() {
			c.token()
		}
	})
}

func median(times []time.Duration) (seconds float64) {
	slices.Sort(times)
	return times[len(times)/2].Seconds()
}

func checked(b *testing.B, rows []sinkers.Row) []values {
	texts := make([]values, len(rows))
	for i := range rows {
		var err error
		texts[i], err = check(&rows[i])
		require.NoError(b, err)
	}
	return texts
}

func bareInsert(b testing.TB, s *Sink, c *columns) {
	ctx := clickhouse.Context(b.Context(), clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}),
		clickhouse.WithColumnNamesAndTypes(columnTypes))
	batch, err := s.conn.PrepareBatch(ctx, insert)
	require.NoError(b, err)
	require.NoError(b, c.appendTo(batch))
	require.NoError(b, batch.Send())
}

// realRows makes events of the CloudTrail records that the demo brings along, again and again, with
// new ids and times.
type realRows struct {
	events []firetrail.Event
	ids    *firetrail.IDGenerator
	random *rand.Rand
	at     int64
	taken  int
}

func newRealRows(tb testing.TB) *realRows {
	f, err := os.Open("../../cmd/producer-demo/data/cloudtrail.ndjson.zst")
	require.NoError(tb, err)
	defer func() { _ = f.Close() }()
	z, err := zstd.NewReader(f)
	require.NoError(tb, err)
	defer z.Close()
	r := &realRows{ids: firetrail.NewIDGenerator(), random: rand.New(rand.NewPCG(1, 2)), at: 1_700_000_000_000_000}
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

func (r *realRows) take(n int) []sinkers.Row {
	rows := make([]sinkers.Row, n)
	for i := range rows {
		e := r.events[r.taken%len(r.events)]
		r.at += 20
		r.taken++
		e.ID, e.Time, e.Seq = r.ids.Next(r.at), time.UnixMicro(r.at).UTC(), uint64(r.taken)
		e.Recorded = e.Time
		e.Tenant = fmt.Sprintf("tenant-%02d", int(20*r.random.Float64()*r.random.Float64()))
		rows[i] = sinkers.Row{Event: e, Hash: [16]byte(e.ID)}
	}
	return rows
}
