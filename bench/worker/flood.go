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

// floodRound is what was measured without the flood and with it.
type floodRound struct {
	without, with outcome
	rate          float64 // at which the flood was stored, events a second
}

// flood measures what the events of three tenants take from being produced to being committed, beside a fourth that has all of
// the topic's events waiting in a partition of its own, or produces so many times as many, and without it.
func flood(t *tb, s *settings) error {
	lines := [][]string{{
		"worker to", "p50 without", "p50 with", "p99 without", "p99 with", "ratio", "in the rounds", "flood's events/s", "target",
	}}
	for _, name := range s.sinks {
		var rounds []floodRound
		for range s.rounds {
			r, err := s.floodRound(t, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			rounds = append(rounds, r)
		}
		lines = append(lines, floodLine(name, rounds))
	}
	beside := fmt.Sprintf("with %d waiting", s.events)
	if s.times > 0 {
		beside = fmt.Sprintf("with %d times as many", s.times)
	}
	table(fmt.Sprintf("From Fire to commit, of tenants with %d events a second each beside one %s, and without it; median of %d",
		time.Second/floodEvery, beside, s.rounds), lines)
	return nil
}

func (s *settings) floodRound(t *tb, name string) (r floodRound, err error) {
	without := &flooding{settings: s, sink: name}
	if r.without, err = without.measure(t); err != nil {
		return r, err
	}
	with := &flooding{settings: s, sink: name, backlog: s.events, times: s.times}
	if s.times > 0 {
		with.backlog = 0
	}
	r.with, err = with.measure(t)
	r.rate = with.rate
	return r, err
}

// floodLine is the table's line of a database.
func floodLine(name string, rounds []floodRound) []string {
	ms := func(of func(floodRound) time.Duration) string {
		return fmt.Sprintf("%.1f ms", median(values(rounds, func(r floodRound) float64 { return of(r).Seconds() * 1000 })))
	}
	ratios := values(rounds, func(r floodRound) float64 { return float64(r.with.P99) / float64(r.without.P99) })
	verdict := "met"
	if median(ratios) > floodTarget {
		verdict = "MISSED"
	}
	return []string{
		name,
		ms(func(r floodRound) time.Duration { return r.without.P50 }), ms(func(r floodRound) time.Duration { return r.with.P50 }),
		ms(func(r floodRound) time.Duration { return r.without.P99 }), ms(func(r floodRound) time.Duration { return r.with.P99 }),
		fmt.Sprintf("%.2f", median(ratios)), fmt.Sprintf("%.2f-%.2f", slices.Min(ratios), slices.Max(ratios)),
		fmt.Sprintf("%.0f", median(values(rounds, func(r floodRound) float64 { return r.rate }))),
		fmt.Sprint(floodTarget, " ", verdict),
	}
}

// flooding is one measurement.
type flooding struct {
	*settings
	sink    string
	backlog int     // of the flooding tenant
	times   int     // its events for each of another's, as they are produced
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
		if f.times > 0 {
			if err := f.produce(ctx, floodTenant, 0, f.times); err != nil {
				return err
			}
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
