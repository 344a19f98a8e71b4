package main

import (
	"math"
	"runtime"
	"slices"
	"time"
)

// burst is how many events are fired at a time: a request's worth or two. What is measured is the caller's cost, so
// what runs behind the callers is left to rest between bursts.
const burst = 80

// candidate is one way to record an event.
type candidate struct {
	name  string
	kind  kind
	ours  bool
	fire  func()
	rest  func()       // waits for what runs behind the callers; may be nil
	close func() error // may be nil
}

// kind is what a candidate's event survives once the call has returned.
type kind string

const (
	inMemory kind = "memory" // nothing
	inFile   kind = "file"   // the end of the process
	inLog    kind = "log"    // the end of the process, and after 100 ms a power cut
)

// result is a candidate's.
type result struct {
	ns     float64 // an event: the median of the best block's bursts
	least  float64 // an event: the best burst
	allocs float64 // an event, in the process, while bursts ran: the least of the blocks
}

// measure lets the candidates take turns.
func measure(s *settings, candidates []candidate) []result {
	results := make([]result, len(candidates))
	for i := range results {
		results[i] = result{math.Inf(1), math.Inf(1), math.Inf(1)}
	}
	for range s.blocks {
		times := make([][]float64, len(candidates))
		for range s.bursts {
			for i, c := range candidates {
				c.settle(s.pause)
				begun := time.Now()
				for range burst {
					c.fire()
				}
				times[i] = append(times[i], float64(time.Since(begun).Nanoseconds())/burst)
			}
		}
		for i, c := range candidates {
			results[i].ns = min(results[i].ns, median(times[i]))
			results[i].least = min(results[i].least, slices.Min(times[i]))
			c.settle(s.pause)
			results[i].allocs = min(results[i].allocs, c.allocations())
		}
	}
	return results
}

func (c *candidate) settle(pause time.Duration) {
	if c.rest != nil {
		c.rest()
	}
	<-time.After(pause)
}

// allocations counts what the process allocates during one burst.
func (c *candidate) allocations() float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range burst {
		c.fire()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / burst
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
