package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
)

// feeder fires the events.
type feeder struct {
	pipe     *pipeline
	settings *grammar
	stdin    io.Reader
	log      *slog.Logger
	note     func(format string, args ...any)

	fired   atomic.Int64
	total   int64 // 0: not known
	bad     int   // lines that are no events
	latency histogram
	first   time.Time
	outage  *outage
	witness *os.File
}

// feed fires everything that is to be fired, and returns when the last Fire has.
func (f *feeder) feed(ctx context.Context) (err error) {
	if f.settings.DrainOnly {
		return nil
	}
	if f.settings.Witness != "" {
		if f.witness, err = os.OpenFile(f.settings.Witness, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return fmt.Errorf("witness: %w", err)
		}
		defer func() { err = errors.Join(err, f.witness.Close()) }()
	}
	f.outage = &outage{log: f.log, note: f.note, broker: f.pipe.broker, length: f.settings.Outage.Duration, after: 1000}
	if f.total = f.expected(); f.total > 0 {
		f.outage.after = f.total / 2
		f.pipe.ids.expect(min(f.total, 10_000_000))
	}
	defer func() { err = errors.Join(err, f.outage.end(ctx)) }()
	in := newInput(f.settings.Input, f.settings.Format, f.stdin, func(b badLine) { f.letter(ctx, b) })
	defer in.close()
	return f.fireAll(ctx, in)
}

// bundledEvents is how many events are bundled; a test holds it.
const bundledEvents = 2900

// expected is how many events there will be; 0 where that isn't known before the input's end.
func (f *feeder) expected() int64 {
	if n := int64(f.settings.Events.N); n > 0 || f.settings.Input != "" || f.settings.DrainOnly {
		return n
	}
	return bundledEvents
}

func (f *feeder) fireAll(ctx context.Context, in *input) error {
	p := pace{rate: f.settings.Rate.F, backlog: f.pipe.backlog}
	f.first = time.Now()
	for n := int64(0); f.settings.Events.N == 0 || n < f.total; n++ {
		e, err := in.next(f.settings.Events.N > 0)
		switch {
		case errors.Is(err, io.EOF):
			return f.tooShort(in, n)
		case err != nil:
			return err
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
		if err := f.outage.maybe(n); err != nil {
			return err
		}
		f.fire(ctx, &e, n)
	}
	return nil
}

func (f *feeder) tooShort(in *input, n int64) error {
	if f.settings.Events.N > 0 {
		return fmt.Errorf("events: %s has %d, and is too long to be kept and repeated; give a file", in.name, n)
	}
	return nil
}

// fire gives the event to the producer, and times it.
func (f *feeder) fire(ctx context.Context, e *firetrail.Event, n int64) {
	if t := f.settings.Tenants.N; t > 0 {
		e.Tenant = "tenant-" + strconv.FormatInt(n%int64(t)+1, 10)
	}
	id, took := f.pipe.fire(ctx, e)
	f.latency.add(int64(took))
	f.fired.Add(1)
	if f.witness != nil {
		_, _ = f.witness.Write(id[:])
	}
}

// linesNamed bounds how many bad lines are named; the others are counted.
const linesNamed = 20

// letter keeps a line that is no event, and names it.
func (f *feeder) letter(ctx context.Context, b badLine) {
	f.bad++
	name := f.settings.Input
	if f.bad <= linesNamed {
		f.log.Warn("a line of the input is no event; it went to the dead letters", "input", name, "line", b.number, "err", b.err)
	}
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s\x00%d\x00%s", name, b.number, b.text)))
	err := f.pipe.letters.Put(ctx, dlq.Dead, []dlq.Letter{{
		ID: hex.EncodeToString(sum[:16]), Reason: dlq.ReasonUndecodable, Stage: "input",
		Error: fmt.Sprintf("%s, line %d: %v", name, b.number, b.err), Attempts: 1, FirstFailed: time.Now().UTC(),
		Topic: f.settings.Topic, Partition: -1, Offset: int64(b.number), Value: append([]byte(nil), b.text...),
	}})
	if err != nil {
		f.log.Error("a line of the input is lost", "input", name, "line", b.number, "err", err)
	}
}
