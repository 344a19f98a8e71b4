//go:build integration && unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/internal/testenv"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/clickhouse"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// What a process does.
const (
	consumeBare    = "bare consume"
	sinkDiscard    = "discard"
	sinkClickHouse = "clickhouse"
	sinkSQLite     = "sqlite"
)

// job is what a process is to do; it reads it from its stdin.
type job struct {
	Name    string // consumeBare, or the worker's sink
	Brokers []string
	Topic   string
	Letters string
	Group   string
	Events  int // to read, by all members of the group
	Profile string
	Hold    bool      // go on until SIGTERM
	Since   time.Time // observe the events recorded from then on, and nothing else; zero: none
}

// outcome is what it says in the end.
type outcome struct {
	Events  int     // in Seconds
	Seconds float64 // from the first records to the last commit
	CPU     float64 // seconds of processor time, from the first records on
	Batch   float64 // rows of a write, on average
	Writing float64 // seconds of all writes
	Begun   time.Time
	Ended   time.Time

	P50, P99 time.Duration // of what was observed
	waits    []time.Duration
}

func (o *outcome) rate() float64 { return float64(o.Events) / o.Seconds }

// cpuEach is the processor time of one event.
func (o *outcome) cpuEach() time.Duration {
	return time.Duration(o.CPU / float64(o.Events) * float64(time.Second))
}

func cpuTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func runChild(t *tb) error {
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	measure := work
	if j.Name == consumeBare {
		measure = consume
	}
	o, err := measure(t, j)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// profile begins a processor profile, if j asks for one.
func (j *job) profile() (stop func(), err error) {
	if j.Profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(j.Profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// consume reads the topic as the worker's client does, and does nothing else.
func consume(t *tb, j job) (o outcome, err error) {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(j.Brokers...), kgo.ConsumeTopics(j.Topic), kgo.ConsumerGroup(j.Group),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.FetchMaxWait(250*time.Millisecond),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20),
	)
	if err != nil {
		return o, err
	}
	defer cl.Close()
	stop := func() {}
	for o.Events < j.Events {
		fetches := cl.PollFetches(t.ctx)
		if err := fetches.Err(); err != nil {
			return o, err
		}
		if o.Events == 0 && fetches.NumRecords() > 0 {
			o.Begun, o.CPU = time.Now(), cpuTime()
			if stop, err = j.profile(); err != nil {
				return o, err
			}
		}
		o.Events += fetches.NumRecords()
	}
	o.end()
	stop()
	return o, nil
}

func (o *outcome) end() {
	o.Ended = time.Now()
	o.Seconds, o.CPU = o.Ended.Sub(o.Begun).Seconds(), cpuTime()-o.CPU
}

// discard takes everything and keeps nothing.
type discard struct{ sinkers.Sinker }

func (discard) Write(_ context.Context, b sinkers.Batch) (sinkers.Result, error) {
	return sinkers.Result{Stored: len(b.Rows)}, nil
}

func (discard) Close() error { return nil }

// openSink opens the job's sink, and says how large a batch sink-worker makes for it.
func openSink(t *tb, name string) (sinkers.Sinker, consumer.Batch, error) {
	var batch consumer.Batch
	switch name {
	case sinkSQLite:
		dir, err := os.MkdirTemp("", "sqlite-")
		if err != nil {
			return nil, batch, err
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		sink, err := sqlite.Open(t.ctx, sqlite.Config{Path: filepath.Join(dir, "audit.db")})
		return sink, batch, err
	case sinkClickHouse:
		server := testenv.StartClickHouse(t)
		batch = consumer.Batch{MaxSize: 50_000, MaxBytes: 32 << 20}
		sink, err := clickhouse.Open(t.ctx, clickhouse.Config{
			Addrs: []string{server.Addr()}, Database: server.Database(t),
			User: testenv.ClickHouseUser, Password: testenv.ClickHousePassword,
		})
		return sink, batch, err
	default:
		return discard{}, batch, nil
	}
}

// work runs a worker until it has stored the topic's events but for a last batch that isn't full, which waits for its
// interval.
func work(t *tb, j job) (o outcome, err error) {
	sink, batch, err := openSink(t, j.Name)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, sink.Close()) }()
	until, stopped := signal.NotifyContext(t.ctx, syscall.SIGTERM)
	defer stopped()
	var (
		rows, writes, writing atomic.Int64

		ctx, cancel = context.WithCancelCause(until)
		enough      = errors.New("enough")
		want        = j.Events - max(batch.MaxSize, consumer.DefaultMaxSize)
	)
	defer cancel(nil)
	w, err := consumer.New(consumer.Config{
		Kafka: kafkaclient.Config{Brokers: j.Brokers}, Group: j.Group, Topics: []string{j.Topic}, LetterTopic: j.Letters,
		Sink: sink, Batch: batch, WeakTopics: true,
		OnBatch: func(r consumer.BatchReport) {
			if !j.Since.IsZero() {
				o.observe(&r, j.Since)
			}
			writes.Add(1)
			writing.Add(int64(r.Duration))
			if n := rows.Add(int64(len(r.Rows))); !j.Hold && n >= int64(want) && o.Events == 0 && r.Committed {
				o.Events, o.Writing = int(n), time.Duration(writing.Load()).Seconds()
				o.end()
				cancel(enough)
			}
		},
	})
	if err != nil {
		return o, err
	}
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.Stats().Records == 0 {
		select {
		case err := <-done:
			if until.Err() != nil && err == nil {
				return o, nil // told to stop while it had nothing
			}
			return o, fmt.Errorf("the worker has ended: %w", err)
		case <-tick.C:
		}
	}
	o.Begun, o.CPU = time.Now(), cpuTime()
	stop, err := j.profile()
	if err != nil {
		return o, err
	}
	err = <-done
	stop()
	o.Batch = float64(rows.Load()) / float64(writes.Load())
	if !j.Since.IsZero() {
		o.percentiles()
	}
	if s := w.Stats(); len(s.Letters) > 0 {
		err = errors.Join(err, fmt.Errorf("there were letters: %v", s.Letters))
	}
	return o, err
}
