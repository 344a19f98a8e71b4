package producer

import (
	"bytes"
	"context"
	"sync"
	"time"

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
	until map[int32]time.Time
}

func (a *away) is(partition int32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Now().Before(a.until[partition])
}

func (a *away) note(partition int32, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil {
		a.until = map[int32]time.Time{}
	}
	a.until[partition] = until
}

// forgive has a partition tried again at once.
func (l *letters) forgive(partition int32) { l.away.note(partition, time.Time{}) }

// parked counts the letters of parked partitions that wait, among as many partitions as there are.
func (l *letters) parked(ctx context.Context, among int) (map[int32]int, error) {
	found := map[int32]int{}
	for f, err := range l.dir().Files(ctx) {
		if err != nil {
			return nil, err
		}
		if n := f.Reasons[dlq.ReasonParked]; f.Kind == dlq.Waiting && n > 0 {
			found[l.p.route.partition(append([]byte{}, f.Tenant...), among)] += n
		}
	}
	return found, nil
}

// deliver sends waiting letters, which are all of one tenant, to Kafka, in order.
func (l *letters) deliver(ctx context.Context, batch []dlq.Letter) []dlq.Outcome {
	ctx, cancel := context.WithTimeout(ctx, deliverTimeout)
	defer cancel()
	out := make([]dlq.Outcome, len(batch))
	shape, err := kafkaclient.TopicPartitions(ctx, l.p.single.client, batch[0].Topic)
	if err != nil || shape.Partitions == 0 {
		return out // nothing is handed to a client that can't send it: it would keep it, and get it again
	}
	partition := l.p.route.partition(append([]byte{}, batch[0].Key...), shape.Partitions)
	if shape.Leaderless[partition] || l.away.is(partition) {
		return out
	}
	for i := 0; i < len(batch); {
		n := together(batch[i:])
		if !l.send(ctx, batch[i:i+n], out[i:i+n]) {
			l.away.note(partition, time.Now().Add(awayFor))
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
		if size += len(l.Value); n > 0 && (size > deliverBytes || l.Topic != batch[0].Topic || !bytes.Equal(l.Key, batch[0].Key)) {
			break
		}
	}
	return n
}

// send sends letters together and, where one is refused, the rest one at a time, so that it alone is. It reports
// false where the destination is away.
func (l *letters) send(ctx context.Context, batch []dlq.Letter, out []dlq.Outcome) bool {
	recs := make([]*kgo.Record, len(batch))
	for i := range batch {
		recs[i] = &kgo.Record{Topic: batch[i].Topic, Key: batch[i].Key, Value: batch[i].Value}
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
