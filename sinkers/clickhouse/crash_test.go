//go:build integration && unix

package clickhouse

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// crashRows returns n rows of 7 tenants over three months, with payloads that tell them apart.
func crashRows(t *testing.T, n int) []sinkers.Row {
	t.Helper()
	action, err := firetrail.ParseName("course.created")
	require.NoError(t, err)
	ids := firetrail.NewIDGenerator()
	random := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2024, 1, 30, 0, 0, 0, 0, time.UTC).UnixMicro()
	step := 40 * 24 * time.Hour.Microseconds() / int64(n)
	rows := make([]sinkers.Row, n)
	for i := range rows {
		at += step
		e := firetrail.Event{
			ID: ids.Next(at), Tenant: string(rune('a' + random.IntN(7))), Time: time.UnixMicro(at).UTC(), Action: action,
			Actor: firetrail.Actor{ID: "ada"}, New: firetrail.Raw(text(random)), Source: "s", Seq: uint64(i) + 1,
		}
		rows[i] = sinkers.Row{Event: e, Hash: e.ContentHash()}
	}
	return rows
}

func text(r *rand.Rand) []byte {
	b := []byte(`"`)
	for range 60 {
		b = append(b, byte('a'+r.IntN(26)))
	}
	return append(b, '"')
}

// keepWriting writes a batch until the server has taken it, as the worker does.
func keepWriting(t *testing.T, s *Sink, rows []sinkers.Row) sinkers.Result {
	t.Helper()
	for began := time.Now(); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		res, err := s.Write(ctx, sinkers.Batch{Rows: rows})
		cancel()
		if err == nil {
			return res
		}
		require.False(t, sinkers.IsPermanent(err), "an outage was taken for poison: %v", err)
		require.Less(t, time.Since(began), 5*time.Minute, "%v", err)
		pause := time.NewTimer(20 * time.Millisecond)
		<-pause.C
	}
}

// TestKill kills the server with -9 six times while 400,000 rows come in small batches, each written again
// until it is acknowledged; then all of it is replayed from the start, in other cuts and another order. What is
// there is exactly what was sent, as it was, and a forged row is not.
func TestKill(t *testing.T) {
	const (
		total = 400_000
		small = 2_000
		kills = 6
	)
	server := testenv.StartClickHouse(t)
	c := configOf(t, server, Native)
	s := openWith(t, c)
	s.blockRows = small / 7 // a kill may come between two blocks of an insert
	rows := crashRows(t, total)

	killed, next := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(killed)
		for range next {
			server.Kill(t)
			server.StartAgain(t)
		}
	}()
	every := total / small / (kills + 1)
	for i := 0; i < total; i += small {
		if n := i / small; n > 0 && n%every == 0 && n/every <= kills {
			select {
			case next <- struct{}{}: // while the writing goes on
			case <-killed:
				t.FailNow()
			}
		}
		keepWriting(t, s, rows[i:i+small])
	}
	close(next)
	<-killed

	lie := forged(rows[total/2])
	res := keepWriting(t, s, []sinkers.Row{lie})
	require.Equal(t, []int{0}, res.Conflicts)

	again := keepWriting(t, s, rows[:small]) // the same cuts
	require.Equal(t, sinkers.Result{Duplicates: small}, again)
	random := rand.New(rand.NewPCG(3, 4))
	for i := 0; i < total; {
		n := min(1+random.IntN(60_000), total-i)
		cut := append([]sinkers.Row(nil), rows[i:i+n]...)
		random.Shuffle(n, func(a, b int) { cut[a], cut[b] = cut[b], cut[a] })
		res := keepWriting(t, s, cut)
		require.Equal(t, sinkers.Result{Duplicates: n}, res, "nothing was lost and nothing changed")
		i += n
	}
	// A letter that was mended and is read again at its old place is stored, though its batch's other rows are there.
	mended := crashRows(t, total+1)[total]
	mended.Tenant = "mended"
	mended.Hash = mended.ContentHash()
	res = keepWriting(t, s, append([]sinkers.Row{mended}, rows[:small-1]...))
	require.Equal(t, sinkers.Result{Stored: 1, Duplicates: small - 1}, res)
	require.Len(t, found(t, s, sinkers.Query{Tenant: "mended"}), 1)

	allAsSent(t, s, rows)
}

// allAsSent reads everything, by pages, and holds it to the rows that were sent.
func allAsSent(t *testing.T, s *Sink, rows []sinkers.Row) {
	t.Helper()
	want := map[key][16]byte{}
	tenants := map[string]bool{}
	for _, r := range rows {
		want[key{r.Tenant, r.ID}] = r.Hash
		tenants[r.Tenant] = true
	}
	for tenant := range tenants {
		for _, e := range found(t, s, sinkers.Query{Tenant: tenant, Limit: sinkers.MaxLimit}) {
			k := key{e.Tenant, e.ID}
			hash, ok := want[k]
			require.True(t, ok, "%s is there twice, or was never sent", e.ID)
			require.Equal(t, hash, e.ContentHash(), "%s changed", e.ID)
			delete(want, k)
		}
	}
	require.Empty(t, want, "rows are missing")
}
