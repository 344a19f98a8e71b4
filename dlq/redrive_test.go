package dlq

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail"
)

const eventsTopic = "audit.events"

func redriveBroker(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, lettersTopic), kfake.SeedTopics(4, eventsTopic))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func openJournalIn(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(filepath.Join(dir, "redriven.journal"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// sentTo returns the letter ids of the records in the topic of events.
func sentTo(t *testing.T, c *kfake.Cluster) (ids []string, records []*kgo.Record) {
	t.Helper()
	err := readTopic(t.Context(), eventsTopic, []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, idleCheck, func(r *kgo.Record) bool {
		for _, h := range r.Headers {
			if h.Key == HeaderLetterID {
				ids = append(ids, string(h.Value))
			}
		}
		records = append(records, r)
		return true
	})
	require.NoError(t, err)
	return ids, records
}

func TestRedrive(t *testing.T) {
	c, d := redriveBroker(t), openDir(t, DirConfig{})
	cl := client(t, c)
	topic := NewTopic(cl, lettersTopic)
	in := letters("a", 0, 3)
	in[0].Key, in[0].Value, in[0].Headers = []byte{}, []byte{0xff, 0}, nil
	lost, stub := letter("lost", 0), letter("stub", 0).Stub()
	lost.Topic = ""
	loop := letter("loop", 0)
	loop.Headers = []Header{{HeaderLetterID, []byte("older")}, {HeaderRedrives, []byte("3")}, {"kept", []byte("v")}}
	gone := letter("gone", 0)
	gone.Topic = "deleted"
	require.NoError(t, d.Put(t.Context(), Dead, append(in, letter("older", 0))))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("w", 0, 1)))
	older := letter("older", 0)
	older.ID = "older"
	require.NoError(t, topic.Put(t.Context(), append(letters("a", 1, 6), lost, stub, loop, gone, older)))

	j := openJournalIn(t, t.TempDir())
	told := map[string]RedriveOutcome{}
	r := Redrive{View: viewOf(d, c), Client: cl, Journal: j, OnLetter: func(e *Entry, o RedriveOutcome, reason error) {
		told[e.ID] = o
		require.Equal(t, o == RedriveRefused, reason != nil)
	}}
	want := RedriveReport{
		RedriveSent: 8, RedriveWaiting: 1, RedriveIncomplete: 2, RedriveLooping: 1, RedriveSucceeded: 1,
	}
	dry := r
	dry.DryRun, dry.Client = true, nil
	got, err := dry.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
	sent, _ := sentTo(t, c)
	require.Empty(t, sent)

	got, err = r.Run(t.Context())
	require.NoError(t, err)
	want[RedriveSent], want[RedriveRefused] = 7, 1
	require.Equal(t, want, got)
	require.Equal(t, RedriveRefused, told["gone-0"])
	sent, records := sentTo(t, c)
	require.ElementsMatch(t, []string{"a-0", "a-1", "a-2", "a-3", "a-4", "a-5", "older-0"}, sent)
	for _, rec := range records {
		if string(rec.Headers[len(rec.Headers)-3].Value) == "a-0" {
			require.Equal(t, []byte{}, rec.Key)
			require.Equal(t, []byte{0xff, 0}, rec.Value)
		}
	}

	want[RedriveSent], want[RedriveAlready] = 0, 7
	delete(want, RedriveSent)
	got, err = r.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)

	// A looping one goes when it is forced, its count going on and its other headers being kept.
	tenant := "loop"
	r.Filter.Tenant, r.MaxRedrives = &tenant, -1
	got, err = r.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, RedriveReport{RedriveSent: 1}, got)
	_, records = sentTo(t, c)
	rec := records[0]
	for _, r := range records {
		if string(r.Key) == "loop" {
			rec = r
		}
	}
	require.Equal(t, []kgo.RecordHeader{
		{Key: "kept", Value: []byte("v")},
		{Key: HeaderLetterID, Value: []byte("loop-0")},
		{Key: HeaderAttempts, Value: []byte("3")},
		{Key: HeaderRedrives, Value: []byte("4")},
	}, rec.Headers)
}

