package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/kafkaclient"
)

// DefaultRewindWait is the default of [Rewind].Wait: longer than a session of a worker lasts without it.
const DefaultRewindWait = time.Minute

// Rewind sets where a stopped group reads on, so that what lies behind is stored again: rows that are there
// are duplicates then, and change nothing.
type Rewind struct {
	// Kafka says how to reach the brokers. Required.
	Kafka kafkaclient.Config
	// Group to set. Required. It must have no members, or the error is a *LiveGroupError.
	Group string
	// Topics of which, given by names or patterns as in [Config]. Required.
	Topics []string
	// Partitions of the topics; none: all.
	Partitions []int32

	// Exactly one of these: ToBeginning is the first record that is still there; ToTime the first record of this
	// time or later, as Kafka has it, and never one beyond what the group hasn't read yet: nothing is skipped; ToOffsets
	// gives partitions of the only topic their offset, whatever that skips (see [Move.Skipped]).
	ToBeginning bool
	ToTime      time.Time
	ToOffsets   map[int32]int64

	// Wait is how long to wait for static members alone: one that was killed stays a member until its session
	// ends. Default 1 min; negative: not at all. Other members are refused at once.
	Wait time.Duration
	// Remove takes these static members, by instance id, out of the group first. They must be stopped: one that
	// runs would join again.
	Remove []string
	// DryRun changes nothing. The group may be live then.
	DryRun bool
	// OnWait is called when the wait for static members begins. Nil: nobody is told.
	OnWait func([]GroupMember)
}

// Move is what a Rewind did to one partition.
type Move struct {
	Topic      string
	Partition  int32
	From       int64 // what was committed; -1: nothing
	To         int64
	Start, End int64 // what is there: the first offset, and the one after the last
}

// Unread is the first record that is there and that the group hasn't read.
func (m *Move) Unread() int64 { return max(m.From, m.Start) }

// Lost is how many offsets Kafka deleted before the group read them. A worker that starts there counts them, one that starts
// where the move goes doesn't.
func (m *Move) Lost() int64 {
	if m.From < 0 {
		return 0
	}
	return max(m.Start-m.From, 0)
}

// Skipped is how many offsets that the group hasn't read yet the move goes past: it will never read them.
func (m *Move) Skipped() int64 { return max(m.To-m.Unread(), 0) }

// LiveGroupError says that a group can't be set, for it has members.
type LiveGroupError struct {
	Group, State string
	Members      []GroupMember
}

// Error implements error.
func (e *LiveGroupError) Error() string {
	names := make([]string, len(e.Members))
	static := ""
	for i, m := range e.Members {
		if names[i] = m.String(); m.InstanceID != "" {
			static = "; a static member that was killed stays until its session ends, or is taken out by its instance id"
		}
	}
	return fmt.Sprintf("group %q is live (%s): stop its members first: %s%s", e.Group, e.State, strings.Join(names, ", "), static)
}

// Validate reports everything that is wrong, each problem beginning with its field's name.
func (r Rewind) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := r.Kafka.Validate(); err != nil {
		bad("kafka: %w", err)
	}
	if r.Group == "" {
		bad("group: missing; name the group that is to be set")
	}
	if len(r.Topics) == 0 {
		bad("topics: missing; name at least one")
	}
	given := 0
	for _, is := range []bool{r.ToBeginning, !r.ToTime.IsZero(), len(r.ToOffsets) > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		bad("to: give exactly one of to_beginning, to_time and to_offsets, not %d", given)
	}
	if len(r.ToOffsets) > 0 && (len(r.Topics) > 1 || kafkaclient.HasPattern(r.Topics)) {
		bad("to_offsets: they are of one topic; name it alone in topics")
	}
	if len(r.ToOffsets) > 0 && len(r.Partitions) > 0 {
		bad("partitions: to_offsets names them")
	}
	return errors.Join(errs...)
}

// Run sets the group, and returns what that does to each partition. Partitions that were not chosen are left
// as they are.
func (r Rewind) Run(ctx context.Context) ([]Move, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("consumer: rewind: %w", err)
	}
	opts, err := r.Kafka.Opts()
	if err != nil {
		return nil, fmt.Errorf("consumer: rewind: %w", err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("consumer: rewind: %w", err)
	}
	defer cl.Close()
	if r.Topics, err = findTopics(ctx, cl, r.Topics); err != nil {
		return nil, fmt.Errorf("consumer: rewind: %w", err)
	}
	moves, err := r.run(ctx, kadm.NewClient(cl))
	if err != nil {
		return moves, fmt.Errorf("consumer: rewind: %w", err)
	}
	return moves, nil
}

