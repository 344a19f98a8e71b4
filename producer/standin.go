package producer

import (
	"context"
	"time"

	"github.com/firetrail/firetrail/wal"
)

const (
	// moveBatch is how many records are moved at a time.
	moveBatch = 256
	// shipBetween is for how long events are shipped from memory when the log, just opened, has no room for them.
	shipBetween = time.Second
)

// replaceStandIn ships from the memory that stands in for a log which can't be opened, until it can. Then what is in
// memory moves there, and what is fired goes there.
func (p *Producer) replaceStandIn(standIn *openLog, opening <-chan attempt) {
	opened := make(chan *openLog, 1)
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	p.wg.Go(func() {
		if o := p.openLater(opening); o != nil {
			opened <- o
			cancel()
		}
	})
	standIn.shipper.recall = true
	standIn.shipper.run(ctx, false)
	if p.ctx.Err() != nil {
		return
	}
	o := <-opened
	p.start(o, false)
	if !p.move(standIn, o) {
		return
	}
	_ = standIn.log.Close(context.Background()) // memory, and empty
	p.logs.remove(standIn)
	p.cfg.Logger.Warn("producer: the log is open: events are protected again", "dir", p.slotDir(o.slot))
	p.tellState(wal.StateChange{State: wal.Healthy, Since: p.cfg.Clock()})
	p.adopt()
}

// openLater tries to open a log until it can, after what comes of opening, if that isn't nil; nil where the producer
// ended before.
func (p *Producer) openLater(opening <-chan attempt) *openLog {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		var o attempt
		if opening != nil {
			o, opening = <-opening, nil // with the disk, as the next would
		} else {
			if pause(p.ctx, backoff); p.ctx.Err() != nil {
				return nil
			}
			o.log, o.slot, o.err = p.openSlot()
		}
		switch {
		case o.err != nil:
			p.logs.fail(o.err, p.cfg.Clock())
		case p.ctx.Err() != nil: // Close may not have waited for a disk that hung
			p.putBack(o.log)
			return nil
		default:
			return p.logs.add(p, o.log, o.slot)
		}
	}
}

// move moves what the stand-in holds to a log, and events go there from then on. It reports false where the
// producer ended before. Where the log is full, what it has is shipped, and then from memory for a while, so that
// order is kept.
func (p *Producer) move(standIn, o *openLog) bool {
	for p.ctx.Err() == nil {
		r := standIn.log.NewReader()
		err := p.moveAll(r, standIn, o)
		_ = r.Close() // of memory
		switch {
		case err == nil:
			return true
		case !o.log.Drained():
			pause(p.ctx, minBackoff)
		default:
			ctx, cancel := context.WithTimeout(p.ctx, shipBetween)
			standIn.shipper.run(ctx, false)
			cancel()
		}
	}
	return false
}

// moveAll moves records until none is left, the last few while Fire waits.
func (p *Producer) moveAll(r *wal.Reader, standIn, o *openLog) error {
	for {
		s := standIn.log.Stats()
		if s.Next-r.Next() <= moveBatch {
			return p.switchLog(r, standIn, o)
		}
		if err := p.moveSome(r, standIn, o); err != nil {
			return err
		}
	}
}

// switchLog moves the rest, and has events go to the log.
func (p *Producer) switchLog(r *wal.Reader, standIn, o *openLog) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r.Next() < standIn.log.Stats().Next {
		if err := p.moveSome(r, standIn, o); err != nil {
			return err
		}
	}
	p.use(o.log)
	p.standIn = false
	return nil
}

// moveSome moves the next records. What is done already stays behind, and who waits for the others waits on.
func (p *Producer) moveSome(r *wal.Reader, standIn, o *openLog) error {
	records, err := r.Read(p.ctx, nil, moveBatch)
	if err != nil {
		return err
	}
	from, to := standIn.shipper.window, o.shipper.window
	for _, rec := range records {
		if from.settled(rec.Seq) {
			continue
		}
		at := o.log.Stats().Next
		told := from.waiter(rec.Seq)
		if told != nil { // before anybody can read it
			to.await(at, told)
		}
		if _, _, err := o.log.Append(rec.Type, rec.Payload); err != nil {
			to.forget(at)
			return err
		}
		from.leave(rec.Seq)
		standIn.log.Release(from.mark())
	}
	return nil
}
