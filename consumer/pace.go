package consumer

import "time"

const (
	// fewest is how many rows a batch isn't made smaller than.
	fewest = 50
	// quickFor is for how long somebody counts as waiting for quick writes after the last record that came so.
	quickFor = time.Minute
)

// pace bounds the rows of a batch while some partitions are behind and others have caught up: a record of the
// latter waits for the write under way before its own is written, and no batch is cut meanwhile, which it would have to wait
// for as well. So that the flood costs it less than it waits anyway, each of the two is to take no longer than half of
// Batch.MinFlushInterval. Without such company batches are as large as MaxSize allows. It is guarded by the flow's mutex.
type pace struct {
	target  time.Duration // of a write; 0: any
	max     int           // Batch.MaxSize
	rows    int           // what can be written in that time, as far as is known
	before  time.Duration // what a write took before rows was halved; 0: it was not halved last
	best    float64       // rows a second, of the quickest write
	quick   *partition    // that had caught up last
	quickAt time.Time     // when a record of it came
}

func newPace(b Batch) pace {
	return pace{target: max(b.MinFlushInterval, 0) / 2, max: b.MaxSize, rows: b.MaxSize}
}

// limit is the most rows of a batch.
func (p *pace) limit(now time.Time) int {
	if p.bounds(now) {
		return p.rows
	}
	return p.max
}

// bounds reports whether somebody waits for quick writes.
func (p *pace) bounds(now time.Time) bool {
	return p.target > 0 && p.quick.caughtUp() && !p.quick.gone && now.Sub(p.quickAt) < quickFor
}

// dearest is how many times as long small batches may take for the same rows: beyond it quick writes would leave the
// partition that is behind further and further behind.
const dearest = 4

// wrote takes note of how long a write took. One of fewer rows than there may be says nothing, unless it was full, that is, had as
// many bytes as there may be; nor does one of more, which was cut before, but how quick the database can be.
func (p *pace) wrote(rows int, full bool, took time.Duration) {
	if full && rows < p.rows {
		p.rows = max(rows, 1)
	}
	if rows < p.rows*3/4 {
		return
	}
	rate := float64(rows) / max(took, time.Microsecond).Seconds()
	slow := rate*dearest < p.best
	if p.best = max(p.best, rate); slow && (full || p.rows == p.max) {
		p.best, slow = rate, false // it is no longer as quick as it was
	}
	if rows > p.rows*5/4 {
		return
	}
	switch {
	case slow: // it came to this by some writes that were quick by chance
		p.rows, p.before = min(p.rows*2, p.max), 0
	case took <= p.target/2:
		p.rows, p.before = min(p.rows*2, p.max), 0
	case took <= p.target:
		p.before = 0
	case p.before > 0 && took > p.before*3/4: // the halving saved next to nothing: it is not the rows that take the time
		p.rows, p.before = min(p.rows*2, p.max), 0
	case p.rows >= 2*fewest:
		p.rows, p.before = p.rows/2, took
	default:
		p.before = 0
	}
}
