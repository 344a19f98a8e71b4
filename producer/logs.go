package producer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/firetrail/firetrail/wal"
)

// logs are the write-ahead logs that the producer ships from: the one that events go to, and those it
// adopted or used before.
type logs struct {
	mu     sync.Mutex
	open   []*openLog
	failed wal.StateChange // why the log on disk can't be opened
}

type openLog struct {
	log     *wal.Log
	shipper *shipper
	slot    int // -1: in memory
}

// maxSlots is how many processes can have a log in one namespace at a time.
const maxSlots = 256

// standInBytes bounds the memory that stands in for a log that can't be opened.
const standInBytes = 32 << 20

// adoptEvery is how often slots are looked through for logs whose process is gone.
const adoptEvery = 30 * time.Second

// openTimeout is how long New waits for the disk, where Config.WAL.HangAfter says nothing.
const openTimeout = 5 * time.Second

// openLogs opens the log that events go to. One on disk that can't be opened is tried again, one whose disk hangs is
// waited for, and memory stands in for it.
func (p *Producer) openLogs() error {
	if p.cfg.Mode == Volatile {
		l, err := wal.OpenMemory(p.memoryConfig(p.cfg.MaxBytes))
		if err != nil {
			return err
		}
		p.use(l)
		p.start(p.logs.add(p, l, -1), false)
		return nil
	}
	hangAfter := p.cfg.WAL.HangAfter
	switch {
	case hangAfter == 0:
		hangAfter = openTimeout
	case hangAfter < 0:
		hangAfter = math.MaxInt64
	}
	opening := make(chan attempt, 1)
	p.wg.Go(func() {
		l, slot, err := p.openSlot()
		opening <- attempt{l, slot, err}
	})
	var err error
	select {
	case o := <-opening:
		if o.err == nil {
			p.use(o.log)
			p.start(p.logs.add(p, o.log, o.slot), false)
			p.wg.Go(p.adopt)
			return nil
		}
		if isConfig(o.err) {
			return o.err
		}
		err, opening = o.err, nil
	case <-time.After(hangAfter):
		err = fmt.Errorf("producer: opening the log in %s takes more than %v: its disk hangs", filepath.Join(p.cfg.Dir, p.cfg.Namespace), hangAfter)
	}
	p.logs.fail(err, p.cfg.Clock())
	p.cfg.Logger.Error("producer: the log can't be opened; events are in memory only until it can", "error", err)
	if p.log, err = wal.OpenMemory(p.memoryConfig(standInBytes)); err != nil {
		return err
	}
	p.standIn = true
	standIn := p.logs.add(p, p.log, -1)
	p.wg.Go(func() { p.replaceStandIn(standIn, opening) })
	p.tellState(p.logs.openFailure())
	return nil
}

// attempt is what came of opening a log.
type attempt struct {
	log  *wal.Log
	slot int
	err  error
}

// isConfig reports whether err can't pass by itself.
func isConfig(err error) bool {
	return errors.Is(err, wal.ErrVersion) || errors.Is(err, wal.ErrNoLocks) || errors.Is(err, errConfig)
}

var errConfig = errors.New("producer: WAL")

func (p *Producer) memoryConfig(maxBytes int64) wal.Config {
	c := p.cfg.WAL
	c.MaxBytes, c.Logger = maxBytes, p.cfg.Logger
	return c
}

func (p *Producer) slotDir(slot int) string {
	return filepath.Join(p.cfg.Dir, p.cfg.Namespace, strconv.Itoa(slot))
}

func (p *Producer) walConfig(slot int) wal.Config {
	c := p.cfg.WAL
	c.Dir, c.MaxBytes, c.Logger = p.slotDir(slot), p.cfg.MaxBytes, p.cfg.Logger
	c.OnState = p.tellState
	c.OnLoss = func(l wal.Loss) { p.drops.add(DropLost, l.Records()) }
	return c
}

func (p *Producer) tellState(s wal.StateChange) {
	if p.cfg.OnState != nil {
		p.cfg.OnState(s)
	}
}

// openSlot opens the first slot that no living process has.
func (p *Producer) openSlot() (*wal.Log, int, error) {
	if err := wal.Check(p.walConfig(0)); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errConfig, err)
	}
	for slot := range maxSlots {
		l, err := wal.Open(p.walConfig(slot))
		if errors.Is(err, wal.ErrLocked) {
			continue
		}
		return l, slot, err
	}
	return nil, 0, fmt.Errorf("producer: all %d slots of %s are in use", maxSlots, filepath.Join(p.cfg.Dir, p.cfg.Namespace))
}

// adopt ships, from time to time, what slots hold whose process is gone.
func (p *Producer) adopt() {
	t := time.NewTicker(adoptEvery)
	defer t.Stop()
	for {
		for _, slot := range p.orphans() {
			c := p.walConfig(slot)
			c.OnState = nil // it says nothing of this process's events
			l, err := wal.Open(c)
			switch {
			case errors.Is(err, wal.ErrLocked):
			case err != nil:
				p.cfg.Logger.Error("producer: a log of a process that is gone can't be opened; its events wait there", "dir", c.Dir, "error", err)
			case p.ctx.Err() != nil: // Close may not have waited for a disk that hung
				p.putBack(l)
				return
			default:
				p.start(p.logs.add(p, l, slot), true)
			}
		}
		select {
		case <-t.C:
		case <-p.ctx.Done():
			return
		}
	}
}

// putBack closes a log that was opened too late.
func (p *Producer) putBack(l *wal.Log) {
	ctx, cancel := context.WithTimeout(context.Background(), p.saveFor)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		p.cfg.Logger.Warn("producer: closing a log", "error", err)
	}
}

// orphans returns the slots that are there and that this process doesn't have, and that may hold something.
func (p *Producer) orphans() (slots []int) {
	entries, err := os.ReadDir(filepath.Join(p.cfg.Dir, p.cfg.Namespace))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		slot, err := strconv.Atoi(e.Name())
		if err != nil || !e.IsDir() || p.logs.has(slot) {
			continue
		}
		if wal.HasRecords(p.slotDir(slot)) {
			slots = append(slots, slot)
		}
	}
	slices.Sort(slots)
	return slots
}

// start ships from a log until the producer ends or, with untilDrained, nothing is left; then the log is
// closed.
func (p *Producer) start(o *openLog, untilDrained bool) {
	p.wg.Go(func() {
		o.shipper.run(p.ctx, untilDrained)
		if untilDrained && p.ctx.Err() == nil {
			if err := o.log.Close(context.Background()); err != nil {
				p.cfg.Logger.Warn("producer: closing an adopted log", "error", err)
			}
			p.logs.remove(o)
		}
	})
}

func (l *logs) add(p *Producer, log *wal.Log, slot int) *openLog {
	o := &openLog{log: log, shipper: newShipper(p, log), slot: slot}
	p.recovered.Add(log.Stats().Recovered)
	l.mu.Lock()
	l.open = append(l.open, o)
	l.mu.Unlock()
	return o
}

func (l *logs) remove(o *openLog) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(x *openLog) bool { return x == o })
}

func (l *logs) all() []*openLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.open)
}

func (l *logs) of(log *wal.Log) *openLog {
	for _, o := range l.all() {
		if o.log == log {
			return o
		}
	}
	return nil
}

func (l *logs) has(slot int) bool {
	return slices.ContainsFunc(l.all(), func(o *openLog) bool { return o.slot == slot })
}

func (l *logs) fail(err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed.Reason == nil {
		l.failed.Since = now
	}
	l.failed.State, l.failed.Reason = wal.Degraded, err
}

func (l *logs) openFailure() wal.StateChange {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}
