//go:build unix

package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
)

// records calls f for each record of the topic as of now, in the order of its partition.
func records(t testing.TB, addrs []string, topic string, f func(r *kgo.Record)) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	testenv.EachRecord(ctx, t, addrs, topic, f)
}

func decode(t testing.TB, r *kgo.Record) firetrail.Event {
	m := firetrail.Message{Key: r.Key, Value: r.Value, Time: r.Timestamp}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, firetrail.Header{Key: h.Key, Value: h.Value})
	}
	e, err := firetrail.DecodeCloudEvent(m)
	require.NoError(t, err, "%s", r.Value)
	require.Equal(t, e.Tenant, string(r.Key))
	return e
}

// ledger is what arrived: of each life, by number.
type ledger map[int]*arrivals

type arrivals struct {
	source string
	ids    map[int]firetrail.ID
	last   map[string]uint64 // the highest sequence so far, by tenant
	ends   map[string]uint64 // the sequence of its end, by tenant
	again  int               // events that came more than once
}

// add enters a record, and checks that it is what was fired, that whatever comes twice is the same, and that its
// tenant's events first come in the order of their sequence.
func (l ledger) add(t testing.TB, r *kgo.Record, ordered bool) {
	e := decode(t, r)
	if e.Action == firetrail.SourceClosed {
		l.closed(t, e)
		return
	}
	var v struct{ Life, I int }
	require.NoError(t, json.Unmarshal(e.New.Bytes(), &v))
	if !bytes.Equal(testenv.Payload(v.Life, v.I), e.New.Bytes()) {
		require.Fail(t, "no event of ours", "%s", r.Value)
	}
	a := l[v.Life]
	if a == nil {
		a = &arrivals{source: e.Source, ids: map[int]firetrail.ID{}, last: map[string]uint64{}, ends: map[string]uint64{}}
		l[v.Life] = a
	}
	if e.Source != a.source || e.Tenant != tenantOf(v.I) || e.Seq != uint64(v.I/tenants)+1 {
		require.Fail(t, "forged", "event %d of life %d, source %s: %s", v.I, v.Life, a.source, r.Value)
	}
	if id, ok := a.ids[v.I]; ok {
		require.Equal(t, id, e.ID, "event %d of life %d has two ids", v.I, v.Life)
		a.again++
		return
	}
	a.ids[v.I] = e.ID
	if ordered && e.Seq <= a.last[e.Tenant] {
		require.Fail(t, "out of order", "tenant %s of life %d: %d came after %d", e.Tenant, v.Life, e.Seq, a.last[e.Tenant])
	}
	a.last[e.Tenant] = max(a.last[e.Tenant], e.Seq)
}

// closed enters the end of a source, which a child wrote that was told to end and lost nothing: it comes right behind
// the last of its tenant's events.
func (l ledger) closed(t testing.TB, e firetrail.Event) {
	for _, a := range l {
		if a.source != e.Source {
			continue
		}
		if end, ok := a.ends[e.Tenant]; ok { // it came more than once
			require.Equal(t, end, e.Seq)
			return
		}
		require.Equal(t, a.last[e.Tenant]+1, e.Seq, "the end of tenant %s", e.Tenant)
		a.ends[e.Tenant], a.last[e.Tenant] = e.Seq, e.Seq
		return
	}
	require.Fail(t, "the end of a source that nothing came from", e.Source)
}

// tally is the sum over the lives.
type tally struct{ fired, unprotected, dropped, missing, again, ends int }

func (s tally) String() string {
	return fmt.Sprintf("%d events fired, %d of them unprotected, %d dropped, %d missing; %d came more than once; %d ends of sources",
		s.fired, s.unprotected, s.dropped, s.missing, s.again, s.ends)
}

// settle compares what arrived with a life's witness: everything protected is there, and nothing that was not
// fired, but for the event that each goroutine was firing when it was killed.
func (l ledger) settle(t testing.TB, number int, fates []testenv.Fate, sum *tally) {
	a := l[number]
	if a == nil {
		a = &arrivals{}
	}
	sum.again += a.again
	sum.ends += len(a.ends)
	var firing [goroutines]bool
	for i, f := range fates {
		_, there := a.ids[i]
		switch f {
		case testenv.Unfired:
			if there {
				g := i % tenants % goroutines
				require.False(t, firing[g], "life %d: event %d arrived and was never fired", number, i)
				firing[g] = true
			}
			continue
		case testenv.Protected:
			require.True(t, there, "life %d: event %d is lost", number, i)
		case testenv.Unprotected:
			sum.unprotected++
		case testenv.Dropped:
			sum.dropped++
		}
		sum.fired++
		if !there {
			sum.missing++
		}
	}
}
