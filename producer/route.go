package producer

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/kafkaclient"
)

// routes knows the ways to the topics: of the one, or of those that belong to a tenant each. The shippers choose a
// record's partition by it, and the client sends to the one chosen: there is no second opinion. No record is handed to
// the client before its topic is known to be there.
type routes struct {
	prefix string // of the topics of tenants
	one    *route // to the topic that all tenants share; nil where each has its own
	hash   kgo.TopicPartitioner
	wanted chan struct{} // has a token when something is to be asked for
	news   atomic.Uint64 // counts what has changed of the routes of tenants

	mu      sync.Mutex
	of      map[string]*route // by topic
	unknown map[*route]bool   // is to be asked for
	missing int               // of unknown: their topics are not there
	warned  time.Time         // of missing topics
}

// route is the way to a topic: how many partitions it has, and how large a batch it takes.
type route struct {
	of     *routes
	topic  string
	tenant string       // whose it is
	limit  atomic.Int32 // bytes of a batch

	// What follows is under routes.mu.
	uses    int           // destinations that have it
	askAt   time.Time     // not before
	backoff time.Duration // until it is asked for once more
	missing bool          // its topic is not there
	told    bool          // and that was warned of

	mu         sync.Mutex
	partitions int   // 0: not known
	lastErr    error // why it is not known
	lowered    bool  // the broker takes less than it says
	stale      bool  // what the client knows of the topic is to be forgotten before it is asked for
}

// target is a partition of a topic. Of a tenant's own topic the partition doesn't matter: all of the tenant's
// records go to one.
type target struct {
	topic     string
	partition int32
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
)

// newRoutes knows the one topic or, where there is a prefix, those of tenants.
func newRoutes(topic, prefix string) *routes {
	r := &routes{
		prefix: prefix, hash: kgo.StickyKeyPartitioner(nil).ForTopic(topic), wanted: make(chan struct{}, 1),
		of: map[string]*route{}, unknown: map[*route]bool{},
	}
	if prefix == "" {
		r.one = r.take(topic, "")
	}
	return r
}

// String is the topic, or a pattern for all of them.
func (r *routes) String() string {
	if r.one != nil {
		return r.one.topic
	}
	return r.prefix + "*"
}

// topic is that of a tenant's records.
func (r *routes) topic(tenant string) string {
	if r.one != nil {
		return r.one.topic
	}
	return kafkaclient.TenantTopic(r.prefix, tenant)
}

// target is where a tenant's records go, among the partitions of the one topic.
func (r *routes) target(tenant string, among int) target {
	if r.one != nil {
		return target{r.one.topic, r.partition([]byte(tenant), among)}
	}
	return target{topic: r.topic(tenant)}
}

// take returns the route to a topic, for somebody to use until it is given back.
func (r *routes) take(topic, tenant string) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.of[topic]
	if w == nil {
		w = &route{of: r, topic: topic, tenant: tenant}
		w.limit.Store(defaultLimit)
		r.of[topic] = w
		r.unknown[w] = true
		r.ask()
	}
	w.uses++
	return w
}

// giveBack ends a use.
func (r *routes) giveBack(w *route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.uses--; w.uses > 0 {
		return
	}
	delete(r.of, w.topic)
	delete(r.unknown, w)
	if w.missing {
		r.missing--
	}
}

// find returns the route to a topic, nil where nobody uses it.
func (r *routes) find(topic string) *route {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[topic]
}

// ForTopic implements kgo.Partitioner.
func (r *routes) ForTopic(topic string) kgo.TopicPartitioner { return chosen{r, topic} }

// chosen sends each record to the partition that was chosen for it, and learns of new partitions by the way.
type chosen struct {
	r     *routes
	topic string
}

// RequiresConsistency implements kgo.TopicPartitioner: a record waits for its partition, whatever others there are.
func (chosen) RequiresConsistency(*kgo.Record) bool { return true }

// Partition implements kgo.TopicPartitioner.
func (c chosen) Partition(rec *kgo.Record, n int) int {
	w := c.r.one
	if w == nil {
		w = c.r.find(c.topic)
	}
	if w != nil {
		w.has(n)
	}
	return int(rec.Partition)
}

// has notes how many partitions a topic has of which that was known before.
func (w *route) has(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.partitions != 0 && w.partitions != n {
		w.partitions = n
		w.of.news.Add(1)
	}
}

// partition returns where a tenant's records go among n partitions: where every Kafka client sends their key.
func (r *routes) partition(tenant []byte, n int) int32 {
	return int32(r.hash.Partition(&kgo.Record{Key: tenant}, n))
}

// shape returns the number of partitions, 0 while it isn't known.
func (w *route) shape() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.partitions
}

// alone returns the size, in bytes, above which a record is sent alone.
func (w *route) alone() int { return min(int(w.limit.Load()), largeRecord) - recordOverhead }

// batchLimit is kgo.ProducerBatchMaxBytesFn's: with it no batch is larger than the topic takes, so that none is
// refused for a record that is good by itself.
func (r *routes) batchLimit(topic string) int32 {
	if w := r.find(topic); w != nil {
		return w.limit.Load()
	}
	return defaultLimit
}

// lower follows from a batch that was too large. It reports false when the limit can't be any lower.
func (w *route) lower() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := w.limit.Load()
	if limit == minLimit {
		return false
	}
	w.limit.Store(max(limit/4, minLimit))
	w.lowered = true
	return true
}

// forget has the shape asked for again. Where the client has to forget the topic, too, it is made to before.
func (w *route) forget(err error, stale bool) {
	w.mu.Lock()
	w.partitions, w.lastErr, w.stale = 0, err, w.stale || stale
	if err != nil {
		w.lowered = false // it may be another topic by now
	}
	w.mu.Unlock()
	r := w.of
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[w.topic] == w {
		w.askAt, w.backoff = time.Time{}, 0
		r.unknown[w] = true
	}
	r.news.Add(1)
	r.ask()
}

// why returns the error for which the shape isn't known.
func (w *route) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastErr
}

// why returns why a route isn't known, if one isn't.
func (r *routes) why() error {
	if r.one != nil {
		return r.one.why()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.unknown {
		if err := w.why(); err != nil {
			return err
		}
	}
	return nil
}

func (r *routes) ask() {
	select {
	case r.wanted <- struct{}{}:
	default:
	}
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
