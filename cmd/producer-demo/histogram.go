package main

import "math/bits"

// histogram counts durations in buckets that grow with them: 64 to each power of two, so that a
// quantile is right within 1.6 %. The zero value is ready; it is not safe for concurrent use.
type histogram struct {
	buckets [64 * (64 - 5)]uint64
	count   uint64
	max     int64
}

const subBits = 6

// bucket of a value. Values below 64 have their own; above, the highest bits after the first decide.
func bucket(v int64) int {
	u := uint64(max(v, 0))
	if u < 1<<subBits {
		return int(u)
	}
	shift := bits.Len64(u) - 1 - subBits
	return (shift+1)<<subBits + int(u>>shift) - 1<<subBits
}

// highest value of a bucket.
func highest(b int) int64 {
	if b < 1<<subBits {
		return int64(b)
	}
	shift := b>>subBits - 1
	return int64(b&(1<<subBits-1)+1<<subBits+1)<<shift - 1
}

func (h *histogram) add(v int64) {
	h.buckets[bucket(v)]++
	h.count++
	h.max = max(h.max, v)
}

// quantile returns the value that a share of q of all are not above; 0 when there are none.
func (h *histogram) quantile(q float64) int64 {
	rank, seen := uint64(q*float64(h.count)+0.5), uint64(0)
	rank = min(max(rank, 1), h.count)
	for b, n := range h.buckets {
		if seen += n; seen >= rank && n > 0 {
			return min(highest(b), h.max)
		}
	}
	return 0
}
