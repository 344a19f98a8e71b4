package consumer_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/internal/smalldisk"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// probed is a sink that verify can read, and that counts how often it is probed.
type probed struct {
	readable
	probes atomic.Int64
}

type readable interface {
	sinkers.Sinker
	sinkers.Scanner
	sinkers.Prober
}

func (p *probed) Probe(ctx context.Context, size int) error {
	p.probes.Add(1)
	return p.readable.Probe(ctx, size)
}

// aFullDiskIsNoPoison has a worker store events while its database's disk fills up, twice, and empties again.
func aFullDiskIsNoPoison(t *testing.T, disk *smalldisk.Disk, db readable) {
	sink := &probed{readable: db}
	addrs := testenv.Broker(t)
	topic, group := testenv.Unique(t), testenv.Unique(t)
	_, err := kafkaclient.EnsureTopics(deadline(t), testenv.Client(t, addrs), []kafkaclient.TopicSpec{
		{Name: topic, Partitions: 3, ReplicationFactor: 1}, {Name: topic + ".dlq", Partitions: 1, ReplicationFactor: 1},
	})
	require.NoError(t, err)
	p := &pipeline{addrs: addrs, topic: topic}
	pr := p.producer(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	fired := 0
	fire := func(n int) { // of what doesn't compress
		for range n {
			fired++
			payload := make([]byte, 2<<10)
			for i := range payload {
				payload[i] = byte(rnd.Uint32())
			}
			pr.Fire(context.Background(), uploaded.Event(firetrail.Input[map[string]any]{
				Tenant: fmt.Sprint("tenant-", fired%5), Entity: firetrail.Entity{ID: fmt.Sprint(fired)},
				New: &map[string]any{"payload": hex.EncodeToString(payload)},
			}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		require.NoError(t, pr.Flush(ctx))
	}
	dir, err := dlq.OpenDir(dlq.DirConfig{Path: filepath.Join(t.TempDir(), "dlq")})
	require.NoError(t, err)
	w, err := consumer.New(consumer.Config{
		Kafka: kafkaclient.Config{Brokers: addrs}, Group: group, Topics: []string{topic}, WeakTopics: true,
		Sink: sink, LetterDir: dir, Batch: consumer.Batch{FlushInterval: 20 * time.Millisecond, MaxSize: 500},
		Retry: consumer.Retry{Attempts: 1, Delay: 20 * time.Millisecond, MaxDelay: 200 * time.Millisecond},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, dir.Close())
		require.NoError(t, pr.Close(deadline(t)))
	}()
	stored := func() bool { s := w.Stats(); return s.Stored+s.Duplicates >= int64(fired) }
	await := func(what string, ok func() bool) {
		began := time.Now()
		defer func() { t.Log(what, time.Since(began)) }()
		require.Eventually(t, ok, 90*time.Second, 5*time.Millisecond, "%s", what)
	}
	fire(200)
	await("the first", stored)
	for round := range int64(2) { // the second time in a database that was full before
		disk.Fill(t)
		fire(400)
		await("the outage", func() bool { return w.Stats().CircuitTrips == round+1 })
		t.Logf("away: %s", w.Stats().Circuit.Reason)
		require.ErrorContains(t, w.Ready(), "the database is away")
		before := sink.probes.Load()
		await("some probes of a full disk", func() bool { return sink.probes.Load() > before+3 })
		require.NotEqual(t, consumer.CircuitClosed, w.Stats().Circuit.State)
		require.True(t, disk.Empty(t))
		await("all", stored)
	}
	s := w.Stats()
	require.Empty(t, s.Letters)
	require.Zero(t, s.Suspects)
	require.Zero(t, p.topicLetters(t))
	ids := map[firetrail.ID]bool{}
	for pos, err := range sink.Scan(deadline(t), sinkers.Scan{AllTenants: true}) {
		require.NoError(t, err)
		require.False(t, ids[pos.ID], "stored twice")
		ids[pos.ID] = true
	}
	require.Len(t, ids, fired)
	t.Logf("%d stored once, %d of them written again; %d write errors", fired, s.Duplicates, s.WriteErrors)
}

// P7: a full disk never makes poison, in SQLite.
func TestFullDiskOfSQLite(t *testing.T) {
	disk := smalldisk.Mount(t, t.TempDir(), 48)
	if disk == nil {
		return
	}
	sink, err := sqlite.Open(deadline(t), sqlite.Config{Path: filepath.Join(disk.Dir, "audit.db")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sink.Close()) })
	aFullDiskIsNoPoison(t, disk, sink)
}
