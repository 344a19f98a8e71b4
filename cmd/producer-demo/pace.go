package main

import (
	"context"
	"time"
)

// pace says when the next event is due.
type pace struct {
	rate    float64      // events a second; 0: as fast as backlog allows
	backlog func() int64 // events that are fired and not shipped
	begin   time.Time
	given   int
	timer   *time.Timer
}

// maxBacklog is how far firing runs ahead of shipping where no rate is asked for. A service has no such
// brake, and needs none: its events come when they come. A program that reads a file as fast as it can
// would only fill the log.
const maxBacklog = 8000

// tick is how long the pace waits at the least: events due within it are fired together.
const tick = time.Millisecond

// wait returns when the next event is due, or with ctx's error.
func (p *pace) wait(ctx context.Context) error {
	if p.given == 0 {
		p.begin = time.Now()
	}
	p.given++
	if p.rate > 0 {
		due := p.begin.Add(time.Duration(float64(p.given-1) / p.rate * float64(time.Second)))
		if ahead := time.Until(due); ahead >= tick {
			return p.sleep(ctx, ahead)
		}
		return ctx.Err()
	}
	for p.given%256 == 0 && p.backlog() > maxBacklog {
		if err := p.sleep(ctx, tick); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (p *pace) sleep(ctx context.Context, d time.Duration) error {
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	select {
	case <-p.timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
