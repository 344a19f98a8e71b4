//go:build integration && unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/internal/testenv"
)

const (
	floodTenant  = "flood"
	floodOthers  = 3                     // tenants beside it, each with a partition of its own
	floodEvery   = 50 * time.Millisecond // one event of each of the others
	floodWarm    = 10 * time.Second      // until the worker knows how fast its database is
	floodPeriod  = 30 * time.Second      // measured
	floodTarget  = 2                     // times the p99 of the others without the flood
	floodPercent = 99
)

// flood measures what the events of three tenants take from being produced to being committed, beside a fourth that has all of
// the topic's events waiting in a partition of its own, and without it.
func flood(t *tb, s *settings) error {
	lines := [][]string{{"worker to", "p50 without", "p50 with", "p99 without", "p99 with", "ratio", "flood's events/s", "target"}}
	for _, name := range s.sinks {
		var results [2]outcome
		var rate float64
		for i := range results {
			f := &flooding{settings: s, sink: name, backlog: i * s.events}
			var err error
			if results[i], err = f.measure(t); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			rate = f.rate
		}
		without, with := results[0], results[1]
		ratio := float64(with.P99) / float64(without.P99)
		verdict := "met"
		if ratio > floodTarget {
			verdict = "MISSED"
		}
		ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
		lines = append(lines, []string{
			name, ms(without.P50), ms(with.P50), ms(without.P99), ms(with.P99), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%.0f", rate),
			fmt.Sprint(floodTarget, " ", verdict),
		})
	}
	table(fmt.Sprintf("From Fire to commit, of tenants with %d events a second each beside one with %d waiting, and without it",
		time.Second/floodEvery, s.events), lines)
	return nil
}

// flooding is one measurement.
type flooding struct {
	*settings
	sink    string
	backlog int     // of the flooding tenant
	rate    float64 // at which it was stored
	rows    *testenv.RealRows
	record  func(*firetrail.Event) (*kgo.Record, error)
	cl      *kgo.Client
	lost    errorBox
}

func (f *flooding) measure(t *tb) (o outcome, err error) {
	f.topic, f.letters = testenv.Topic(t, f.brokers, floodOthers+1), testenv.Topic(t, f.brokers, 1)
	f.rows, f.record = testenv.NewRealRows(t), recorder()
	f.cl, err = kgo.NewClient(kgo.SeedBrokers(f.brokers...), kgo.DefaultProduceTopic(f.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(50_000))
	if err != nil {
		return o, err
	}
	defer f.cl.Close()
	for left := f.backlog; left > 0 && err == nil; left -= 1000 {
		err = f.produce(t.ctx, floodTenant, 0, min(left, 1000))
	}
	if err = cmp.Or(err, f.cl.Flush(t.ctx), f.lost.err()); err != nil {
		return o, err
	}
	begun := time.Now()
	group := testenv.Unique(t)
	cmd, wait, err := start(job{
		Name: f.sink, Brokers: f.brokers, Topic: f.topic, Letters: f.letters, Group: group, Events: max(f.backlog, 1), Hold: true,
		Since: begun.Add(floodWarm),
	})
	if err != nil {
		return o, err
	}
	err = f.trickle(t.ctx, begun.Add(floodWarm+floodPeriod))
	took := time.Since(begun)
	done, committedErr := f.committed(t.ctx, group)
	f.rate = float64(done) / took.Seconds()
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended: wait says so
	o, waitErr := wait()
	if err := errors.Join(err, committedErr, waitErr); err != nil {
		return o, err
	}
	if f.backlog > 0 && done >= int64(f.backlog) {
		return o, fmt.Errorf("the flood was over before the measurement was; give more than -events %d", f.backlog)
	}
	if wanted := floodOthers * int(floodPeriod/floodEvery) * 9 / 10; o.Events < wanted {
		return o, fmt.Errorf("only %d events of the others were measured, of about %d", o.Events, wanted)
	}
	return o, nil
}

// trickle produces the events of the others until then.
func (f *flooding) trickle(ctx context.Context, until time.Time) error {
	tick := time.NewTicker(floodEvery)
	defer tick.Stop()
	for now := range tick.C {
		if now.After(until) {
			return cmp.Or(f.cl.Flush(ctx), f.lost.err())
		}
		for i := range floodOthers {
			if err := f.produce(ctx, fmt.Sprint("other-", i), int32(i+1), 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// produce produces n events of the tenant, recorded now.
func (f *flooding) produce(ctx context.Context, tenant string, partition int32, n int) error {
	rows := f.rows.Take(n)
	for i := range rows {
		rows[i].Tenant, rows[i].Recorded = tenant, time.Now()
		rec, err := f.record(&rows[i].Event)
		if err != nil {
			return err
		}
		rec.Partition = partition
		f.cl.Produce(ctx, rec, f.lost.promise)
	}
	return f.lost.err()
}

// committed is how many of the flood's events are stored.
func (f *flooding) committed(ctx context.Context, group string) (int64, error) {
	offsets, err := kadm.NewClient(f.cl).FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	o, _ := offsets.Lookup(f.topic, 0)
	return max(o.At, 0), nil
}

// observe takes note of how long the events of others than the flooding tenant took that were recorded since.
func (o *outcome) observe(r *consumer.BatchReport, since time.Time) {
	now := time.Now()
	for i := range r.Rows {
		if e := &r.Rows[i]; e.Tenant != floodTenant && !e.Recorded.Before(since) {
			o.waits = append(o.waits, now.Sub(e.Recorded))
		}
	}
}

// percentiles says what was observed.
func (o *outcome) percentiles() {
	if o.Events = len(o.waits); o.Events == 0 {
		return
	}
	slices.Sort(o.waits)
	o.P50, o.P99 = o.waits[o.Events/2], o.waits[o.Events*floodPercent/100]
}
