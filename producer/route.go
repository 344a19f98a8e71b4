package producer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/kafkaclient"
)

// route knows the way to the topic: how many partitions it has, and how large a batch it takes. The shippers choose a
// record's partition by it, and the client sends to the one chosen: there is no second opinion.
type route struct {
	topic  string
	hash   kgo.TopicPartitioner
	wanted chan struct{} // has a token when the shape is to be asked for

	mu         sync.Mutex
	partitions int   // 0: not known
	limit      int   // bytes of a batch
	lastErr    error // why it is not known
}

const (
	// defaultLimit is what every Kafka takes, unless told otherwise.
	defaultLimit = 1_000_012
	// minLimit is the least that franz-go allows for a batch.
	minLimit = 512
	// largeRecord is the size of a record, in bytes, above which it is sent alone, however large a batch the topic takes:
	// that may have changed. The broker refuses a record for its size, if at all, and with it fails what is buffered
	// for its partition; but what is handed over between the refusal and the news of it would go through, and overtake
	// what failed. Few are so large.
	largeRecord = 32 << 10
	// recordOverhead is more than what a batch of one record takes beside key and value.
	recordOverhead = 256
	// learnEvery is how often the shape is asked for at the least while it isn't known.
	learnEvery = time.Second
)

func newRoute(topic string) *route {
	return &route{
		topic: topic, hash: kgo.StickyKeyPartitioner(nil).ForTopic(topic), wanted: make(chan struct{}, 1), limit: defaultLimit,
	}
}

// ForTopic implements kgo.Partitioner.
func (r *route) ForTopic(string) kgo.TopicPartitioner { return chosen{r} }

// chosen sends each record to the partition that was chosen for it, and learns of new partitions by the way.
type chosen struct{ r *route }

// RequiresConsistency implements kgo.TopicPartitioner: a record waits for its partition, whatever others there are.
func (chosen) RequiresConsistency(*kgo.Record) bool { return true }

// Partition implements kgo.TopicPartitioner.
func (c chosen) Partition(rec *kgo.Record, n int) int {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.r.partitions != 0 {
		c.r.partitions = n
	}
	return int(rec.Partition)
}

// partition returns where a tenant's records go among n partitions: where every Kafka client sends their key.
func (r *route) partition(tenant []byte, n int) int32 {
	return int32(r.hash.Partition(&kgo.Record{Key: tenant}, n))
}

// shape returns the number of partitions, 0 while it isn't known, and above which size, in bytes, a record is sent
// alone.
func (r *route) shape() (partitions, alone int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.partitions, min(r.limit, largeRecord) - recordOverhead
}

// batchLimit is kgo.ProducerBatchMaxBytesFn's: with it no batch is larger than the topic takes, so that none is
// refused for a record that is good by itself.
func (r *route) batchLimit(string) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int32(r.limit)
}

// lower follows from a batch that was too large. It reports false when the limit can't be any lower.
func (r *route) lower() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == minLimit {
		return false
	}
	r.limit = max(r.limit/4, minLimit)
	return true
}

// forget has the shape asked for again.
func (r *route) forget(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.partitions, r.lastErr = 0, err
	r.ask()
}

// why returns the error for which the shape isn't known.
func (r *route) why() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastErr
}

func (r *route) ask() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
}

// learn asks for the shape whenever it is wanted, until there is an answer.
func (r *route) learn(p *Producer) {
	r.ask()
	for {
		select {
		case <-r.wanted:
		case <-p.ctx.Done():
			return
		}
		for backoff := minBackoff; !r.askOnce(p); backoff = min(2*backoff, learnEvery) {
			if pause(p.ctx, backoff); p.ctx.Err() != nil {
				return
			}
		}
	}
}

func (r *route) askOnce(p *Producer) bool {
	ctx, cancel := context.WithTimeout(p.ctx, deliverTimeout)
	defer cancel()
	s, err := kafkaclient.TopicShape(ctx, p.client, r.topic)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lastErr = err; err != nil || s.Partitions == 0 {
		return false
	}
	r.partitions = s.Partitions
	if s.MaxMessageBytes > 0 {
		r.limit = min(max(s.MaxMessageBytes, minLimit), defaultLimit)
	}
	return true
}

// refused reports whether err is the broker's word on the record itself. Everything else (away, hung, not allowed, no
// such topic, this host's clock wrong, since records get their time from it when they are sent) is an outage: the
// record is good, and waits.
func refused(err error) bool {
	return tooLarge(err) || errors.Is(err, kerr.InvalidRecord) || errors.Is(err, kerr.UnsupportedForMessageFormat) ||
		errors.Is(err, kerr.PolicyViolation) || errors.Is(err, kerr.CorruptMessage)
}

func tooLarge(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}

// lostTopic reports whether err says that the topic is not there, or is another one by the same name: the
// client has to forget what it knows of it.
func lostTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID)
}
