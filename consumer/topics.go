package consumer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/kafkaclient"
)

// findTopics returns the names of topics that are given by name or pattern; that there is none is an error.
func findTopics(ctx context.Context, cl *kgo.Client, topics []string) ([]string, error) {
	found, err := kafkaclient.FindTopics(ctx, cl, topics)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("topics: none there is matches %s", strings.Join(topics, ", "))
	}
	return found, err
}

// findNewTopics looks for topics that the patterns match, and tells of those that are new, and of those that are gone.
func (w *Worker) findNewTopics(ctx context.Context) error {
	if !kafkaclient.HasPattern(w.cfg.Topics) {
		return nil
	}
	found, err := kafkaclient.FindTopics(ctx, w.admin, w.cfg.Topics)
	if err != nil {
		return err
	}
	var before []string
	if old := w.found.Swap(&found); old != nil {
		before = *old
	} else if len(found) == 0 {
		w.log.Warn("no topic matches yet; one that is made will be read", "topics", w.cfg.Topics)
	}
	without := func(all, some []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(t string) bool { return slices.Contains(some, t) })
	}
	if now := without(found, before); len(now) > 0 {
		w.log.Info("topics found", "topics", now)
		w.warnWeakTopics(ctx, without(now, w.cfg.named()))
	}
	if gone := without(before, found); len(gone) > 0 {
		w.log.Warn("topics are there no more", "topics", gone)
	}
	return nil
}

// watched are the topics whose offsets are of interest: those that are given by name, and those that are assigned and
// still there.
func (w *Worker) watched() []string {
	topics := w.cfg.named()
	found := w.found.Load()
	if found == nil {
		return topics
	}
	w.flow.mu.Lock()
	defer w.flow.mu.Unlock()
	for s := range w.flow.parts {
		if slices.Contains(*found, s.topic) {
			topics = append(topics, s.topic)
		}
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// first is the topic by whose first partition the workers agree on which of them does what only one has to: the first
// that is given by name, or else the first that is there; "" while none is.
func (w *Worker) first() string {
	if named := w.cfg.named(); len(named) > 0 {
		return named[0]
	}
	if found := w.found.Load(); found != nil && len(*found) > 0 {
		return (*found)[0]
	}
	return ""
}
