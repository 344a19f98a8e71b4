package admin

import (
	"strconv"
	"time"

	"github.com/firetrail/firetrail/consumer"
)

// maxLagTopics is how many topics have a lag of their own. Beyond it there is one for all of them: topics by pattern
// may be as many as there are tenants.
const maxLagTopics = 100

// together is the label of what stands for all topics, and all partitions. No topic can have that name.
const together = "*"

// lag is how far the worker is behind in a partition, or in all of them.
type lag struct {
	topic, partition string
	records, seconds float64
	timed            bool // seconds is known
}

// lags returns that of each partition in which it is known or, where there are too many topics, the sum of their records
// and the age of the oldest.
func lags(partitions []consumer.PartitionStat, now time.Time) []lag {
	topics := map[string]bool{}
	var all []lag
	sum := lag{topic: together, partition: together}
	for _, p := range partitions {
		topics[p.Topic] = true
		if p.Lag < 0 {
			continue // not known yet
		}
		l := lag{topic: p.Topic, partition: strconv.Itoa(int(p.Partition)), records: float64(p.Lag), timed: p.Lag == 0 || !p.Oldest.IsZero()}
		if p.Lag > 0 && l.timed {
			l.seconds = max(now.Sub(p.Oldest), 0).Seconds()
		}
		all = append(all, l)
		sum.records += l.records
		sum.seconds, sum.timed = max(sum.seconds, l.seconds), sum.timed || l.timed
	}
	if len(topics) <= maxLagTopics || len(all) == 0 {
		return all
	}
	return []lag{sum}
}
