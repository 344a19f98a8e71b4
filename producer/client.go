package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxInFlightBytes bounds what one log has handed to Kafka, in bytes of values.
const maxInFlightBytes = 32 << 20

// newClient makes the Kafka client of a producer. What is not set here is franz-go's default, above all:
// idempotent, acknowledged by all in-sync replicas, keys hashed as every Kafka client does, and retried
// without end, so that a broker that is away fails nothing and order is kept. No timestamp is ever set on
// a record: a delivery timeout would count from it.
func newClient(cfg *Config, more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := cfg.Kafka.Opts()
	if err != nil {
		return nil, fmt.Errorf("producer: Kafka: %w", err)
	}
	opts = append(opts, more...)
	return kgo.NewClient(append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(max(cfg.Linger, 0)),
		// The windows bound what is buffered; with these, Produce never blocks and never refuses.
		kgo.MaxBufferedRecords(1<<30),
		// A hung broker is seen after the sum of the next two, and one that is back soon after.
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.RequestTimeoutOverhead(5*time.Second),
		kgo.MetadataMinAge(250*time.Millisecond),
		kgo.RetryBackoffFn(retryBackoff),
	)...)
}

// single sends records one at a time, through a client of its own: what fails there failed alone. In the clients
// of the shippers a refused record takes with it whatever is buffered for its partition, other logs' too.
type single struct {
	mu     sync.Mutex
	client *kgo.Client
}

func newSingle(cfg *Config) (*single, error) {
	c := *cfg
	c.Linger = -1
	client, err := newClient(&c, kgo.AllowIdempotentProduceCancellation())
	return &single{client: client}, err
}

// send sends a record and returns when it is acknowledged or has come back. A record that ctx ended for may
// arrive all the same.
func (s *single) send(ctx context.Context, rec *kgo.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := s.client.ProduceSync(ctx, rec).FirstErr()
	if lostTopic(err) {
		s.client.PurgeTopicsFromClient(rec.Topic)
	}
	return err
}

func retryBackoff(tries int) time.Duration {
	return min(50*time.Millisecond<<min(tries, 5), time.Second)
}

// refused reports whether err is the broker's word on the record itself. Everything else (away, hung, not
// allowed, no such topic) is an outage: the record is good, and waits.
func refused(err error) bool {
	for _, e := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp,
		kerr.UnsupportedForMessageFormat, kerr.PolicyViolation, kerr.CorruptMessage,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// lostTopic reports whether err says that the topic is not there, or is another one by the same name: the
// client has to forget what it knows of it.
func lostTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID)
}
