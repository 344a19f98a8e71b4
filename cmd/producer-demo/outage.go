package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/firetrail/firetrail/internal/embedded"
)

// outage takes the broker off the network once, and brings it back.
type outage struct {
	log    *slog.Logger
	note   func(format string, args ...any)
	broker *embedded.Broker
	length time.Duration // 0: none
	after  int64         // events

	back chan error // once begun
}

// maybe begins the outage when its time has come.
func (o *outage) maybe(fired int64) error {
	if o.length == 0 || o.back != nil || fired < o.after {
		return nil
	}
	o.broker.Cut()
	o.note("the broker is off the network for %s", o.length)
	o.back = make(chan error, 1)
	time.AfterFunc(o.length, func() {
		o.note("the broker is back")
		o.back <- o.broker.Restore()
	})
	return nil
}

// end returns when the broker is back, or ctx has ended.
func (o *outage) end(ctx context.Context) error {
	if o.back == nil {
		if o.length > 0 && ctx.Err() == nil {
			o.log.Warn("no outage: the input ended before it could begin", "events_before", o.after)
		}
		return nil
	}
	select {
	case err := <-o.back:
		return err
	case <-ctx.Done():
		return o.broker.Restore()
	}
}
