package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// revokeTimeout is how long a rebalance waits for writes under way; the group gives its members
	// a minute (RebalanceTimeout), and all of them wait for the slowest.
	revokeTimeout = 10 * time.Second
	commitTimeout = 10 * time.Second

	maxFetch          = 8 << 20 // bytes of one fetch of a broker, as they lie there
	maxPartitionFetch = 1 << 20
	// maxLetter is the largest letter: an event of the largest size that a topic usually takes, and its headers.
	maxLetter = 16 << 20
)

// adminOpts are the options of the client that isn't in the group.
func (w *Worker) adminOpts() []kgo.Opt {
	return append([]kgo.Opt{
		kgo.ProducerBatchMaxBytes(maxLetter),
		kgo.ProducerLinger(0),
	}, w.cfg.opts...)
}

// groupOpts are the options of the group's member. Rebalances are blocked while a poll's records are being
// taken in, which takes milliseconds, and never while anything waits for the sink.
func (w *Worker) groupOpts(hard context.Context) []kgo.Opt {
	fetch := min(max(w.cfg.MaxInFlightBytes/8, 64<<10), maxFetch)
	opts := []kgo.Opt{
		kgo.ConsumerGroup(w.cfg.Group),
		kgo.ConsumeTopics(w.cfg.Topics...),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // the client's own default may skip
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxBytes(int32(fetch)),
		kgo.FetchMaxPartitionBytes(int32(min(fetch, maxPartitionFetch))),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { w.assigned(m) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { w.revoked(hard, m) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { w.lost(m) }),
	}
	if w.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(w.cfg.InstanceID))
	}
	return append(opts, w.cfg.opts...)
}

// assigned takes partitions over.
func (w *Worker) assigned(m map[string][]int32) {
	if len(m) == 0 {
		return
	}
	w.log.Info("partitions assigned", "partitions", m)
	w.flow.mu.Lock()
	defer w.flow.mu.Unlock()
	for topic, ids := range m {
		for _, id := range ids {
			s := source{topic, id}
			if old := w.flow.parts[s]; old != nil {
				w.flow.dropLocked(old)
			}
			w.flow.parts[s] = newPartition(s)
		}
	}
}

// revoked gives partitions back: what a write or a send has in its hands is waited for, if it ends in time;
// what only waits is left to the next owner; what is done is committed.
func (w *Worker) revoked(hard context.Context, m map[string][]int32) {
	parts := w.flow.revoke(m)
	if len(parts) == 0 {
		return
	}
	w.log.Info("partitions revoked", "partitions", m)
	ctx, cancel := context.WithTimeout(hard, revokeTimeout)
	defer cancel()
	w.flow.waitIdle(ctx, parts)
	w.commit(hard, parts)
	w.drop(parts)
}

// lost forgets partitions that the group has given to others already.
func (w *Worker) lost(m map[string][]int32) {
	parts := w.flow.revoke(m)
	if len(parts) == 0 {
		return
	}
	w.log.Warn("partitions lost", "partitions", m)
	w.drop(parts)
}

func (w *Worker) drop(parts []*partition) {
	w.flow.mu.Lock()
	for _, p := range parts {
		w.flow.dropLocked(p)
	}
	w.flow.mu.Unlock()
	w.syncPauses()
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

// commit commits what is done, of the given partitions or, if parts is nil, of all. It reports whether nothing
// is left to commit; what failed is kept for the next time.
func (w *Worker) commit(ctx context.Context, parts []*partition) bool {
	w.commitMu.Lock()
	defer w.commitMu.Unlock()
	marks := w.flow.dirty(parts)
	if len(marks) == 0 {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var answer map[source]error
	w.client.CommitOffsetsSync(ctx, offsets(marks), func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		answer = commitErrors(req, resp, err)
	})
	err := w.flow.committed(marks, answer)
	w.stats.count(func(s *Stats) {
		if err != nil {
			s.CommitErrors++
		} else {
			s.Commits++
		}
	})
	if err != nil {
		w.log.Warn("commit failed; it is tried again", "err", err)
		if clear := explainFatal(w.cfg, err); clear != nil {
			w.fatal(clear)
		}
	}
	return err == nil
}

// commitErrors returns what became of each partition of a commit.
func commitErrors(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) map[source]error {
	m := map[source]error{}
	if err != nil {
		for _, t := range req.Topics {
			for _, p := range t.Partitions {
				m[source{t.Topic, p.Partition}] = err
			}
		}
		return m
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			m[source{t.Topic, p.Partition}] = kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return m
}

var errNoAnswer = errors.New("the broker's answer leaves the partition out")

// committed takes down what was committed and returns the first error.
func (f *flow) committed(marks []mark, answer map[source]error) (first error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range marks {
		err, ok := answer[m.part.source]
		switch {
		case !ok:
			err = errNoAnswer
		case err == nil:
			m.part.committed = m.offset
		}
		if first == nil {
			first = err
		}
	}
	return first
}
