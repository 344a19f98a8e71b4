package dlq

import "sync/atomic"

// countdown calls a function once, when it has counted to nothing.
type countdown struct {
	left atomic.Int64
	done func()
}

func newCountdown(n int, done func()) *countdown {
	c := &countdown{done: done}
	c.left.Store(int64(n))
	return c
}

func (c *countdown) down(n int) {
	if n > 0 && c.left.Add(-int64(n)) == 0 {
		c.done()
	}
}
