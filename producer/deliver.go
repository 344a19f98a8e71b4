package producer

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
)

const (
	// deliverTimeout bounds one delivery of waiting letters.
	deliverTimeout = 30 * time.Second
	// deliverMost is how many letters, and deliverBytes how many bytes, go together. They go in batches that the
	// topic takes, so that what fails is an exception.
	deliverMost  = 500
	deliverBytes = 512 << 10
	// awayFor is how long a partition that took no letter is left alone: other tenants' files needn't wait for it too.
	awayFor = 10 * time.Second
)

// away remembers partitions that took no letter a moment ago.
type away struct {
	mu    sync.Mutex
	until map[target]time.Time
}

func (a *away) is(at target) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.until[at])
}

func (a *away) note(at target, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil {
		a.until = map[target]time.Time{}
	}
	now := time.Now()
	maps.DeleteFunc(a.until, func(_ target, until time.Time) bool { return !now.Before(until) })
	a.until[at] = until
}

// forgive has a partition tried again at once.
func (l *letters) forgive(at target) { l.away.note(at, time.Time{}) }

// waitingLetters are those of one target.
type waitingLetters struct {
	letters int
	tenant  string // of some of them, or with topics of tenants, of all
}

// parked counts the letters of parked partitions that wait, among as many partitions as there are.
func (l *letters) parked(ctx context.Context, among int) (map[target]waitingLetters, error) {
	found := map[target]waitingLetters{}
	for f, err := range l.dir().Files(ctx) {
		if err != nil {
			return nil, err
		}
		if n := f.Reasons[dlq.ReasonParked]; f.Kind == dlq.Waiting && n > 0 {
			at := l.p.routes.target(f.Tenant, among)
			found[at] = waitingLetters{found[at].letters + n, f.Tenant}
		}
	}
	return found, nil
}

// deliver sends waiting letters, which are all of one tenant, to Kafka, in order: to the topic that the tenant has now,
// as what waits in a log goes there.
func (l *letters) deliver(ctx context.Context, batch []dlq.Letter) []dlq.Outcome {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	out := make([]dlq.Outcome, len(batch))
	tenant := string(batch[0].Key)
	topic := l.p.routes.topic(tenant)
	if w := l.p.routes.find(topic); w != nil && errors.Is(w.why(), kerr.UnknownTopicOrPartition) {
		return out // it was asked for a moment ago, and needn't be for each file
	}
	shape, err := kafkaclient.TopicPartitions(ctx, l.p.single.client, topic)
	if err != nil || shape.Partitions == 0 {
		return out // nothing is handed to a client that can't send it: it would keep it, and get it again
	}
	at := l.p.routes.target(tenant, shape.Partitions)
	partition := l.p.routes.partition([]byte(tenant), shape.Partitions)
	if shape.Leaderless[partition] || l.away.is(at) {
		return out
	}
	for i := 0; i < len(batch); {
		n := together(batch[i:])
		if !l.send(ctx, topic, batch[i:i+n], out[i:i+n]) {
			l.away.note(at, time.Now().Add(awayFor))
			break
		}
		i += n
	}
	return out
}

// together is how many letters from the first on go together.
func together(batch []dlq.Letter) (n int) {
	for size := 0; n < len(batch) && n < deliverMost; n++ {
		l := &batch[n]
		if size += len(l.Value); n > 0 && (size > deliverBytes || !bytes.Equal(l.Key, batch[0].Key)) {
			break
		}
	}
	return n
}

// send sends letters together and, where one is refused, the rest one at a time, so that it alone is. It reports
// false where the destination is away.
func (l *letters) send(ctx context.Context, topic string, batch []dlq.Letter, out []dlq.Outcome) bool {
	recs := make([]*kgo.Record, len(batch))
	for i := range batch {
		recs[i] = &kgo.Record{Topic: topic, Key: batch[i].Key, Value: batch[i].Value}
		for _, h := range batch[i].Headers {
			recs[i].Headers = append(recs[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	for i, err := range l.p.single.sendAll(ctx, recs) {
		if refused(err) && len(batch) > 1 {
			err = l.p.single.send(ctx, anew(recs[i]))
		}
		switch {
		case err == nil:
			out[i] = dlq.Delivered
		case refused(err):
			batch[i].Reason, batch[i].Error = dlq.ReasonUnsendable, err.Error()
			out[i] = dlq.Refused
		default: // it may have arrived all the same; the sink knows it by its id
			return false
		}
	}
	return true
}

// anew returns a record to be sent once more, as it was before.
func anew(r *kgo.Record) *kgo.Record {
	return &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
}
