package consumer

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// guardCommits checks at the broker, for every commit, that all events below it are in the sink at that moment.
// The returned function gives the first commit that was ahead.
func guardCommits(w *world) func() error {
	var (
		mu    sync.Mutex
		first error
	)
	w.cluster.ControlKey(kmsg.OffsetCommit.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		stored := map[string]int64{} // by tenant, which is named after the partition
		for _, row := range w.sink.Rows() {
			stored[row.Tenant]++
		}
		for _, t := range req.(*kmsg.OffsetCommitRequest).Topics {
			for _, p := range t.Partitions {
				if has := stored[fmt.Sprintf("tenant-%d", p.Partition)]; p.Offset > has {
					mu.Lock()
					if first == nil {
						first = fmt.Errorf("partition %d: offset %d committed with %d rows stored", p.Partition, p.Offset, has)
					}
					mu.Unlock()
				}
			}
		}
		return nil, nil, false
	})
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		return first
	}
}
