package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail/consumer"
)

// TestLagOfManyTopics: with a topic for each tenant the series don't name them all.
func TestLagOfManyTopics(t *testing.T) {
	now := time.Now()
	var partitions []consumer.PartitionStat
	for i := range maxLagTopics {
		for p := range 2 {
			partitions = append(partitions, consumer.PartitionStat{Topic: fmt.Sprint("audit.t.", i), Partition: int32(p), Lag: 3, Oldest: now.Add(-time.Duration(i) * time.Second)})
		}
	}
	found := lags(partitions, now)
	require.Len(t, found, 2*maxLagTopics)
	require.Equal(t, lag{"audit.t.7", "1", 3, 7, true}, found[15])
	unknown := consumer.PartitionStat{Topic: "audit.t.more", Lag: -1}
	require.Equal(t, []lag{{"*", "*", 6 * maxLagTopics, maxLagTopics - 1, true}}, lags(append(partitions, unknown), now))
	require.Empty(t, lags([]consumer.PartitionStat{unknown}, now), "nothing is known yet")
	require.Equal(t, []lag{{"t", "0", 5, 0, false}}, lags([]consumer.PartitionStat{{Topic: "t", Lag: 5}}, now))
}
