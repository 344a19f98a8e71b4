package backend

import (
	"math"

	"github.com/firetrail/firetrail"
)

// IDBounds returns the least id of the millisecond that from lies in, and the least id after the one that
// the last microsecond before to lies in; nil where there is no bound. An id has the milliseconds of its event's
// time in its first 48 bits, whoever made it.
func IDBounds(from, to int64) (low, high []byte) {
	if from > 0 {
		low = idOfMilli(from / 1000)
	}
	if to != math.MaxInt64 {
		high = make([]byte, len(firetrail.ID{}))
		if to > 0 {
			high = idOfMilli((to-1)/1000 + 1)
		}
	}
	return low, high
}

func idOfMilli(ms int64) []byte {
	ms = min(ms, 1<<48-1)
	id := make([]byte, len(firetrail.ID{}))
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}
