package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sethvargo/go-retry"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
)

// check returns the client's configuration, or everything that is wrong with the settings.
func (c *runCmd) check(p *program) (kafkaclient.Config, opener, error) {
	problems := &p.command.Problems
	kafka := c.config(p)
	c.topicSettings.check(problems)
	open := c.sinkSettings.check(p)
	if c.isClickHouse() {
		c.largeBatches(p.command)
	}
	if least := c.FlushInterval; c.isClickHouse() || c.MinFlush.Duration > least.Duration {
		if p.command.Instead("min-flush-interval", least.String()) {
			c.MinFlush = least
		}
	}
	c.workerSettings.check(problems)
	c.adminSettings.check(problems)
	c.retentionSettings.check(problems)
	if c.OnOutage == string(consumer.Spill) && !problems.Has("on-outage") {
		switch {
		case c.SQLiteDir == "" && !c.isLibSQLPerTenant():
			problems.Add("on-outage", "spill is for a database per tenant (sqlite-dir, or libsql-url with {tenant}); with one database use pause")
		case !c.DLQDirIsDurable.On:
			problems.Add("on-outage", "spill keeps records in files alone; set dlq-dir-is-durable if dlq-dir outlives this host")
		}
	}
	return kafka, open, problems.Err()
}

// work stores events until ctx ends, and then what is in flight.
func (p *program) work(ctx context.Context, c *runCmd) (err error) {
	kafka, open, err := c.check(p)
	if err != nil {
		return err
	}
	for _, w := range p.command.Warnings {
		p.log.Warn(w)
	}
	window, err := p.openWindow(&c.adminSettings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, window.close()) }()
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	var lost atomic.Pointer[error]
	db, err := p.awaitDatabase(ctx, window, func() (sinkers.Sinker, error) {
		return open.toWrite(ctx, p.log, c.retention(), func(err error) {
			lost.Store(&err)
			lose(err)
		})
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // told to stop while standing by, or waiting
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	letters, err := dlq.OpenDir(dlq.DirConfig{Path: c.DLQDir, Logger: p.log})
	if err != nil {
		return fmt.Errorf("dlq-dir: %w", err)
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	cli.LimitMemory(2*c.MaxInFlight.Bytes + 3*c.BatchMaxBytes.Bytes + 64<<20) // a batch's columns; SQLite's cache comes on top of it
	worker, err := consumer.New(consumer.Config{
		Kafka: kafka, Group: c.Group, Topics: c.Topics, InstanceID: c.InstanceID,
		SessionTimeout: c.SessionTimeout.Duration,
		Sink:           db, LetterTopic: c.LetterTopic, LetterDir: letters, DirIsDurable: c.DLQDirIsDurable.On,
		Batch: consumer.Batch{
			MaxSize: c.BatchMaxSize.N, MaxBytes: c.BatchMaxBytes.Bytes,
			FlushInterval: c.FlushInterval.Duration, MinFlushInterval: c.MinFlush.Duration,
		},
		OnOutage: consumer.OutagePolicy(c.OnOutage),
		Prune:    consumer.Prune{Retention: c.retention(), Schedule: c.PruneSchedule},

		MaxInFlightBytes: c.MaxInFlight.Bytes, ShutdownTimeout: c.ShutdownTimeout.Duration, Logger: p.log,
		OnBatch: window.metrics.Observe,
	})
	if err != nil {
		return err
	}
	window.show(worker, letters)
	err = worker.Run(ctx)
	s := worker.Stats()
	p.log.Info("worker stopped", "records", s.Records, "stored", s.Stored, "duplicates", s.Duplicates,
		"expired", s.Expired, "erased", s.Erased, "letters", s.Letters, "in_flight_bytes", s.InFlightBytes)
	if l := lost.Load(); l != nil { // whoever starts it again has it stand by
		err = errors.Join(*l, err)
	}
	return err
}

// awaitDatabase opens the database, and tries again for as long as it is away. A mistake in the settings is an error at
// once.
func (p *program) awaitDatabase(ctx context.Context, window *window, open func() (sinkers.Sinker, error)) (db sinkers.Sinker, err error) {
	backoff := retry.NewExponential(consumer.DefaultDelay)
	backoff = retry.WithCappedDuration(consumer.DefaultMaxDelay, retry.WithJitterPercent(20, backoff))
	err = retry.Do(ctx, backoff, func(context.Context) error {
		window.wait(opening)
		if db, err = open(); err == nil || !sinkers.IsUnavailable(err) || ctx.Err() != nil {
			return err
		}
		p.log.Warn("the database is away; trying again", "err", err)
		window.wait("the database is away: " + err.Error())
		return retry.RetryableError(err)
	})
	return db, err
}
