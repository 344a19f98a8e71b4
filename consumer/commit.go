package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const commitTimeout = 10 * time.Second

// committer is the goroutine that commits what is done. The client lets no commit pass while its member joins
// the group, which lasts as long as the slowest other member takes; nobody else need wait for that.
type committer struct {
	*Worker
	mu      sync.Mutex         // one commit at a time, and none beside the end of an assignment
	settled chan []BatchReport // from the writer: rows were stored
	wake    chan struct{}      // from the postman: letters were sent
	end     chan struct{}      // closed when nothing more is to come
}

func newCommitter(w *Worker) *committer {
	return &committer{
		Worker: w, settled: make(chan []BatchReport, 4), wake: make(chan struct{}, 1), end: make(chan struct{}),
	}
}

// run commits until end is closed and all is committed or has failed once more, or ctx ends.
func (c *committer) run(ctx context.Context) error {
	var (
		retry <-chan time.Time
		ended bool
	)
	for !ended {
		var reports []BatchReport
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case reports = <-c.settled:
		case <-c.wake:
		case <-retry:
		case <-c.end:
			ended = true
		}
		for more := true; more; {
			select {
			case r := <-c.settled:
				reports = append(reports, r...)
			default:
				more = false
			}
		}
		committed := c.commit(ctx, nil)
		if retry = nil; !committed {
			retry = time.After(c.cfg.Retry.Delay)
		}
		for _, r := range reports {
			r.Committed = committed
			c.cfg.OnBatch(r)
			if r.reuse {
				c.rows.put(r.Rows)
			}
		}
	}
	return nil
}

// commit commits what is done, of the given partitions or, if parts is nil, of all. It reports whether nothing
// is left to commit; what failed is kept for the next time.
func (c *committer) commit(ctx context.Context, parts []*partition) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	marks := c.flow.dirty(parts)
	if len(marks) == 0 {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var answer map[source]error
	c.client.CommitOffsetsSync(ctx, offsets(marks), func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		answer = commitErrors(req, resp, err)
	})
	err := c.flow.committed(marks, answer)
	c.stats.count(func(s *Stats) {
		if err != nil {
			s.CommitErrors++
		} else {
			s.Commits++
		}
	})
	if err != nil {
		c.log.Warn("commit failed; it is tried again", "err", err)
		if why := explainFatal(c.cfg, err); why != nil {
			c.fatal(why)
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
