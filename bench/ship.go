package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/producer"
)

// linger is that of both sides in shipSection.
const linger = 10 * time.Millisecond

// shipSection ships a backlog from the log beside franz-go alone, which is given the same bytes, ready to send.
func shipSection(s *settings) (*table, error) {
	values, err := wire(s.ship)
	if err != nil {
		return nil, err
	}
	bare, ours := time.Hour, time.Hour
	for round := range min(s.blocks, 3) {
		d, err := shipBare(s, values)
		if err != nil {
			return nil, err
		}
		bare = min(bare, d)
		if d, err = shipOurs(s, round); err != nil {
			return nil, err
		}
		ours = min(ours, d)
	}
	rate := func(d time.Duration) float64 { return float64(s.ship) / d.Seconds() }
	t := &table{
		title:  fmt.Sprintf("Shipping %d events of %d bytes; best of some", s.ship, len(values[0])),
		header: []any{"", "ms", "events a second", "× franz-go alone"},
	}
	t.row("franz-go alone, the same bytes", float64(bare.Milliseconds()), rate(bare), 1.0)
	t.row("firetrail, from the log", float64(ours.Milliseconds()), rate(ours), bare.Seconds()/ours.Seconds())
	t.note("shipping beside franz-go: %s", goal(bare.Seconds() >= 0.9*ours.Seconds(), "want 0.9 × with a real broker"))
	return t, nil
}

// wire is the events as they are sent: no two are the same, since the client compresses them.
func wire(n int) ([][]byte, error) {
	e, values := newSample(), make([][]byte, n)
	ctx, ids, now := e.context(), firetrail.NewIDGenerator(), time.Now().UnixMicro()
	for i := range values {
		now++
		b, err := e.stamped(ctx, tenant(i), firetrail.Stamp{
			ID: ids.Next(now), Time: now, Recorded: now, Seq: uint64(i/tenants + 1), Source: source,
		})
		if err != nil {
			return nil, err
		}
		event, err := firetrail.DecodeBinary(b)
		if err != nil {
			return nil, err
		}
		if values[i], err = event.AppendCloudEvent(nil); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func shipBare(s *settings, values [][]byte) (time.Duration, error) {
	cl, err := newClient(s, kgo.ProducerLinger(linger), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	var headers []kgo.RecordHeader
	for _, h := range firetrail.CloudEventHeaders() {
		headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	failed := make(chan error, 1)
	begun := time.Now()
	for i, value := range values {
		cl.Produce(context.Background(), &kgo.Record{Key: []byte(tenant(i)), Value: value, Headers: headers}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := cl.Flush(context.Background()); err != nil {
		return 0, err
	}
	select {
	case err = <-failed:
	default:
	}
	return time.Since(begun), err
}

// shipOurs ships what an earlier run left in its log.
func shipOurs(s *settings, round int) (time.Duration, error) {
	cfg := producer.Config{
		Kafka: kafkaclient.Config{Brokers: s.brokers}, Topic: topic, WeakTopic: true, Linger: linger,
		Dir: filepath.Join(s.dir, fmt.Sprint("ship-", round)), Namespace: "bench", MaxBytes: -1,
	}
	_, _, err := fill(filepath.Join(cfg.Dir, cfg.Namespace, "0"), func(records int, _ int64) bool { return records < s.ship })
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	p, err := producer.New(cfg)
	if err != nil {
		return 0, err
	}
	if err := p.Flush(context.Background()); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if n := p.Stats().Reshipped; n != uint64(s.ship) {
		return 0, fmt.Errorf("%d of %d events were shipped", n, s.ship)
	}
	return took, closeProducer(p)
}