func (r Rewind) run(ctx context.Context, adm *kadm.Client) ([]Move, error) {
	if !r.DryRun {
		if err := r.stopped(ctx, adm); err != nil {
			return nil, err
		}
	}
	moves, err := r.moves(ctx, adm)
	if err != nil || r.DryRun {
		return moves, err
	}
	var to kadm.Offsets
	for _, m := range moves {
		to.AddOffset(m.Topic, m.Partition, m.To, -1)
	}
	err = coordinated(ctx, func() error {
		done, err := adm.CommitOffsets(ctx, r.Group, to)
		return errors.Join(err, done.Error())
	})
	if err != nil {
		return nil, fmt.Errorf("group %q was not set, or not wholly (has a worker started meanwhile?): %w", r.Group, err)
	}
	return moves, nil
}

// stopped returns nil when the group has no members, having waited for those that may be dead.
func (r Rewind) stopped(ctx context.Context, adm *kadm.Client) error {
	if len(r.Remove) > 0 {
		left, err := adm.LeaveGroup(ctx, kadm.LeaveGroup(r.Group).Reason("taken out for a replay").InstanceIDs(r.Remove...))
		if err = errors.Join(err, left.Error()); err != nil {
			return fmt.Errorf("taking %s out of group %q: %w", strings.Join(r.Remove, ", "), r.Group, err)
		}
	}
	wait := r.Wait
	if wait == 0 {
		wait = DefaultRewindWait
	}
	deadline := time.Now().Add(wait)
	for told := false; ; told = true {
		g := GroupLag{Group: r.Group}
		if err := g.describe(ctx, adm); err != nil {
			return err
		}
		if len(g.Members) == 0 && (g.State == "Empty" || g.State == "Dead") {
			return nil
		}
		dynamic := slices.ContainsFunc(g.Members, func(m GroupMember) bool { return m.InstanceID == "" })
		if dynamic || !time.Now().Before(deadline) {
			return &LiveGroupError{Group: r.Group, State: g.State, Members: g.Members}
		}
		if !told && r.OnWait != nil {
			r.OnWait(g.Members)
		}
		if err := sleepOr(ctx, time.Second, nil); err != nil {
			return err
		}
	}
}

// moves works out where each partition goes.
func (r Rewind) moves(ctx context.Context, adm *kadm.Client) ([]Move, error) {
	committed, err := committedOffsets(ctx, adm, r.Group)
	if err != nil {
		return nil, err
	}
	starts, ends, err := bounds(ctx, adm, r.Topics)
	if err != nil {
		return nil, err
	}
	var at kadm.ListedOffsets
	if !r.ToTime.IsZero() {
		at, err = adm.ListOffsetsAfterMilli(ctx, r.ToTime.UnixMilli(), r.Topics...)
		if err = errors.Join(err, at.Error()); err != nil {
			return nil, err
		}
	}
	var moves []Move
	var errs []error
	ends.Each(func(end kadm.ListedOffset) {
		m := Move{Topic: end.Topic, Partition: end.Partition, From: -1, End: end.Offset}
		start, _ := starts.Lookup(end.Topic, end.Partition)
		m.Start, m.To = start.Offset, start.Offset
		if o, ok := committed.Lookup(end.Topic, end.Partition); ok {
			m.From = o.At
		}
		if o, ok := at.Lookup(end.Topic, end.Partition); ok {
			m.To = min(o.Offset, m.Unread())
		}
		offset, named := r.ToOffsets[m.Partition]
		switch {
		case len(r.ToOffsets) > 0 && !named, len(r.Partitions) > 0 && !slices.Contains(r.Partitions, m.Partition):
			return
		case named && (offset < m.Start || offset > m.End):
			errs = append(errs, fmt.Errorf("to_offsets: partition %d has offsets %d to %d, not %d", m.Partition, m.Start, m.End, offset))
		case named:
			m.To = offset
		}
		moves = append(moves, m)
	})
	errs = append(errs, r.unknown(ends))
	slices.SortFunc(moves, func(a, b Move) int {
		return compareSources(source{a.Topic, a.Partition}, source{b.Topic, b.Partition})
	})
	return moves, errors.Join(errs...)
}

// unknown names the partitions that are asked for and aren't there.
func (r Rewind) unknown(ends kadm.ListedOffsets) error {
	asked := slices.Clone(r.Partitions)
	for p := range r.ToOffsets {
		asked = append(asked, p)
	}
	slices.Sort(asked)
	return unknownPartitions(asked, r.Topics, ends)
}

func unknownPartitions(asked []int32, topics []string, ends kadm.ListedOffsets) error {
	var errs []error
	for _, p := range slices.Compact(asked) {
		known := slices.ContainsFunc(topics, func(t string) bool { _, ok := ends.Lookup(t, p); return ok })
		if !known {
			errs = append(errs, fmt.Errorf("partitions: %s has no partition %d", strings.Join(topics, ", "), p))
		}
	}
	return errors.Join(errs...)
}
