package producer

import "time"

// clock tells the time that events are stamped with, in microseconds since 1970. It is guarded by
// Producer.mu.
//
// Asking for the time costs more than everything else that is done under the lock, and half of that is for the
// wall clock. So that is asked once a millisecond at the most; in between the monotonic clock
// tells how much has passed since. A wall clock that is set, and a machine that wakes up, are noticed within
// that millisecond.
type clock struct {
	now   func() time.Time // nil: the system's
	asked time.Time
	nanos int64 // since 1970, when asked
}

const askEvery = time.Millisecond

func (c *clock) micros() int64 {
	if c.now != nil {
		return c.now().UnixMicro()
	}
	since := time.Since(c.asked)
	if since >= askEvery || since < 0 {
		c.asked = time.Now()
		c.nanos = c.asked.UnixNano()
		since = 0
	}
	return (c.nanos + int64(since)) / 1000
}
