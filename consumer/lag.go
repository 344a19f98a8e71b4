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
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/kafkaclient"
)

// GroupMember is a member of a consumer group.
type GroupMember struct {
	ID, ClientID, Host string
	// InstanceID of a static member; empty for others.
	InstanceID string
}

// String names the member for a person.
func (m GroupMember) String() string {
	if m.InstanceID != "" {
		return fmt.Sprintf("%s (instance id %s, at %s)", m.ClientID, m.InstanceID, m.Host)
	}
	return fmt.Sprintf("%s (at %s)", m.ClientID, m.Host)
}

// GroupLag is how far a consumer group is behind, as the brokers know it, whether it runs or not.
type GroupLag struct {
	Group      string
	State      string // Kafka's word for it, such as Stable, Empty or Dead (there is no such group)
	Members    []GroupMember
	Partitions []PartitionLag // by topic and number
	Records    int64          // the sum of the partitions'
	Oldest     time.Time      // the earliest of the partitions'; zero where nothing is unread, or its time isn't known
	Lost       int64          // the sum of the partitions'
}

// PartitionLag is how far a group is behind in one partition.
type PartitionLag struct {
	Topic     string
	Partition int32
	Committed int64 // the next offset to read; -1: none is committed, and reading begins at Start
	Start     int64 // the first offset that is still there
	End       int64 // the offset after the last record that can be read
	// Records is how many offsets lie between; in compacted topics, and those with transactions, not each of
	// them is a record.
	Records int64
	// Oldest is the timestamp of the oldest unread record, zero where there is none or it isn't known.
	Oldest time.Time
	// Lost is how many offsets Kafka has deleted before the group came to them.
	Lost int64
}

// Lag asks the brokers how far a group is behind in topics, which are given by names or patterns as in [Config]. A
// group that doesn't exist has all before it.
func Lag(ctx context.Context, kafka kafkaclient.Config, group string, topics ...string) (GroupLag, error) {
	lag := GroupLag{Group: group}
	opts, err := kafka.Opts()
	if err != nil {
		return lag, fmt.Errorf("consumer: lag: %w", err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return lag, fmt.Errorf("consumer: lag: %w", err)
	}
	defer cl.Close()
	if topics, err = findTopics(ctx, cl, topics); err == nil {
		err = lag.ask(ctx, cl, topics)
	}
	if err != nil {
		return lag, fmt.Errorf("consumer: lag of group %q: %w", group, err)
	}
	unread := map[source]span{}
	for _, p := range lag.Partitions {
		if p.Records > 0 {
			unread[source{p.Topic, p.Partition}] = span{max(p.Committed, p.Start), p.End}
		}
	}
	oldest := peek(ctx, opts, unread)
	for i := range lag.Partitions {
		p := &lag.Partitions[i]
		at, known := oldest[source{p.Topic, p.Partition}]
		if known && at.IsZero() { // aborted records and markers are all there is
			lag.Records -= p.Records
			p.Records = 0
		}
		if p.Oldest = at; !at.IsZero() && (lag.Oldest.IsZero() || at.Before(lag.Oldest)) {
			lag.Oldest = at
		}
	}
	return lag, nil
}

// ask fills in all but the times.
func (g *GroupLag) ask(ctx context.Context, cl *kgo.Client, topics []string) error {
	adm := kadm.NewClient(cl)
	if err := g.describe(ctx, adm); err != nil {
		return err
	}
	committed, err := committedOffsets(ctx, adm, g.Group)
	if err != nil {
		return err
	}
	starts, ends, err := bounds(ctx, adm, topics)
	if err != nil {
		return err
	}
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		p := PartitionLag{Topic: end.Topic, Partition: end.Partition, Committed: -1, Start: start.Offset, End: end.Offset}
		if o, ok := committed.Lookup(end.Topic, end.Partition); ok && o.At >= 0 {
			p.Committed = o.At
			p.Lost = max(min(p.Start, p.End)-p.Committed, 0)
		}
		p.Records = max(p.End-max(p.Committed, p.Start), 0)
		g.Records += p.Records
		g.Lost += p.Lost
		g.Partitions = append(g.Partitions, p)
	})
	slices.SortFunc(g.Partitions, func(a, b PartitionLag) int {
		return compareSources(source{a.Topic, a.Partition}, source{b.Topic, b.Partition})
	})
	return nil
}

