package dlq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// DefaultTopicTimeout is the default of Topic.Timeout.
const DefaultTopicTimeout = 30 * time.Second

// Topic is a topic that letters are written to. Its method may be called concurrently.
type Topic struct {
	// Timeout bounds how long one Put waits for the broker. Default 30 s. Set it before the first Put.
	Timeout time.Duration

	cl   *kgo.Client
	name string
}

// NewTopic returns the letter topic of a name. The client is the caller's, who closes it; its acks must be
// those of all replicas, which is franz-go's default, and its ProducerBatchMaxBytes and the topic's
// max.message.bytes large enough for the largest record and its letter's headers.
func NewTopic(cl *kgo.Client, topic string) *Topic { return &Topic{cl: cl, name: topic} }

// LetterError says why one letter was not acknowledged.
type LetterError struct {
	Index int    // in the letters as they were given
	ID    string // of the letter
	Err   error
}

// Error implements error.
func (e *LetterError) Error() string {
	return fmt.Sprintf("letter %d (%s): %v", e.Index, e.ID, e.Err)
}

// Unwrap returns the cause.
func (e *LetterError) Unwrap() error { return e.Err }

// TopicError names the letters of a Put that were not acknowledged; all others were. They may be in the
// topic all the same: put again, they have the same letter id.
type TopicError struct {
	Topic  string
	Failed []*LetterError // at least one, by ascending index
}

// Error implements error.
func (e *TopicError) Error() string {
	if len(e.Failed) == 1 {
		return fmt.Sprintf("topic %s: %v", e.Topic, e.Failed[0])
	}
	return fmt.Sprintf("topic %s: %d letters not acknowledged; the first is %v", e.Topic, len(e.Failed), e.Failed[0])
}

// Unwrap returns the letters' errors.
func (e *TopicError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f
	}
	return errs
}

// errNoAnswer is the error of a letter the broker was still silent about when the wait was over.
var errNoAnswer = errors.New("the broker has not acknowledged it in time")

// Put writes letters to the topic, and returns nil once the broker has acknowledged all of them. Otherwise
// the error is a *TopicError. It waits until ctx ends, and at the most Timeout. The end of ctx doesn't
// reach the records, since a record's context fails whatever else the client buffers for its partition;
// what isn't sent when Timeout is over is dropped from the client's buffer.
func (t *Topic) Put(ctx context.Context, letters []Letter) error {
	if len(letters) == 0 {
		return nil
	}
	timeout := t.Timeout
	if timeout <= 0 {
		timeout = DefaultTopicTimeout
	}
	records, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	answers := make(chan answer, len(letters)) // promises never wait, whether or not anybody listens still
	left := newCountdown(len(letters), cancel)
	sent := 0
	for ; sent < len(letters) && ctx.Err() == nil; sent++ {
		i := sent
		t.cl.Produce(records, letters[i].Record(t.name), func(_ *kgo.Record, err error) {
			answers <- answer{i, err}
			left.down(1)
		})
	}
	left.down(len(letters) - sent)
	return t.collect(ctx, records, letters, sent, answers)
}

type answer struct {
	index int
	err   error
}

// collect waits for the answers to the letters that were sent.
func (t *Topic) collect(ctx, records context.Context, letters []Letter, sent int, answers <-chan answer) error {
	errs := make([]error, len(letters))
	for i := range errs {
		errs[i] = errNoAnswer
	}
	take := func(a answer) {
		errs[a.index] = a.err
		sent--
	}
	for waiting := true; waiting && sent > 0; {
		select {
		case a := <-answers:
			take(a)
		case <-records.Done():
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
	}
	for more := true; more; { // those that came at the same moment
		select {
		case a := <-answers:
			take(a)
		default:
			more = false
		}
	}
	var failed []*LetterError
	for i, err := range errs {
		if err != nil {
			if errors.Is(err, errNoAnswer) && ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", errNoAnswer, context.Cause(ctx))
			}
			failed = append(failed, &LetterError{Index: i, ID: letters[i].ID, Err: err})
		}
	}
	if failed == nil {
		return nil
	}
	return &TopicError{Topic: t.name, Failed: failed}
}
