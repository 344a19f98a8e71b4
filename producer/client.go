package producer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxInFlightBytes bounds what one log has handed to Kafka, in bytes of events.
const maxInFlightBytes = 32 << 20

// newClient makes the Kafka client of a producer. What is not set here is franz-go's default, above all:
// idempotent, acknowledged by all in-sync replicas, and retried without end, so that a broker that is away fails
// nothing and order is kept. What is in flight may be taken out all the same, for a partition that is parked. No
// timestamp is ever set on a record: a delivery timeout would count from it.
func newClient(cfg *Config, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := cfg.Kafka.Opts()
	if err != nil {
		return nil, fmt.Errorf("producer: Kafka: %w", err)
	}
	opts = append(opts, more...)
	return kgo.NewClient(append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(max(cfg.Linger, 0)),
		kgo.AllowIdempotentProduceCancellation(),
		// The windows bound what is buffered; with these, Produce never blocks and never refuses.
		kgo.MaxBufferedRecords(1<<30),
		// A hung broker is seen after the sum of the next two, and one that is back soon after.
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.RequestTimeoutOverhead(5*time.Second),
		kgo.MetadataMinAge(250*time.Millisecond),
		kgo.RetryBackoffFn(retryBackoff),
	)...)
}

// single sends records apart from the shippers, through a client of its own: in the clients of the shippers a
// refused record takes with it whatever is buffered for its partition.
type single struct {
	client *kgo.Client
	routes *routes

	mu   sync.Mutex
	busy map[target]*turn
}

// turn is that of whoever sends to a partition.
type turn struct {
	token chan struct{} // has room for one
	users int           // that have it, or wait for it
}

func newSingle(cfg *Config, r *routes) (*single, error) {
	c := *cfg
	c.Linger = -1
	client, err := newClient(&c)
	return &single{client: client, routes: r, busy: map[target]*turn{}}, err
}

// send sends a record and returns when it is acknowledged or has come back. Nothing else goes to its partition
// meanwhile, so that what fails failed alone. A record that ctx ended for may arrive all the same.
func (s *single) send(ctx context.Context, rec *kgo.Record) error {
	return s.sendAll(ctx, []*kgo.Record{rec})[0]
}

// sendAll is send for records of one key, which go together. A refusal is that of one among them only.
func (s *single) sendAll(ctx context.Context, recs []*kgo.Record) []error {
	errs := make([]error, len(recs))
	turn, leave := s.queue(recs[0])
	defer leave()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		for i := range errs {
			errs[i] = ctx.Err()
		}
		return errs
	}
	at := make(map[*kgo.Record]int, len(recs)) // results come in the order of their promises
	for i, r := range recs {
		at[r] = i
	}
	lost := false
	for _, r := range s.client.ProduceSync(ctx, recs...) {
		errs[at[r.Record]] = r.Err
		lost = lost || lostTopic(r.Err)
	}
	if lost {
		s.client.PurgeTopicsFromClient(recs[0].Topic)
	}
	return errs
}

// queue returns the turn of a record's partition, and what to call when it isn't needed any more; while the
// partitions' number isn't known all records take turns.
func (s *single) queue(rec *kgo.Record) (token chan struct{}, leave func()) {
	at := target{rec.Topic, -1}
	if one := s.routes.one; one != nil {
		if n := one.shape(); n > 0 {
			at.partition = s.routes.partition(rec.Key, n)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.busy[at]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		s.busy[at] = t
	}
	t.users++
	return t.token, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(s.busy, at)
		}
	}
}

func retryBackoff(tries int) time.Duration {
	return min(50*time.Millisecond<<min(tries, 5), time.Second)
}
