package consumer_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// pipeline is the whole way, from Fire to the database, over a broker.
type pipeline struct {
	addrs        []string
	topic, group string
	sink         *sqlite.Sink
	dir          *dlq.Dir
}

var uploaded = firetrail.NewAction[map[string]any]("file.uploaded")

func newPipeline(t *testing.T) *pipeline {
	addrs := testenv.Broker(t)
	p := &pipeline{addrs: addrs, topic: testenv.Unique(t), group: testenv.Unique(t)}
	_, err := kafkaclient.EnsureTopics(deadline(t), testenv.Client(t, addrs), []kafkaclient.TopicSpec{
		{Name: p.topic, Partitions: 4, ReplicationFactor: 1}, {Name: p.topic + ".dlq", Partitions: 1, ReplicationFactor: 1},
	})
	require.NoError(t, err)
	p.sink, err = sqlite.Open(deadline(t), sqlite.Config{Path: filepath.Join(t.TempDir(), "audit.db")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.sink.Close()) })
	p.dir, err = dlq.OpenDir(dlq.DirConfig{Path: filepath.Join(t.TempDir(), "dlq")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.dir.Close()) })
	return p
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (p *pipeline) producer(t *testing.T) *producer.Producer {
	pr, err := producer.New(producer.Config{
		Kafka: kafkaclient.Config{Brokers: p.addrs}, Topic: p.topic, Dir: t.TempDir(), Namespace: "pipeline",
	})
	require.NoError(t, err)
	return pr
}

// work runs a worker until done says so.
func (p *pipeline) work(t *testing.T, done func(consumer.Stats) bool) consumer.Stats {
	w, err := consumer.New(consumer.Config{
		Kafka: kafkaclient.Config{Brokers: p.addrs}, Group: p.group, Topics: []string{p.topic},
		Sink: p.sink, LetterDir: p.dir, Batch: consumer.Batch{FlushInterval: 20 * time.Millisecond},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer cancel()
	require.Eventually(t, func() bool { return done(w.Stats()) }, time.Minute, 5*time.Millisecond, "%+v", w)
	cancel()
	require.NoError(t, <-ended)
	return w.Stats()
}

func (p *pipeline) stored(t *testing.T) (all []sinkers.Position) {
	for pos, err := range p.sink.Scan(deadline(t), sinkers.Scan{AllTenants: true}) {
		require.NoError(t, err)
		all = append(all, pos)
	}
	return all
}

func letters(s consumer.Stats) (n int64) {
	for _, l := range s.Letters {
		n += l
	}
	return n
}

// TestPipeline fires events, puts records that are no events between them, and looks at what the database and
// the letters have; then reads everything again, twice, by resetting the group's offsets.
func TestPipeline(t *testing.T) {
	p := newPipeline(t)
	pr := p.producer(t)
	const n, tenants = 5000, 7
	const rows = n + tenants // the end of each tenant's source is one
	for i := range n {
		pr.Fire(context.Background(), uploaded.Event(firetrail.Input[map[string]any]{
			Tenant: fmt.Sprint("tenant-", i%tenants), Entity: firetrail.Entity{ID: fmt.Sprint(i)},
			New: &map[string]any{"name": "Übersicht.pdf", "n": i},
		}))
	}
	require.NoError(t, pr.Flush(deadline(t)))
	require.NoError(t, pr.Close(deadline(t)))
	cl := testenv.Client(t, p.addrs)
	require.NoError(t, cl.ProduceSync(deadline(t),
		&kgo.Record{Topic: p.topic, Key: []byte("x"), Value: []byte("not an event")},
		&kgo.Record{Topic: p.topic, Key: []byte("x"), Value: []byte(`{"specversion":"1.0","id":"1","source":"s","type":"a.b","time":"2026-01-01T00:00:00Z","tenantid":"another"}`)},
		&kgo.Record{Topic: p.topic, Key: []byte("x"), Value: nil},
	).FirstErr())

	done := func(s consumer.Stats) bool { return s.Stored+s.Duplicates+letters(s) == rows+3 }
	s := p.work(t, done)
	require.EqualValues(t, rows, s.Stored)
	require.EqualValues(t, 3, letters(s))
	first := p.stored(t)
	require.Len(t, first, rows)
	seqs := map[string]uint64{}
	for _, pos := range first {
		seqs[pos.Tenant]++
		require.Equal(t, seqs[pos.Tenant], pos.Seq, "whole sequences")
	}
	require.Equal(t, 3, p.topicLetters(t))
	require.EqualValues(t, 3, p.dir.Stats().Dead.Letters, "each letter is in both forms")

	for range 2 {
		p.rewind(t)
		s = p.work(t, done)
		require.Zero(t, s.Stored)
		require.EqualValues(t, rows, s.Duplicates)
		require.Equal(t, first, p.stored(t), "a replay changes nothing")
	}
}

// rewind sets the group's offsets back to the beginning.
func (p *pipeline) rewind(t *testing.T) {
	adm := kadm.NewClient(testenv.Client(t, p.addrs))
	starts, err := adm.ListStartOffsets(deadline(t), p.topic)
	require.NoError(t, err)
	require.NoError(t, adm.CommitAllOffsets(deadline(t), p.group, starts.Offsets()))
}

func (p *pipeline) topicLetters(t *testing.T) int {
	ids := map[string]bool{}
	for l, err := range dlq.ReadTopic(deadline(t), p.topic+".dlq", kgo.SeedBrokers(p.addrs...)) {
		require.NoError(t, err)
		require.NotEmpty(t, l.Reason)
		require.Equal(t, p.topic, l.Topic)
		ids[l.ID] = true
	}
	return len(ids)
}
