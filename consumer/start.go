package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/kafkaclient"
)

const (
	checkTimeout  = 10 * time.Second // of one look at brokers and topics
	watchInterval = 10 * time.Second

	// missingFor is how long a topic must have been missing at the start for it not to be there: a new topic takes a
	// moment to be known to all brokers, and a new broker to know all topics. It is missingForSome while some of the
	// brokers don't answer: they may know it.
	missingFor     = 15 * time.Second
	missingForSome = time.Minute
)

// missingError says that topics aren't there.
type missingError struct {
	topics []string
	all    bool // brokers say so
}

func (e *missingError) Error() string {
	return fmt.Sprintf("topic %s: not there; make it with: sink-worker topics create --topics %s", strings.Join(e.topics, ", "), strings.Join(e.topics, ","))
}

// await waits until the brokers answer and the topics are there. What waiting can't mend is an error.
func (w *Worker) await(ctx context.Context) error {
	w.stats.setState(Starting, "asking the brokers for the topics")
	backoff := w.cfg.Retry.outage()
	var missing time.Time // since when a topic is; zero while none is
	for {
		err := w.look(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if why := explainFatal(w.cfg, err); why != nil {
			return why
		}
		if gone := new(missingError); errors.As(err, &gone) {
			if missing.IsZero() {
				missing = time.Now()
			}
			if gone.forSure(time.Since(missing)) {
				return err
			}
		} else {
			missing = time.Time{}
		}
		w.stats.setState(Starting, err.Error())
		w.log.Warn("not started yet; trying again", "err", err)
		next, _ := backoff.Next()
		if !missing.IsZero() { // whoever forgot a topic is told soon
			next = min(next, missingFor/5)
		}
		if err := sleepOr(ctx, next, nil); err != nil {
			return err
		}
	}
}

// warnWeakTopics tells of topics that could lose what their broker has acknowledged.
func (w *Worker) warnWeakTopics(ctx context.Context, topics []string) {
	if w.cfg.WeakTopics {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	weak, err := kafkaclient.WeakTopics(ctx, w.admin, topics...)
	if err != nil {
		return // settings may not be looked at; that the topics are there is known
	}
	for _, t := range weak {
		w.log.Warn("the topic can lose acknowledged records", "topic", t.Topic, "problem", t.Problem)
	}
}

// look asks whether the brokers answer and the topics are there.
func (w *Worker) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := kafkaclient.Check(ctx, w.admin); err != nil {
		return err
	}
	topics := w.cfg.allTopics()
	details, err := kadm.NewClient(w.admin).ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("asking for the topics: %w", err)
	}
	var missing []string
	for _, t := range topics {
		switch d, ok := details[t]; {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			missing = append(missing, t)
		case d.Err != nil:
			return fmt.Errorf("topic %s: %w", t, d.Err)
		}
	}
	if missing != nil {
		return w.confirm(ctx, missing)
	}
	return nil
}

// forSure says whether topics that have been missing for so long won't be found by asking again.
func (e *missingError) forSure(missing time.Duration) bool {
	return missing >= missingForSome || e.all && missing >= missingFor
}

// confirm asks each of the brokers for topics that one of them doesn't know: it may have been started a moment ago. What
// any of them knows is there.
func (w *Worker) confirm(ctx context.Context, missing []string) error {
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range missing {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(t)
		req.Topics = append(req.Topics, topic)
	}
	answered, known := 0, map[string]bool{}
	brokers := w.admin.DiscoveredBrokers()
	for _, b := range brokers {
		asking, cancel := context.WithTimeout(ctx, checkTimeout/5)
		res, err := req.RequestWith(asking, b)
		cancel()
		if err != nil {
			continue
		}
		answered++
		for _, t := range res.Topics {
			if t.Topic != nil && !errors.Is(kerr.ErrorForCode(t.ErrorCode), kerr.UnknownTopicOrPartition) {
				known[*t.Topic] = true
			}
		}
	}
	missing = slices.DeleteFunc(missing, func(t string) bool { return known[t] })
	if len(missing) == 0 {
		return nil
	}
	// A broker that is away isn't discovered, but it may be one of those to begin with.
	return &missingError{missing, answered >= max(len(brokers), len(w.cfg.Kafka.Brokers))}
}

// explainFatal returns a clear error where err is one that waiting doesn't mend, and otherwise nil.
func explainFatal(cfg Config, err error) error {
	switch {
	case errors.Is(err, kerr.FencedInstanceID), errors.Is(err, kerr.UnreleasedInstanceID):
		return fmt.Errorf("instance_id: %q is used by another worker of group %q, which has taken over; give each worker its own: %w",
			cfg.InstanceID, cfg.Group, err)
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("group: no permission to read in group %q; allow READ on it: %w", cfg.Group, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("topics: no permission; allow READ and DESCRIBE on %s, and WRITE on %s: %w",
			strings.Join(cfg.Topics, ", "), cfg.LetterTopic, err)
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("kafka: no permission in this cluster: %w", err)
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism),
		errors.Is(err, kerr.IllegalSaslState):
		return fmt.Errorf("kafka: %w", err)
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		return fmt.Errorf("group: the members of %q now there do not speak cooperative-sticky; is the group another program's? %w", cfg.Group, err)
	case errors.Is(err, kerr.InvalidSessionTimeout):
		return fmt.Errorf("session_timeout: %v is outside what the brokers allow (group.min.session.timeout.ms, group.max.session.timeout.ms): %w",
			cfg.SessionTimeout, err)
	case errors.Is(err, kerr.InvalidGroupID):
		return fmt.Errorf("group: %q: %w", cfg.Group, err)
	}
	return nil
}

// watch looks at the brokers from time to time: for Ready, and so that the lag is right while nothing is
// fetched.
func (w *Worker) watch(ctx context.Context) {
	for sleepOr(ctx, watchInterval, w.assignments) == nil {
		err := w.lookAtOffsets(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			w.brokers.Store(nil)
			continue
		}
		w.log.Warn("the brokers don't answer as they should", "err", err)
		w.brokers.Store(&err)
	}
}

func (w *Worker) lookAtOffsets(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := w.findNewTopics(ctx); err != nil {
		return err
	}
	topics := w.watched()
	if len(topics) == 0 {
		return nil // to the client, no names are all topics
	}
	starts, ends, problem := bounds(ctx, kadm.NewClient(w.admin), topics)
	at := map[source]int64{}
	starts.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			at[source{o.Topic, o.Partition}] = o.Offset
		}
	})
	w.lookBelow(at, time.Now())
	w.flow.mu.Lock()
	for _, p := range w.flow.parts {
		if end, ok := ends.Lookup(p.topic, p.partition); ok && end.Err == nil {
			p.high = max(end.Offset, p.read) // not the higher of two: a log may have been cut
		}
	}
	w.flow.mu.Unlock()
	if err := w.lookAhead(ctx); problem == nil {
		problem = err
	}
	return problem
}
