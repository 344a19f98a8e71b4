package consumer

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// orphanInterval is how often a worker looks for partitions that nobody has.
const orphanInterval = 30 * time.Second

// watchOrphans looks for partitions that no member has although the group is stable, and has the group assign anew when
// it sees the same ones twice. It comes to that when a static member is killed between giving a partition back and
// joining again: it comes back to the assignment it had, without a rebalance, and nobody is told that the partition is
// free. All workers do so, since only a join of the group's leader begins a rebalance.
func (w *Worker) watchOrphans(ctx context.Context) {
	var before []source
	for sleepOr(ctx, w.cfg.orphanInterval, nil) == nil {
		now, err := w.orphans(ctx)
		if err != nil { // whoever can't ask says so elsewhere: see watch
			before = nil
			continue
		}
		now = slices.DeleteFunc(now, func(s source) bool { return before != nil && !slices.Contains(before, s) })
		if before == nil || len(now) == 0 {
			before = now
			continue
		}
		w.log.Warn("nobody in the group has these partitions; it is told to assign them anew", "partitions", byTopic(now))
		w.client.ForceRebalance()
		before = nil
	}
}

// orphans returns the partitions that no member has; none while the group is not stable.
func (w *Worker) orphans(ctx context.Context) (none []source, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	topics := w.cfg.named()
	if found := w.found.Load(); found != nil {
		topics = append(topics, *found...)
	}
	if len(topics) == 0 {
		return nil, nil // to the client, no names are all topics
	}
	adm := kadm.NewClient(w.admin)
	groups, err := adm.DescribeGroups(ctx, w.cfg.Group)
	if err != nil {
		return nil, err
	}
	group := groups[w.cfg.Group]
	if group.Err != nil || group.State != "Stable" {
		return nil, group.Err
	}
	taken := map[source]bool{}
	for _, m := range group.Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok {
			return nil, nil
		}
		for _, t := range assigned.Topics {
			for _, p := range t.Partitions {
				taken[source{t.Topic, p}] = true
			}
		}
	}
	known, err := adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	known.EachPartition(func(p kadm.PartitionDetail) {
		if s := (source{p.Topic, p.Partition}); !taken[s] {
			none = append(none, s)
		}
	})
	return none, nil
}
