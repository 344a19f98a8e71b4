package producer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// noProduce has the broker refuse what is produced to partitions, until it is removed.
func noProduce(c *kfake.Cluster, err *kerr.Error, partitions ...int32) *kfake.FaultHandle {
	return c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: DefaultTopic, Partitions: partitions, Err: err, Count: -1})
}

// TestParked has a partition take nothing: its events go to files, the others' flow, and in the end all of them are
// there, in order.
func TestParked(t *testing.T) {
	for _, kind := range []*kerr.Error{kerr.KafkaStorageError, kerr.TopicAuthorizationFailed} {
		t.Run(kind.Message, func(t *testing.T) {
			c := cluster(t)
			cfg := small(t, c)
			cfg.ParkAfter = 300 * time.Millisecond
			p := start(t, cfg)
			f := fireSteadily(p)
			shipsOn(t, p)
			fault := noProduce(c, kind, 2)
			require.Eventually(t, func() bool { return p.Stats().ParkedEvents > 1000 }, 60*time.Second, time.Millisecond)
			s := p.Stats()
			require.Len(t, s.Parked, 1)
			require.EqualValues(t, 2, s.Parked[0].Partition)
			require.NotEmpty(t, s.Parked[0].Reason)
			require.GreaterOrEqual(t, s.Letters, s.ParkedEvents)
			shipsOn(t, p)
			fault.Remove()
			require.Eventually(t, func() bool { return len(p.Stats().Parked) == 0 }, 60*time.Second, time.Millisecond)
			shipsOn(t, p)
			checkArrived(t, p, p.cfg, f.end())
		})
	}
}
