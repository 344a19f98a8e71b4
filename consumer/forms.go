package consumer

import (
	"context"
	"errors"
	"iter"

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
	Find(ctx context.Context, wanted func(letterID string) bool) iter.Seq2[dlq.Letter, error]
	CopyDead(ctx context.Context, put func(context.Context, []dlq.Letter) ([]dlq.Copy, error)) (int, error)
	Uncopied() bool
}

// topicForm writes letters to a topic. With stub, one that is larger than the topic takes goes there without its
// bytes, which the directory keeps: waiting doesn't make it smaller.
type topicForm struct {
	topic letterTopic
	stub  bool
}

func (f topicForm) put(ctx context.Context, letters []*letter) (map[int]bool, error) {
	copies, err := f.putAll(ctx, deadLetters(letters))
	failed := map[int]bool{}
	for i, c := range copies {
		letters[i].stubbed = c == dlq.StubCopy
		if c == dlq.NoCopy {
			failed[i] = true
		}
	}
	return failed, err
}

// putAll says of each letter what the topic has taken of it.
func (f topicForm) putAll(ctx context.Context, letters []dlq.Letter) ([]dlq.Copy, error) {
	copies := make([]dlq.Copy, len(letters))
	err := f.topic.Put(ctx, letters)
	var some *dlq.TopicError
	switch {
	case errors.As(err, &some):
		err = nil
	case err != nil:
		return copies, err
	}
	for i := range copies {
		copies[i] = dlq.WholeCopy
	}
	if some == nil {
		return copies, nil
	}
	left := &dlq.TopicError{Topic: some.Topic}
	for _, l := range some.Failed {
		copies[l.Index] = dlq.NoCopy
		if tooLarge(l.Err) {
			copies[l.Index] = f.putLarge(ctx, letters[l.Index])
		}
		if copies[l.Index] == dlq.NoCopy {
			left.Failed = append(left.Failed, l)
		}
	}
	if len(left.Failed) > 0 {
		err = left
	}
	return copies, err
}

// putLarge writes a letter by itself, since those that were sent with it may have made it too large, or else its
// stub.
func (f topicForm) putLarge(ctx context.Context, l dlq.Letter) dlq.Copy {
	err := f.topic.Put(ctx, []dlq.Letter{l})
	if err == nil {
		return dlq.WholeCopy
	}
	if tooLarge(err) && f.stub && f.topic.Put(ctx, []dlq.Letter{l.Stub()}) == nil {
		return dlq.StubCopy
	}
	return dlq.NoCopy
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
			some[j].Copied = letters[i].copied()
		}
		if err := f.dir.Put(ctx, k, some); err != nil {
			errs = append(errs, err)
			for _, i := range indexes {
				failed[i] = true
			}
			continue
		}
		for _, i := range indexes {
			letters[i].noted = letters[i].inTopic
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
