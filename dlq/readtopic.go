package dlq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// idleCheck is how long a read of a topic that yields nothing waits before it asks whether the records it
// waits for are still there.
const idleCheck = 2 * time.Second

// ReadTopic yields the letters of a topic, from the beginning to the end as of the call: in order within
// a partition, partitions mixed. opts say how to reach the brokers (see package kafkaclient); it makes a
// client of its own and closes it. A record that is no letter, or not wholly, is yielded with its error
// (see [ParseRecord]), and reading goes on; any other error has a zero letter and ends it.
func ReadTopic(ctx context.Context, topic string, opts ...kgo.Opt) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		err := readTopic(ctx, topic, opts, idleCheck, func(r *kgo.Record) bool { return yield(ParseRecord(r)) })
		if err != nil && !errors.Is(err, errStop) {
			yield(Letter{}, &topicError{topic, err})
		}
	}
}

// topicError ends the reading of a topic, as nothing that is wrong with single records does.
type topicError struct {
	topic string
	err   error
}

func (e *topicError) Error() string { return fmt.Sprintf("dlq: reading topic %s: %v", e.topic, e.err) }
func (e *topicError) Unwrap() error { return e.err }

func readTopic(ctx context.Context, topic string, opts []kgo.Opt, idle time.Duration, yield func(*kgo.Record) bool) error {
	// Control records are kept so that a partition that ends with one is seen to end.
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	t := &topicRead{cl: cl, adm: kadm.NewClient(cl), topic: topic, idle: idle}
	if err := t.start(ctx); err != nil {
		return err
	}
	for len(t.ends) > 0 {
		if err := t.poll(ctx, yield); err != nil {
			return err
		}
	}
	return nil
}

type topicRead struct {
	cl    *kgo.Client
	adm   *kadm.Client
	topic string
	idle  time.Duration
	ends  map[int32]int64 // of the partitions not read to their end yet
}

func (t *topicRead) start(ctx context.Context) error {
	ends, err := t.adm.ListCommittedOffsets(ctx, t.topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("there is no such topic: %w", err)
		}
		return err
	}
	t.ends = map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		t.ends[o.Partition] = o.Offset
		from[o.Partition] = kgo.NewOffset().AtStart()
	})
	if err := t.dropEmpty(ctx); err != nil {
		return err
	}
	for p := range from {
		if _, ok := t.ends[p]; !ok {
			delete(from, p)
		}
	}
	if len(from) > 0 {
		t.cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{t.topic: from})
	}
	return nil
}

// dropEmpty takes out the partitions whose records up to the end are all gone.
func (t *topicRead) dropEmpty(ctx context.Context) error {
	starts, err := t.adm.ListStartOffsets(ctx, t.topic)
	if err := errors.Join(err, starts.Error()); err != nil {
		return err
	}
	starts.Each(func(o kadm.ListedOffset) {
		if end, ok := t.ends[o.Partition]; ok && o.Offset >= end {
			delete(t.ends, o.Partition)
		}
	})
	return nil
}

func (t *topicRead) poll(ctx context.Context, yield func(*kgo.Record) bool) error {
	wait, cancel := context.WithTimeout(ctx, t.idle)
	defer cancel()
	fetches := t.cl.PollFetches(wait)
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if wait.Err() != nil && fetches.NumRecords() == 0 {
		return t.dropEmpty(ctx)
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			return fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
	}
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		end, ok := t.ends[r.Partition]
		if !ok {
			continue // written since
		}
		if r.Offset >= end-1 {
			delete(t.ends, r.Partition)
		}
		if r.Offset >= end || r.Attrs.IsControl() {
			continue
		}
		if !yield(r) {
			return errStop
		}
	}
	return nil
}