func compareSources(a, b source) int {
	if c := strings.Compare(a.topic, b.topic); c != 0 {
		return c
	}
	return int(a.partition) - int(b.partition)
}

// describe asks for the group's state and members.
func (g *GroupLag) describe(ctx context.Context, adm *kadm.Client) error {
	var d kadm.DescribedGroup
	err := coordinated(ctx, func() error {
		groups, err := adm.DescribeGroups(ctx, g.Group)
		if d = groups[g.Group]; d.Err != nil && !errors.Is(d.Err, kerr.GroupIDNotFound) {
			err = d.Err
		}
		return err
	})
	if err != nil {
		return err
	}
	g.State, g.Members = d.State, nil
	if d.State == "" {
		g.State = "Dead"
	}
	for _, m := range d.Members {
		member := GroupMember{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost}
		if m.InstanceID != nil {
			member.InstanceID = *m.InstanceID
		}
		g.Members = append(g.Members, member)
	}
	return nil
}

// committedOffsets returns what a group has committed; nothing where there is no such group.
func committedOffsets(ctx context.Context, adm *kadm.Client, group string) (kadm.OffsetResponses, error) {
	var committed kadm.OffsetResponses
	err := coordinated(ctx, func() (err error) {
		if committed, err = adm.FetchOffsets(ctx, group); err == nil {
			err = committed.Error()
		}
		return err
	})
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	return committed, err
}

// bounds returns the first offsets of topics, and those after the last that can be read; beside an error, what is known of
// them.
func bounds(ctx context.Context, adm *kadm.Client, topics []string) (starts, ends kadm.ListedOffsets, err error) {
	starts, err = adm.ListStartOffsets(ctx, topics...)
	err = offsetErrors(starts, err)
	ends, err2 := adm.ListCommittedOffsets(ctx, topics...)
	if err2 = offsetErrors(ends, err2); err == nil {
		err = err2
	}
	return starts, ends, err
}

// offsetErrors returns the first error of an answer, a *missingError where the topic isn't there.
func offsetErrors(offsets kadm.ListedOffsets, err error) error {
	offsets.Each(func(o kadm.ListedOffset) {
		switch {
		case err != nil || o.Err == nil:
		case errors.Is(o.Err, kerr.UnknownTopicOrPartition):
			err = &missingError{topics: []string{o.Topic}}
		default:
			err = fmt.Errorf("topic %s, partition %d: %w", o.Topic, o.Partition, o.Err)
		}
	})
	return err
}

// span is a range of offsets, to not included.
type span struct{ from, to int64 }

// peekTimeout bounds how long the brokers may take to show the oldest unread records.
const peekTimeout = 10 * time.Second

// peek returns the timestamps of the first records of spans, zero where there is none; what can't be had in time is left
// out.
func peek(ctx context.Context, opts []kgo.Opt, spans map[source]span) map[source]time.Time {
	found := map[source]time.Time{}
	if len(spans) == 0 {
		return found
	}
	from := map[string]map[int32]kgo.Offset{}
	for s, span := range spans {
		if from[s.topic] == nil {
			from[s.topic] = map[int32]kgo.Offset{}
		}
		from[s.topic][s.partition] = kgo.NewOffset().At(span.from)
	}
	cl, err := kgo.NewClient(slices.Concat(opts, []kgo.Opt{
		kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxPartitionBytes(1), kgo.FetchMaxWait(fetchWait), // one batch of each
	})...)
	if err != nil {
		return found
	}
	defer cl.CloseAllowingRebalance()
	ctx, cancel := context.WithTimeout(ctx, peekTimeout)
	defer cancel()
	left := len(spans)
	done := map[source]bool{}
	for left > 0 && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			s := source{r.Topic, r.Partition}
			if done[s] || r.Attrs.IsControl() && r.Offset < spans[s].to-1 {
				return
			}
			done[s], found[s] = true, time.Time{}
			if r.Offset < spans[s].to && !r.Attrs.IsControl() {
				found[s] = r.Timestamp
			}
			left--
		})
	}
	return found
}
