//go:build integration && unix

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/sinkers"
)

// book is what is known of the events of one life, by number.
type book struct {
	fates         []testenv.Fate
	topic, stored []uint8 // how often
}

// account compares what was fired with what is there.
type account struct {
	*report
	books  []book
	poison []poison

	poisonRows  []uint8        // how often each of the poisoner's is stored
	poisonTopic []uint8        // how often it is in the topic
	origins     map[string]int // the number of the poison at a place of the topic, by the letter's id
}

// find returns the book and the number of an event, and why it is none of ours.
func (a *account) find(e *firetrail.Event) (b *book, i int, why string) {
	var v struct{ Life, I int }
	if err := json.Unmarshal(e.New.Bytes(), &v); err != nil || v.Life < 0 || v.Life >= len(a.books) {
		return nil, 0, "no event of ours"
	}
	b = &a.books[v.Life]
	if v.I < 0 || v.I >= len(b.fates) {
		return nil, 0, "no event of ours"
	}
	want := event(v.Life, v.I)
	switch {
	case !bytes.Equal(want.New.Bytes(), e.New.Bytes()), e.Tenant != want.Tenant, e.Action != want.Action,
		e.Actor != want.Actor, e.Entity != want.Entity, e.Truncated != 0:
		return nil, 0, "not as it was fired"
	case e.Seq != seqOf(v.I):
		return nil, 0, fmt.Sprintf("sequence %d, want %d", e.Seq, seqOf(v.I))
	}
	return b, v.I, ""
}

// readTopic enters what is in the topic of events.
func (a *account) readTopic(ctx context.Context, t *testing.T, addrs []string, topic string) {
	details, err := kadm.NewClient(testenv.Client(t, addrs)).ListTopics(ctx, topic)
	require.NoError(t, err)
	id := details[topic].ID
	a.poisonTopic = make([]uint8, len(a.poison))
	a.origins = map[string]int{}
	testenv.EachRecord(ctx, t, addrs, topic, func(r *kgo.Record) {
		if n, ok := numberOf(r); ok {
			a.poisonTopic[n]++
			if a.poison[n].reason != "" {
				a.origins[dlq.OriginID(id, r.Partition, r.Offset)] = n
			}
			return
		}
		m := firetrail.Message{Key: r.Key, Value: r.Value, Time: r.Timestamp}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, firetrail.Header{Key: h.Key, Value: h.Value})
		}
		e, err := firetrail.DecodeCloudEvent(m)
		if err != nil {
			a.problem("in the topic: partition %d, offset %d: %v", r.Partition, r.Offset, err)
			return
		}
		if e.Action == firetrail.SourceClosed {
			return
		}
		b, i, why := a.find(&e)
		if why != "" {
			a.problem("in the topic: partition %d, offset %d: %s: %s", r.Partition, r.Offset, why, r.Value)
			return
		}
		if b.topic[i] > 0 {
			a.Again++
		}
		b.topic[i] = min(b.topic[i]+1, 200)
	})
	for n := range a.poison {
		if a.poisonTopic[n] == 0 {
			a.problem("poison %d was acknowledged and is not in the topic", n)
		}
	}
}

