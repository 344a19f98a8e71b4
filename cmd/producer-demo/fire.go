package main

import (
	"context"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/producer"
)

// letterInterval is how often the producer tries letters that wait: sooner than a service would, since
// the demo's end waits for them.
const letterInterval = time.Second

func (p *pipeline) openProducer(context.Context) (err error) {
	mode := producer.Durable
	if p.settings.Mode == modeVolatile {
		mode = producer.Volatile
	}
	p.newID = firetrail.NewIDGenerator()
	p.producer, err = producer.New(producer.Config{
		Kafka: p.kafka, Topic: p.settings.Topic, Mode: mode, Dir: p.settings.path("wal"), Namespace: "demo",
		LetterInterval: letterInterval, Logger: p.log, OnAcknowledged: p.acknowledged,
		WeakTopic: p.broker != nil, // one broker keeps one replica
	})
	return err
}

// acknowledged learns the ids of what an earlier run left.
func (p *pipeline) acknowledged(id firetrail.ID, recovered bool) {
	if recovered {
		p.ids.addRecovered(id)
	}
}

// fire gives the event to the producer and returns its new id and how long that took. The id is made here,
// and in the time, only so that it is known and can be asked for.
func (p *pipeline) fire(ctx context.Context, e *firetrail.Event) (firetrail.ID, time.Duration) {
	begin := time.Now()
	if e.Time.IsZero() {
		e.Time = begin
	}
	id := p.newID.Next(e.Time.UnixMicro())
	e.ID = id
	p.producer.Fire(ctx, *e)
	took := time.Since(begin)
	p.ids.addFired(id)
	return id, took
}

// backlog is how many events are fired and not acknowledged.
func (p *pipeline) backlog() int64 { return int64(p.producer.Stats().Backlog) }
