package dlq

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firetrail/firetrail"
)

// The broker's words for what trying again doesn't mend: of a record, and of a whole topic.
var (
	recordRefusals = []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.PolicyViolation, kerr.InvalidTimestamp}
	topicRefusals  = []error{kerr.UnknownTopicOrPartition, kerr.TopicAuthorizationFailed, kerr.InvalidTopicException}
)

func refusesTopic(err error) bool {
	return slices.ContainsFunc(topicRefusals, func(e error) bool { return errors.Is(err, e) })
}

func isRefusal(err error) bool {
	return refusesTopic(err) || slices.ContainsFunc(recordRefusals, func(e error) bool { return errors.Is(err, e) })
}

// timeFromKafka reports whether the event in the letter takes its time, and so its id, from the record's
// timestamp, which then must be kept. Where it doesn't, the timestamp is better left to the client: with an
// old one the topic's retention may take the record at once.
func (l *Letter) timeFromKafka() bool {
	if l.Time.IsZero() {
		return false
	}
	m := l.Message()
	with, err := firetrail.DecodeCloudEvent(m)
	if err != nil {
		return false
	}
	id := with.ID
	m.Time = l.Time.Add(time.Millisecond)
	without, err := firetrail.DecodeCloudEvent(m)
	return err != nil || without.ID != id || !without.Time.Equal(with.Time)
}
