package consumer

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// guard checks at the broker, for every commit, that each event below it is in the sink at that moment. It is the
// sink that workers are given.
type guard struct {
	*sinkertest.Memory
	w *world

	mu     sync.Mutex
	has    map[firetrail.ID]bool
	prefix map[int32]int // so many events of the partition, from the first, are known to be stored
	err    error
	checks int
}

// guardCommits begins to check. All of the topic's records must be events produced by w.events.
func guardCommits(w *world) *guard {
	g := &guard{Memory: w.sink, w: w, has: map[firetrail.ID]bool{}, prefix: map[int32]int{}}
	w.cluster.ControlKey(kmsg.OffsetCommit.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		for _, t := range req.(*kmsg.OffsetCommitRequest).Topics {
			for _, p := range t.Partitions {
				g.check(p.Partition, int(p.Offset))
			}
		}
		return nil, nil, false
	})
	return g
}

func (g *guard) Write(ctx context.Context, b sinkers.Batch) (sinkers.Result, error) {
	res, err := g.Memory.Write(ctx, b)
	if err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		for i := range b.Rows {
			g.has[b.Rows[i].ID] = true
		}
	}
	return res, err
}

func (g *guard) check(partition int32, offset int) {
	sent := g.w.sentTo(partition)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checks++
	n := g.prefix[partition]
	for n < len(sent) && g.has[sent[n]] {
		n++
	}
	g.prefix[partition] = n
	if offset > n && g.err == nil {
		g.err = fmt.Errorf("partition %d: offset %d is committed, but the event at %d is not stored", partition, offset, n)
	}
}

// verdict returns the first commit that was ahead, or that there was none to check.
func (g *guard) verdict() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.checks == 0 {
		return fmt.Errorf("nothing was committed")
	}
	return g.err
}
