//go:build integration && unix

package libsql

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	client "github.com/tursodatabase/libsql-client-go/libsql"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// BenchmarkWrite stores the same batches (rows of 1 kB, 20 tenants, mixed) turn by turn through a Sink and as the same
// statements sent bare by the client library, into two databases of one server with the same schema. The bare
// statement's parameter is made beforehand. Reported are both rates, of the median batch, and the median of the
// batches' ratios: what else the machine does changes less from one to the next than over all.
func BenchmarkWrite(b *testing.B) {
	for _, scheme := range schemes {
		for _, size := range []int{100, 1_000, 3_000} {
			b.Run(fmt.Sprintf("%s/%d", scheme, size), func(b *testing.B) { benchmarkWrite(b, scheme, size) })
		}
	}
}

func benchmarkWrite(b *testing.B, scheme string, size int) {
	sink := openWith(b, Config{URL: testenv.StartLibSQL(b, testenv.LibSQLOptions{}).URL(scheme)})
	other := openWith(b, Config{URL: testenv.StartLibSQL(b, testenv.LibSQLOptions{}).URL(scheme)})
	c, err := client.NewConnector(other.cfg.URL)
	require.NoError(b, err)
	bare := sql.OpenDB(c)
	defer func() { _ = bare.Close() }()
	bare.SetMaxOpenConns(1)
	source := newBenchRows()
	var sinkTimes, bareTimes []time.Duration
	for b.Loop() {
		rows := source.take(b, size)
		w := &write{s: other, rows: rows}
		w.cutoff = -1 << 63
		require.NoError(b, w.encode())
		require.Len(b, w.parts, 1)
		send := func() {
			t := time.Now()
			_, err := bare.ExecContext(b.Context(), other.insert, string(w.parts[0].json), w.cutoff, other.lease.owner)
			bareTimes = append(bareTimes, time.Since(t))
			require.NoError(b, err)
		}
		store := func() {
			t := time.Now()
			mustWrite(b, sink, rows)
			sinkTimes = append(sinkTimes, time.Since(t))
		}
		if len(sinkTimes)%2 == 0 { // whoever comes second has the warmer processor
			send, store = store, send
		}
		send()
		store()
	}
	ratio := medianRatio(bareTimes, sinkTimes) // before they are sorted
	sinkRate, bareRate := float64(size)/median(sinkTimes), float64(size)/median(bareTimes)
	b.ReportMetric(sinkRate, "sink-rows/s")
	b.ReportMetric(bareRate, "bare-rows/s")
	b.ReportMetric(ratio, "sink/bare")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAgain writes a batch and writes it once more, as a replay does: reported is the rate of the second time, and
// how it compares with the first. What the first time takes has nothing of it: it is asked what is there only where
// fewer rows went in than were sent.
func BenchmarkAgain(b *testing.B) {
	const size = 1_000
	s := openWith(b, Config{URL: testenv.StartLibSQL(b, testenv.LibSQLOptions{}).URL("http")})
	source := newBenchRows()
	var first, again []time.Duration
	for b.Loop() {
		rows := source.take(b, size)
		t := time.Now()
		mustWrite(b, s, rows)
		first = append(first, time.Since(t))
		t = time.Now()
		res, err := s.Write(b.Context(), sinkers.Batch{Rows: rows})
		again = append(again, time.Since(t))
		require.NoError(b, err)
		require.Equal(b, size, res.Duplicates)
	}
	rate, firstRate := size/median(again), size/median(first)
	b.ReportMetric(rate, "rows/s")
	b.ReportMetric(rate/firstRate, "again/first")
	b.ReportMetric(0, "ns/op")
}

func medianRatio(a, b []time.Duration) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i].Seconds() / b[i].Seconds()
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

func median(times []time.Duration) (seconds float64) {
	slices.Sort(times)
	return times[len(times)/2].Seconds()
}

type benchRows struct {
	ids    *firetrail.IDGenerator
	random *rand.Rand
	at     int64
	taken  int
}

func newBenchRows() *benchRows {
	return &benchRows{ids: firetrail.NewIDGenerator(), random: rand.New(rand.NewPCG(1, 2)), at: 1_700_000_000_000_000}
}

func (r *benchRows) take(b *testing.B, n int) []sinkers.Row {
	rows := someRows(b, 0, n)
	for i := range rows {
		e := &rows[i].Event
		r.at += 20
		r.taken++
		e.ID, e.Time, e.Seq = r.ids.Next(r.at), time.UnixMicro(r.at).UTC(), uint64(r.taken)
		e.Tenant = fmt.Sprintf("tenant-%02d", int(20*r.random.Float64()*r.random.Float64()))
		e.Entity = firetrail.Entity{Type: "course", ID: fmt.Sprint("c", r.taken%1000)}
		e.Request = firetrail.Request{IP: "203.0.113.7", UserAgent: "aws-cli/2.15 Python/3.11.6 Linux/6.1", ID: fmt.Sprint("req-", r.taken)}
		e.Metadata = firetrail.Raw(fmt.Appendf(nil, `{"eventVersion":"1.08","eventSource":"s3.amazonaws.com","awsRegion":"us-east-1","eventID":"%s",`+
			`"requestParameters":{"bucketName":"firetrail-%d","Host":"firetrail.s3.amazonaws.com","key":"a/b/c/%d.json","x-amz-acl":"private"},`+
			`"responseElements":null,"additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"ECDHE-RSA-AES128-GCM-SHA256",`+
			`"bytesTransferredIn":%d,"AuthenticationMethod":"AuthHeader","bytesTransferredOut":0},"readOnly":false,"managementEvent":false,`+
			`"eventCategory":"Data","tlsDetails":{"tlsVersion":"TLSv1.2","clientProvidedHostHeader":"firetrail.s3.amazonaws.com"}}`,
			e.ID, r.taken%97, r.taken, r.taken*37))
		rows[i].Hash = [16]byte(e.ID)
	}
	return rows
}
