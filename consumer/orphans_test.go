package consumer

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// forgetful is a balancer that leaves out partition 1 at first.
type forgetful struct {
	kgo.GroupBalancer
	plans *atomic.Int32 // it has made
	most  int32         // that lack the partition
}

func (f forgetful) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	b, topics, err := f.GroupBalancer.MemberBalancer(members)
	return forgetfulMembers{b, f}, topics, err
}

type forgetfulMembers struct {
	kgo.GroupMemberBalancer
	forgetful
}

func (f forgetfulMembers) BalanceOrError(topics map[string]int32) (kgo.IntoSyncAssignment, error) {
	plan, err := f.GroupMemberBalancer.(kgo.GroupMemberBalancerOrError).BalanceOrError(topics)
	return forgetfulPlan{plan, f.plans.Add(1) <= f.most}, err
}

type forgetfulPlan struct {
	whole kgo.IntoSyncAssignment
	lacks bool
}

func (p forgetfulPlan) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment {
	plan := p.whole.IntoSyncAssignment()
	for i := range plan {
		var a kmsg.ConsumerMemberAssignment
		if err := a.ReadFrom(plan[i].MemberAssignment); err != nil || !p.lacks {
			continue
		}
		for j := range a.Topics {
			a.Topics[j].Partitions = slices.DeleteFunc(a.Topics[j].Partitions, func(n int32) bool { return n == 1 })
		}
		plan[i].MemberAssignment = a.AppendTo(nil)
	}
	return plan
}

// A partition that no member has, in a group that is stable, doesn't stay so.
func TestPartitionOfNobody(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		var plans atomic.Int32
		w.events(10, 1)
		r := w.start(func(c *Config) {
			c.groupOpts = append(c.groupOpts, kgo.Balancers(forgetful{kgo.CooperativeStickyBalancer(), &plans, 2}))
		})
		w.await("start", func() bool { return r.Ready() == nil })
		w.events(10, 0)
		w.awaitStored(10)
		require.EqualValues(t, 1, plans.Load())
		w.awaitCommitted(1, 10) // the second plan lacks it, too
		w.awaitStored(20)
		require.EqualValues(t, 3, plans.Load())
		pass(10 * orphanInterval)
		require.EqualValues(t, 3, plans.Load(), "nobody is disturbed while all partitions have an owner")
		r.stop()
	})
}
