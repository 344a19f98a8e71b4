package sinkers

import (
	"fmt"
	"time"
)

// Retention says how long events are kept. The zero value keeps them for ever.
type Retention struct {
	// Days an event is kept, counted from when it happened. Default 0: for ever.
	Days int
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// MaxDays is the longest retention; a longer one is "for ever", which is 0.
const MaxDays = 36_500

// Validate reports what is wrong with the setting.
func (r Retention) Validate() error {
	if r.Days < 0 || r.Days > MaxDays {
		return fmt.Errorf("retention days: %d is outside 1 to %d (0 keeps everything)", r.Days, MaxDays)
	}
	return nil
}

// Clock returns what time it is.
func (r Retention) Clock() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// Cutoff returns the time before which events are expired, zero when none are: the beginning of a day, UTC, so
// that whoever asks on one day, to prune or to insert, gets the same answer.
func (r Retention) Cutoff() time.Time {
	if r.Days <= 0 {
		return time.Time{}
	}
	return r.Clock().UTC().Truncate(24*time.Hour).AddDate(0, 0, -r.Days)
}

// CheckPrune returns an error for a cut-off of a Prune that lies in the future.
func (r Retention) CheckPrune(before time.Time) error {
	if now := r.Clock(); before.After(now) {
		return errFuture(before, now)
	}
	return nil
}
