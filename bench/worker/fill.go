//go:build integration && unix

package main

import (
	"cmp"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/internal/testenv"
)

const partitions = 12

// fill makes the topic and its topic of letters, and ships so many real events to it: the bytes, the compression and
// the batches are the producer's.
func fill(t *tb, s *settings, events int) error {
	s.topic, s.letters = testenv.Topic(t, s.brokers, partitions), testenv.Topic(t, s.brokers, 1)
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(s.brokers...), kgo.DefaultProduceTopic(s.topic), kgo.ProducerLinger(10*time.Millisecond),
		kgo.MaxBufferedRecords(50_000),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	var (
		bytes  int64
		broken errorBox
		rows   = testenv.NewRealRows(t)
		record = recorder()
		begun  = time.Now()
	)
	for left := events; left > 0; {
		some := rows.Take(min(left, 1000))
		left -= len(some)
		for i := range some {
			rec, err := record(&some[i].Event)
			if err != nil {
				return err
			}
			bytes += int64(len(rec.Value))
			cl.Produce(t.ctx, rec, broken.promise)
		}
		if err := broken.err(); err != nil {
			return err
		}
	}
	if err := cmp.Or(cl.Flush(t.ctx), broken.err()); err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%d events of %d bytes in %d partitions, produced in %v\n",
		events, bytes/int64(events), partitions, time.Since(begun).Round(time.Second/10))
	return nil
}

// recorder returns a function that makes the record of an event.
func recorder() func(*firetrail.Event) (*kgo.Record, error) {
	headers := make([]kgo.RecordHeader, 0, 1)
	for _, h := range firetrail.CloudEventHeaders() {
		headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return func(e *firetrail.Event) (*kgo.Record, error) {
		value, err := e.AppendCloudEvent(nil)
		return &kgo.Record{Key: []byte(e.Tenant), Value: value, Headers: headers}, err
	}
}

// errorBox keeps the first of the errors that it is told of, by any goroutine.
type errorBox struct{ first atomic.Pointer[error] }

// promise is kgo.Client.Produce's.
func (b *errorBox) promise(_ *kgo.Record, err error) {
	if err != nil {
		b.first.CompareAndSwap(nil, &err)
	}
}

func (b *errorBox) err() error {
	if err := b.first.Load(); err != nil {
		return *err
	}
	return nil
}
