package consumer

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/kafkaclient"
)

const (
	// revokeTimeout is how long a rebalance waits for writes under way; the group gives its members
	// a minute (RebalanceTimeout), and all of them wait for the slowest.
	revokeTimeout = 10 * time.Second

	// maxHeartbeat is how often a member tells that it lives at the least, and hears of a rebalance.
	maxHeartbeat = 3 * time.Second

	// maxFetch is the most bytes of one fetch of a broker, as they lie there: unpacked they are several times as many, and
	// whatever comes behind them has to wait for them.
	maxFetch          = 4 << 20
	maxPartitionFetch = 1 << 20
	// fetchWait is how long a broker holds a fetch that finds nothing. A partition that is resumed waits as long.
	fetchWait = 100 * time.Millisecond
	// maxLetter is the largest letter: an event of the largest size that a topic usually takes, and its headers.
	maxLetter = 16 << 20
)

// adminOpts are the options of the client that isn't in the group.
func (w *Worker) adminOpts() []kgo.Opt {
	return []kgo.Opt{kgo.ProducerBatchMaxBytes(maxLetter), kgo.ProducerLinger(0)}
}

// groupOpts are the options of the group's member. Rebalances are blocked while a poll's records are being
// taken in, which takes milliseconds, and never while anything waits for the sink.
func (w *Worker) groupOpts(hard context.Context) []kgo.Opt {
	fetch := min(max(w.cfg.MaxInFlightBytes/16, 64<<10), maxFetch)
	opts := []kgo.Opt{
		kgo.ConsumerGroup(w.cfg.Group),
		kgo.SessionTimeout(w.cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(w.cfg.SessionTimeout/3, maxHeartbeat)),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),                          // they are passed, or a topic that ends with one would always be behind
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // the client's own default may skip
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(int32(fetch)),
		kgo.FetchMaxPartitionBytes(int32(min(fetch, maxPartitionFetch))),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, m map[string][]int32) { w.assigned(cl, m) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, cl *kgo.Client, m map[string][]int32) { w.revoked(hard, cl, m) }),
		kgo.AdjustFetchOffsetsFn(w.fetchedOffsets),
		kgo.OnPartitionsLost(func(_ context.Context, cl *kgo.Client, m map[string][]int32) { w.lost(cl, m) }),
	}
	opts = append(opts, kafkaclient.ConsumeTopics(w.cfg.Topics)...)
	if w.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(w.cfg.InstanceID))
	}
	return append(opts, w.cfg.groupOpts...)
}

// assigned takes partitions over.
func (w *Worker) assigned(cl *kgo.Client, m map[string][]int32) {
	if len(m) == 0 {
		return
	}
	w.log.Info("partitions assigned", "partitions", m)
	w.stats.rebalanced()
	w.flow.mu.Lock()
	for topic, ids := range m {
		for _, id := range ids {
			s := source{topic, id}
			if old := w.flow.parts[s]; old != nil {
				w.flow.dropLocked(old)
			}
			w.flow.parts[s] = newPartition(s)
		}
	}
	w.flow.mu.Unlock()
	w.syncPauses(cl) // while the sink is away nothing is begun with
}

// revoked gives partitions back: what a write or a send has in its hands is waited for, if it ends in time;
// what only waits is left to the next owner; what is done is committed.
func (w *Worker) revoked(hard context.Context, cl *kgo.Client, m map[string][]int32) {
	parts := w.flow.revoke(m)
	if len(parts) == 0 {
		return
	}
	w.log.Info("partitions revoked", "partitions", m)
	w.stats.rebalanced()
	ctx, cancel := context.WithTimeout(hard, revokeTimeout)
	defer cancel()
	w.flow.waitIdle(ctx, parts)
	w.commits.commit(hard, parts)
	w.drop(cl, parts)
}

// lost forgets partitions that the group has given to others already.
func (w *Worker) lost(cl *kgo.Client, m map[string][]int32) {
	parts := w.flow.revoke(m)
	if len(parts) == 0 {
		return
	}
	w.log.Warn("partitions lost", "partitions", m)
	w.stats.rebalanced()
	w.drop(cl, parts)
}

func (w *Worker) drop(cl *kgo.Client, parts []*partition) {
	w.flow.mu.Lock()
	for _, p := range parts {
		w.flow.dropLocked(p)
	}
	w.flow.mu.Unlock()
	w.syncPauses(cl)
}

// revoke marks partitions as being given back and returns them.
func (f *flow) revoke(m map[string][]int32) (parts []*partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for topic, ids := range m {
		for _, id := range ids {
			if p := f.parts[source{topic, id}]; p != nil {
				p.revoking = true
				parts = append(parts, p)
			}
		}
	}
	return parts
}

// waitIdle waits until nothing of parts is in anybody's hands.
func (f *flow) waitIdle(ctx context.Context, parts []*partition) {
	for {
		busy := false
		f.mu.Lock()
		for _, p := range parts {
			busy = busy || p.held > 0
		}
		f.mu.Unlock()
		if !busy || sleepOr(ctx, 0, f.idle) != nil {
			return
		}
	}
}
