package consumer

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// letterTopic is what a *dlq.Topic does for us.
type letterTopic interface {
	Put(ctx context.Context, letters []dlq.Letter) error
}

// letterDir is what a *dlq.Dir does for us.
type letterDir interface {
	Put(ctx context.Context, k dlq.Kind, letters []dlq.Letter) error
}

// topicForm writes letters to a topic. With stub, one that is larger than the topic takes goes there without its
// bytes, which the directory keeps: waiting doesn't make it smaller.
type topicForm struct {
	topic letterTopic
	stub  bool
}

func (f topicForm) put(ctx context.Context, letters []*letter) (map[int]bool, error) {
	err := f.topic.Put(ctx, deadLetters(letters))
	var some *dlq.TopicError
	if !errors.As(err, &some) {
		return nil, err
	}
	failed := map[int]bool{}
	left := &dlq.TopicError{Topic: some.Topic}
	for _, l := range some.Failed {
		if !tooLarge(l.Err) || f.putLarge(ctx, letters[l.Index]) != nil {
			failed[l.Index] = true
			left.Failed = append(left.Failed, l)
		}
	}
	if len(left.Failed) == 0 {
		return nil, nil
	}
	return failed, left
}

// putLarge writes a letter by itself, since those that were sent with it may have made it too large, or else its
// stub.
func (f topicForm) putLarge(ctx context.Context, l *letter) error {
	d := l.dead()
	err := f.topic.Put(ctx, []dlq.Letter{d})
	if err == nil || !tooLarge(err) || !f.stub {
		return err
	}
	err = f.topic.Put(ctx, []dlq.Letter{d.Stub()})
	l.stubbed = err == nil
	return err
}

func tooLarge(err error) bool {
	var some *dlq.TopicError
	if errors.As(err, &some) {
		err = some.Failed[0].Err
	}
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge)
}

// dirForm writes letters to a directory. Those that the sink refused for no reason it could name wait there
// to be tried again, the others are dead.
type dirForm struct{ dir letterDir }

func (f dirForm) put(ctx context.Context, letters []*letter) (map[int]bool, error) {
	kinds := map[dlq.Kind][]int{}
	for i, l := range letters {
		k := dlq.Dead
		if l.reason == dlq.ReasonRefused && !sinkers.IsPermanent(l.err) {
			k = dlq.Waiting
		}
		kinds[k] = append(kinds[k], i)
	}
	failed := map[int]bool{}
	var errs []error
	for k, indexes := range kinds {
		some := make([]dlq.Letter, len(indexes))
		for j, i := range indexes {
			some[j] = letters[i].dead()
		}
		if err := f.dir.Put(ctx, k, some); err != nil {
			errs = append(errs, err)
			for _, i := range indexes {
				failed[i] = true
			}
		}
	}
	return failed, errors.Join(errs...)
}

func deadLetters(letters []*letter) []dlq.Letter {
	dead := make([]dlq.Letter, len(letters))
	for i, l := range letters {
		dead[i] = l.dead()
	}
	return dead
}
