package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers/sqlite"
)

// check returns the client's configuration, or everything that is wrong with the settings.
func (c *runCmd) check(p *program) (kafkaclient.Config, error) {
	problems := &p.command.Problems
	kafka := c.config(p)
	c.topicSettings.check(problems)
	c.workerSettings.check(problems)
	c.sinkSettings.check(problems)
	return kafka, problems.Err()
}

// work stores events until ctx ends, and then what is in flight.
func (p *program) work(ctx context.Context, c *runCmd) (err error) {
	kafka, err := c.check(p)
	if err != nil {
		return err
	}
	for _, w := range p.command.Warnings {
		p.log.Warn(w)
	}
	db, err := p.openToWrite(ctx, c.SQLite)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // told to stop while standing by
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	letters, err := dlq.OpenDir(dlq.DirConfig{Path: c.DLQDir, Logger: p.log})
	if err != nil {
		return fmt.Errorf("dlq-dir: %w", err)
	}
	defer func() { err = errors.Join(err, letters.Close()) }()
	cli.LimitMemory(2*c.MaxInFlight.Bytes + 64<<20) // SQLite's cache comes on top of it
	worker, err := consumer.New(consumer.Config{
		Kafka: kafka, Group: c.Group, Topics: c.Topics, InstanceID: c.InstanceID,
		Sink: db, LetterTopic: c.LetterTopic, LetterDir: letters, DirIsDurable: c.DLQDirIsDurable.On,
		Batch: consumer.Batch{
			MaxSize: c.BatchMaxSize.N, MaxBytes: c.BatchMaxBytes.Bytes, FlushInterval: c.FlushInterval.Duration,
		},
		MaxInFlightBytes: c.MaxInFlight.Bytes, ShutdownTimeout: c.ShutdownTimeout.Duration, Logger: p.log,
	})
	if err != nil {
		return err
	}
	err = worker.Run(ctx)
	s := worker.Stats()
	p.log.Info("worker stopped", "records", s.Records, "stored", s.Stored, "duplicates", s.Duplicates,
		"letters", s.Letters, "in_flight_bytes", s.InFlightBytes)
	return err
}

// openToWrite opens the database, and waits for its turn while another worker has it.
func (p *program) openToWrite(ctx context.Context, path string) (*sqlite.Sink, error) {
	conf := sqlite.Config{Path: path}
	db, err := sqlite.Open(ctx, conf)
	if errors.Is(err, sqlite.ErrLocked) {
		p.log.Warn("another worker has the database; standing by to take over", "sqlite", path)
		conf.WaitForLock = true
		db, err = sqlite.Open(ctx, conf)
	}
	return db, err
}