// What the broker refuses costs itself alone, whatever was sent with it; a silence ends the run, and the next
// goes on behind what was acknowledged.
func TestRedriveFailures(t *testing.T) {
	c, d := redriveBroker(t), openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Dead, letters("a", 0, 10)))
	journal := openJournalIn(t, t.TempDir())
	large := letter("a", 10)
	large.Value = make([]byte, 3<<20)
	require.NoError(t, d.Put(t.Context(), Dead, []Letter{large}))
	r := Redrive{View: viewOf(d, nil), Client: client(t, c), Journal: journal}
	got, err := r.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, RedriveReport{RedriveSent: 10, RedriveRefused: 1}, got)

	require.NoError(t, d.Put(t.Context(), Dead, letters("b", 0, 10)))
	n := 0
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if n++; n <= 1 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.NotEnoughReplicas.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	r = Redrive{View: viewOf(d, nil), Client: client(t, c), Journal: journal, Rate: 5, Timeout: time.Second}
	got, err = r.Run(t.Context())
	require.ErrorIs(t, err, errNoAnswer)
	before := got[RedriveSent]
	require.Positive(t, before)
	require.Less(t, before, 10)
	n = -1 << 20
	r.Client, r.Rate = client(t, c), 0
	got, err = r.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 10-before, got[RedriveSent])

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Run(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestRedriveLimitAndDamage(t *testing.T) {
	c, d := redriveBroker(t), openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Dead, letters("a", 0, 10)))
	dir := t.TempDir()
	for _, want := range []RedriveReport{
		{RedriveSent: 4}, {RedriveAlready: 4, RedriveSent: 4}, {RedriveAlready: 8, RedriveSent: 2},
	} {
		j := openJournalIn(t, dir)
		_, err := OpenJournal(j.path)
		require.ErrorIs(t, err, ErrJournalBusy)
		got, err := Redrive{View: viewOf(d, nil), Client: client(t, c), Journal: j, Limit: 4}.Run(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.NoError(t, j.Close())
	}
	// A crash cuts the last line: what it told is sent again, and nothing else.
	path := filepath.Join(dir, "redriven.journal")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b[:len(b)-5], 0o600))
	for range 2 {
		j := openJournalIn(t, dir)
		_, err = Redrive{View: viewOf(d, nil), Client: client(t, c), Journal: j}.Run(t.Context())
		require.NoError(t, err)
		require.NoError(t, j.Close())
	}
	sent, _ := sentTo(t, c)
	require.Len(t, sent, 11)
	known, err := ReadJournal(path)
	require.NoError(t, err)
	require.Len(t, known, 10)
	require.Equal(t, eventsTopic, known["a-0"].Topic)
	known, err = ReadJournal(filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Empty(t, known)
}

// An event without a time has Kafka's, and an id made of it: redriven, it must be the same event.
func TestRedriveKeepsTheEvent(t *testing.T) {
	l := letter("a", 0)
	l.Value = []byte(`{"specversion":"1.0","id":"x-1","source":"s","type":"a.b","tenantid":"a","datacontenttype":"application/json","data":{}}`)
	decode := func(at time.Time) firetrail.Event {
		e, err := firetrail.DecodeCloudEvent(firetrail.Message{
			Key: l.Key, Value: l.Value, Time: at,
			Headers: []firetrail.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}},
		})
		require.NoError(t, err)
		return e
	}
	require.Equal(t, l.Time, l.redriveRecord().Timestamp)
	require.NotEqual(t, decode(l.Time).ID, decode(l.Time.Add(time.Second)).ID, "or it would not matter")

	var m map[string]any
	require.NoError(t, json.Unmarshal(l.Value, &m))
	m["time"] = "2026-03-01T11:00:00Z"
	l.Value, _ = json.Marshal(m)
	require.True(t, l.redriveRecord().Timestamp.IsZero())
	l.Value = []byte("no event")
	require.True(t, l.redriveRecord().Timestamp.IsZero())
}
