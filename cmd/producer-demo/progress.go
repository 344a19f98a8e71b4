package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// watcher shows how far a run is: bars on a terminal, a line every now and then otherwise.
type watcher struct {
	pipe   *pipeline
	feeder *feeder
	quit   chan struct{}
	done   chan struct{}
}

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 2 * time.Second
)

func (d *demonstration) progress(p *pipeline, f *feeder) *watcher {
	w := &watcher{pipe: p, feeder: f, quit: make(chan struct{}), done: make(chan struct{})}
	if cli.IsTerminal(d.stderr) {
		go w.bars(d.stderr)
	} else {
		go w.lines(d.stderr)
	}
	return w
}

// stop ends the showing, and returns when the last of it is written.
func (w *watcher) stop() {
	close(w.quit)
	<-w.done
}

// figures are fired, shipped and stored, those recovered included.
func (w *watcher) figures() (fired, shipped, stored int64) {
	made := w.pipe.producer.Stats()
	return w.feeder.fired.Load() + int64(made.Recovered), int64(made.Shipped + made.Reshipped), w.pipe.worker.Stats().Stored
}

func (w *watcher) lines(out io.Writer) {
	defer close(w.done)
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fired, shipped, stored := w.figures()
			_, _ = fmt.Fprintf(out, "fired %s, shipped %s, stored %s\n", thousands(fired), thousands(shipped), thousands(stored))
		case <-w.quit:
			return
		}
	}
}

func (w *watcher) bars(out *screen) {
	defer close(w.done)
	pw := progress.NewWriter()
	pw.SetOutputWriter(out.out)
	pw.SetUpdateFrequency(barEvery)
	pw.SetTrackerLength(30)
	pw.SetMessageLength(8)
	pw.SetTrackerPosition(progress.PositionRight)
	pw.SetStyle(progress.StyleBlocks)
	pw.Style().Visibility.ETA = true
	total := w.feeder.expected()
	trackers := [3]*progress.Tracker{}
	for i, name := range []string{"fired", "shipped", "stored"} {
		trackers[i] = &progress.Tracker{Message: name, Total: total, AutoStopDisabled: true}
		pw.AppendTracker(trackers[i])
	}
	rendered := make(chan struct{})
	go func() { defer close(rendered); pw.Render() }()
	out.show(pw)
	defer out.show(nil)
	tick := time.NewTicker(barEvery)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
		case <-w.quit:
			running = false
		}
		fired, shipped, stored := w.figures()
		for i, n := range []int64{fired, shipped, stored} {
			trackers[i].SetValue(n)
		}
	}
	for _, t := range trackers {
		t.MarkAsDone()
	}
	pw.Stop()
	<-rendered
}
