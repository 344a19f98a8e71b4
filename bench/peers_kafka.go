package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// clients hand each event to franz-go, which keeps it in memory until the broker has it. Pre-encoded, the caller
// pays for nothing else: no id, no time, no JSON.
func clients(s *settings, e *sample) ([]candidate, error) {
	type produce = func(*kgo.Client, *kgo.Record)
	failed := func(_ *kgo.Record, err error) {
		if err != nil {
			panic(fmt.Sprint("bench: the broker took no record: ", err))
		}
	}
	block := func(cl *kgo.Client, r *kgo.Record) { cl.Produce(context.Background(), r, failed) }
	try := func(cl *kgo.Client, r *kgo.Record) { cl.TryProduce(context.Background(), r, failed) }
	encoded, key := e.marshal(), []byte(e.tenant)
	ready := func() []byte { return encoded }
	var out []candidate
	for _, c := range []struct {
		name    string
		produce produce
		value   func() []byte
	}{
		{"franz-go TryProduce, encoded before", try, ready},
		{"franz-go Produce, encoded before", block, ready},
		{"franz-go TryProduce, encoding/json", try, e.marshal},
		{"franz-go Produce, encoding/json", block, e.marshal},
	} {
		cl, err := newClient(s)
		if err != nil {
			return nil, err
		}
		out = append(out, candidate{
			name: c.name, kind: inMemory,
			fire:  func() { c.produce(cl, &kgo.Record{Key: key, Value: c.value()}) },
			rest:  func() { _ = cl.Flush(context.Background()) }, // ends with the context alone
			close: func() error { cl.Close(); return nil },
		})
	}
	return out, nil
}

func newClient(s *settings, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.brokers...), kgo.DefaultProduceTopic(topic)}, opts...)...)
}
