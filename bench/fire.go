package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
)

// firetrails are ours: both modes, values as JSON that is there already and as structs.
func firetrails(s *settings, e *sample) ([]candidate, error) {
	var out []candidate
	ctx := e.context()
	for _, mode := range []producer.Mode{producer.Durable, producer.Volatile} {
		for i, event := range []func() firetrail.Event{e.raw, e.structs} {
			values := []string{"raw values", "structs"}[i]
			cfg := producer.Config{Kafka: kafkaclient.Config{Brokers: s.brokers}, Topic: topic, WeakTopic: true, Mode: mode}
			if mode == producer.Durable {
				cfg.Dir, cfg.Namespace = filepath.Join(s.dir, fmt.Sprint("producer-", i)), "bench"
			}
			p, err := producer.New(cfg)
			if err != nil {
				return nil, err
			}
			c := candidate{
				name: fmt.Sprintf("firetrail Fire, %v, %s", mode, values), kind: inMemory, ours: true,
				fire:  func() { p.Fire(ctx, event()) },
				rest:  func() { _ = p.Flush(context.Background()) }, // ends with the context alone
				close: func() error { return closeProducer(p) },
			}
			if mode == producer.Durable {
				c.kind = inLog
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// closeProducer says what the figures would be worth nothing for.
func closeProducer(p *producer.Producer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := p.Stats()
	err := p.Close(ctx)
	if s.Unprotected > 0 || s.DroppedEvents() > 0 {
		err = errors.Join(err, fmt.Errorf("%d events were unprotected, %d dropped", s.Unprotected, s.DroppedEvents()))
	}
	return err
}

// fireSection is what an event costs its caller.
func fireSection(s *settings) (*table, error) {
	e := newSample()
	var all []candidate
	defer func() { _ = closeAll(all) }() // only after an error is there any left
	for _, add := range []func() ([]candidate, error){
		func() ([]candidate, error) { return firetrails(s, e) },
		func() ([]candidate, error) { return clients(s, e) },
		func() ([]candidate, error) { return collectors(e) },
		func() ([]candidate, error) { return loggers(s, e) },
	} {
		some, err := add()
		all = append(all, some...)
		if err != nil {
			return nil, err
		}
	}
	all = slices.DeleteFunc(all, func(c candidate) bool {
		if strings.Contains(c.name, s.match) {
			return false
		}
		_ = closeAll([]candidate{c}) // it has done nothing
		return true
	})
	results := measure(s, all)
	t := fireTable(all, results)
	err := closeAll(all)
	all = nil
	return t, err
}

// durableRaw is the candidate that the goals are about; firetrails adds it first.
const durableRaw = 0

func fireTable(all []candidate, results []result) *table {
	t := &table{
		title:  fmt.Sprintf("What one event costs its caller: median of bursts of %d, best block", burst),
		header: []any{"", "kept in", "ns an event", "× the first", "best burst", "allocations"},
	}
	if len(all) == 0 {
		return t
	}
	ours := results[durableRaw]
	best := map[kind]float64{inMemory: math.Inf(1), inFile: math.Inf(1)}
	for i, c := range all {
		t.row(c.name, c.kind, results[i].ns, results[i].ns/ours.ns, results[i].least, results[i].allocs)
		if !c.ours {
			best[c.kind] = min(best[c.kind], results[i].ns)
		}
	}
	if !all[durableRaw].ours || math.IsInf(best[inMemory]+best[inFile], 1) {
		return t // there is nothing to compare
	}
	t.note("durable beside the best that keeps nothing on disk: %s", goal(ours.ns < best[inMemory], fmt.Sprintf("%s ×, want below 1", number(ours.ns/best[inMemory]))))
	t.note("those that write a file, beside durable: %s", goal(best[inFile] >= 10*ours.ns, fmt.Sprintf("from %s ×, want 10", number(best[inFile]/ours.ns))))
	t.note("allocations in Fire of raw values: %s", goal(ours.allocs < 1, fmt.Sprintf("%s, want 0", number(ours.allocs))))
	return t
}

func closeAll(all []candidate) (err error) {
	for _, c := range all {
		if c.close != nil {
			err = errors.Join(err, c.close())
		}
	}
	return err
}
