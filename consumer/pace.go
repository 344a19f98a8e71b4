package consumer

import (
	"math"
	"time"
)

const (
	// fewest is how many rows a batch isn't made smaller than.
	fewest = 50
	// quickFor is for how long somebody counts as waiting for quick writes after the last record that came so.
	quickFor = time.Minute
)

// pace bounds the rows of a batch while some partitions are behind and others have caught up: a record of the latter waits for the
// write under way and then for its own, in which those that are behind have their share. Without such company batches are as large
// as MaxSize allows. It is guarded by the flow's mutex.
//
// A write takes some time whatever its rows, and some for each of them; both are estimated from the writes there were. The first
// nobody can save, and without a flood a record waits for it too, after up to Batch.MinFlushInterval. So the rows of a batch may
// take a quarter of that interval, or as long as the write takes without them, up to half of the interval: two writes take no more than
// twice what the record would wait for anyway. But they always may take a third of what the write takes without them, so that those
// that are behind keep a quarter of the rate they would have in large batches, and half of it where a write takes up to half the interval.
type pace struct {
	flush time.Duration // Batch.MinFlushInterval; 0: a batch may take any time
	max   int           // Batch.MaxSize
	rows  int           // of a batch, as far as is known
	cuts  int           // of batches
	costs costs
	quick *partition // that had caught up last
	at    time.Time  // when a record of it came
}

func newPace(b Batch) pace {
	return pace{flush: max(b.MinFlushInterval, 0), max: b.MaxSize, rows: b.MaxSize}
}

// Of every so many batches one is the smaller by so much: what a row costs can't be known from batches of one size.
const (
	sampleEvery = 8
	samplePart  = 4
)

// sampling reports whether the next batch is such a one.
func (p *pace) sampling() bool { return p.cuts%sampleEvery == sampleEvery-1 }

// cut says that a batch is being cut, and returns whether it is a sample.
func (p *pace) cut(now time.Time) (sample bool) {
	sample = p.sampling() && p.bounds(now)
	p.cuts++
	return sample
}

// limit is the most rows of a batch.
func (p *pace) limit(now time.Time) int {
	switch {
	case !p.bounds(now):
		return p.max
	case p.sampling():
		return max(p.rows/samplePart, 1)
	}
	return p.rows
}

// came says that a record of part came, which has caught up.
func (p *pace) came(part *partition, now time.Time) { p.quick, p.at = part, now }

// bounds reports whether somebody waits for quick writes.
func (p *pace) bounds(now time.Time) bool {
	return p.flush > 0 && p.quick.caughtUp() && !p.quick.gone && now.Sub(p.at) < quickFor
}

// dearest is how many times as long as its rows a write may take without them: beyond it quick writes would leave who is behind
// further and further behind.
const dearest = 3

// wrote takes note of how long a write took. From one to the next batches get twice or half as large at the most, so that a
// single one decides little, and that the bound is never far from what batches have whose size something else bounds,
// such as the memory.
func (p *pace) wrote(b *batch, took time.Duration) {
	p.costs.add(b.len(), took)
	full := b.len() // would a batch be
	if b.sample {
		full *= samplePart
	}
	write, row := p.costs.estimate()
	flush, want := p.flush.Seconds(), p.max
	may := max(flush/4, min(write, flush/2), write/dearest)
	if row*float64(p.max) > may {
		want = int(may / row)
	}
	p.rows = min(max(min(want, full*2), p.rows/2, fewest), p.max)
}

// costs estimates what a write takes whatever its rows, and for each of them, by the method of least squares, from the writes
// there were, of which the latest weigh most. What counts is by which part of the time a write took the estimate is wrong, so
// that one that was held up by something else weighs little.
type costs struct {
	n, rows, took     float64 // sums, of weights, and of what is weighed
	rowsRows, rowTook float64
}

// lasting is the weight of a write at the next one.
const lasting = 1 - 1.0/64

func (c *costs) add(rows int, took time.Duration) {
	x, y := float64(rows), max(took, time.Microsecond).Seconds()
	keep := lasting
	if write, row := c.estimate(); c.n > 0 {
		// When the database has become slower, the quick writes of before would weigh most for long.
		keep *= min(1, math.Sqrt(2*(write+row*x)/y))
	}
	w := 1 / (y * y)
	c.n = c.n*keep + w
	c.rows = c.rows*keep + w*x
	c.took = c.took*keep + w*y
	c.rowsRows = c.rowsRows*keep + w*x*x
	c.rowTook = c.rowTook*keep + w*x*y
}

// estimate returns the seconds a write takes without its rows, and those of each row. Where all batches had about as many it is the
// rows that count as what takes the time: the next batch is smaller then, and tells.
func (c *costs) estimate() (write, row float64) {
	if c.n == 0 {
		return 0, 0
	}
	spread := c.n*c.rowsRows - c.rows*c.rows
	if spread < c.n*c.rowsRows/1000 {
		return 0, c.rowTook / c.rowsRows
	}
	row = (c.n*c.rowTook - c.rows*c.took) / spread
	write = (c.took - row*c.rows) / c.n
	switch {
	case row < 0:
		return c.took / c.n, 0
	case write < 0:
		return 0, c.rowTook / c.rowsRows
	}
	return write, row
}