// readDatabase enters what Query returns.
func (a *account) readDatabase(ctx context.Context, t *testing.T, db database) {
	s, err := db.open(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	byID := map[firetrail.ID]int{}
	for n := range a.poison {
		if a.poison[n].reason == "" {
			byID[a.poison[n].id] = n
		}
	}
	a.poisonRows = make([]uint8, len(a.poison))
	for _, tenant := range append(tenantNames(), "another", "") {
		a.pages(ctx, t, s, sinkers.Query{Tenant: tenant}, func(e *firetrail.Event) {
			a.Stored++
			if n, ok := byID[e.ID]; ok && e.Actor.ID == "poisoner" && e.Action == fired.Name() {
				a.poisonRows[n]++
				return
			}
			b, i, why := a.find(e)
			if why != "" {
				a.Strange++
				a.problem("stored: %s %s of %q: %s: %s", e.Action, e.ID, e.Tenant, why, e.New.Bytes())
				return
			}
			b.stored[i]++
		})
		a.pages(ctx, t, s, sinkers.Query{Tenant: tenant, Action: firetrail.SourceClosed.String()}, func(*firetrail.Event) { a.Closings++ })
	}
	rows, ids, err := db.rows(ctx)
	require.NoError(t, err)
	a.Rows = rows
	if want := a.Stored + a.Closings; rows != want || ids != want {
		a.problem("the table has %d rows of %d ids, and Query returns %d", rows, ids, want)
	}
}

func (a *account) pages(ctx context.Context, t *testing.T, s sinkers.Sinker, q sinkers.Query, visit func(*firetrail.Event)) {
	q.Limit = sinkers.MaxLimit
	for {
		p, err := s.Query(ctx, q)
		require.NoError(t, err)
		for i := range p.Events {
			visit(&p.Events[i])
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return
		}
	}
}

// readLetters enters the letters that the topic has, each of which is that of a bad record, for its reason.
func (a *account) readLetters(ctx context.Context, t *testing.T, topic string, kafka []kgo.Opt) {
	byID := map[firetrail.ID]int{}
	for n := range a.poison {
		if a.poison[n].reason == dlq.ReasonConflict {
			byID[a.poison[n].id] = n
		}
	}
	has := make([]uint8, len(a.poison))
	view := dlq.View{Topic: topic, Kafka: kafka, OnProblem: func(err error) { a.problem("letters: %v", err) }}
	for e, err := range view.Letters(ctx) {
		require.NoError(t, err)
		a.Letters[e.Reason]++
		n, ok := a.origins[e.ID]
		if !ok && e.Partition < 0 { // found in the database, afterwards: the event's id tells
			if event, err := firetrail.DecodeCloudEvent(e.Message()); err == nil {
				n, ok = byID[event.ID]
			}
		}
		switch {
		case !ok:
			a.problem("letter %s (%s: %s) of a good record: %s", e.ID, e.Reason, e.Error, e.Value)
		case e.Reason != a.poison[n].reason:
			a.problem("letter %s has the reason %s (%s), want %s", e.ID, e.Reason, e.Error, a.poison[n].reason)
		default:
			has[n]++
		}
	}
	for n := range a.poison {
		want := a.poisonTopic[n]
		if a.poison[n].reason == "" {
			want = 0
		}
		if has[n] != want {
			a.problem("poison %d (%s) is in the topic %d times, and has %d letters", n, a.poison[n].reason, a.poisonTopic[n], has[n])
		}
	}
}

// settle compares.
func (a *account) settle() {
	for number := range a.books {
		b := &a.books[number]
		var firing [firers]bool
		for i, f := range b.fates {
			there := b.stored[i] > 0
			if b.stored[i] > 1 {
				a.Twice++
				a.problem("life %d: event %d is stored %d times", number, i, b.stored[i])
			}
			switch f {
			case testenv.Unfired:
				if !there {
					continue
				}
				a.Cut++
				if firing[firerOf(i)] {
					a.Strange++
					a.problem("life %d: event %d is stored and was never fired", number, i)
				}
				firing[firerOf(i)] = true
				continue
			case testenv.Unprotected:
				a.Unprotected++
			case testenv.Dropped:
				a.Dropped++
			case testenv.Protected:
				if !there {
					a.Lost++
					a.problem("life %d: event %d (%s %d) is LOST; it is in the topic %d times", number, i, tenantOf(i), seqOf(i), b.topic[i])
				}
			}
			a.Fired++
			if f != testenv.Protected && !there {
				a.Missing++
			}
		}
	}
	for n := range a.poison {
		if a.poison[n].reason == "" {
			if a.poisonRows[n] != 1 {
				a.problem("event %d of the poisoner's, which is good, is stored %d times", n, a.poisonRows[n])
			}
			continue
		}
		a.Poison++
	}
}
