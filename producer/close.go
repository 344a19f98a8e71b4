package producer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/wal"
)

// Flush waits until every event fired before it is at the broker, or a letter; it returns ctx's error when that
// ends first. A nil Producer has nothing to flush.
func (p *Producer) Flush(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if err := p.flush(ctx); err != nil {
		return fmt.Errorf("producer: flushing: %w", err)
	}
	return nil
}

// flush waits until all that the logs hold now is shipped. One that is opened meanwhile may have taken over what
// another had.
func (p *Producer) flush(ctx context.Context) error {
	var flushed []*openLog
	for {
		all := p.logs.all()
		next := slices.IndexFunc(all, func(o *openLog) bool { return !slices.Contains(flushed, o) })
		if next < 0 {
			return nil
		}
		o := all[next]
		flushed = append(flushed, o)
		done := o.shipper.window.flushed(o.log.Stats().Next - 1)
		select {
		case <-done:
		case <-ctx.Done():
			o.shipper.window.unflush(done)
			return ctx.Err()
		case <-p.closed:
			return wal.ErrClosed
		}
	}
}

// Ready reports whether events go all the way now: the log protects them, a broker answers, and the topic is
// there. Topics of tenants are not looked for: one that is missing is no reason to stop a service; see
// Stats.MissingTopics. It is for a readiness probe or a start that wants to know; Fire does not depend on it. The error says
// what to do. A nil Producer is ready.
func (p *Producer) Ready(ctx context.Context) error {
	if p == nil {
		return nil
	}
	if p.cfg.Mode == Durable {
		if err := p.protects(); err != nil {
			return err
		}
	}
	if err := kafkaclient.Check(ctx, p.client); err != nil {
		return err
	}
	if p.routes.one == nil {
		return nil
	}
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(p.cfg.Topic)
	req.Topics = []kmsg.MetadataRequestTopic{topic}
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return fmt.Errorf("producer: topic %s: %w", p.cfg.Topic, err)
	}
	for _, t := range resp.Topics {
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return fmt.Errorf("producer: topic %s is not there; make it with: sink-worker topics create --topic %s: %w", p.cfg.Topic, p.cfg.Topic, err)
		case err != nil:
			return fmt.Errorf("producer: topic %s: %w", p.cfg.Topic, err)
		}
	}
	return nil
}

// Close stops taking events, ships what it can until ctx is about to end, syncs the log and closes everything. In
// the mode Durable what is left is shipped at the next start. In the mode Volatile it is dropped, counted, and
// said so in the error. It is idempotent: later calls wait for the first, as long as their ctx lasts. A nil
// Producer is closed.
func (p *Producer) Close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	go p.closing.Do(func() {
		p.closeError = p.close(ctx)
		close(p.closed)
	})
	select {
	case <-p.closed:
		return p.closeError
	case <-ctx.Done():
	}
	select { // what ended at the same moment has ended
	case <-p.closed:
		return p.closeError
	default:
		return fmt.Errorf("producer: closing: %w", ctx.Err())
	}
}

func (p *Producer) close(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.closeSources()
	p.drain(ctx)
	// From here on nothing waits for the broker. Whoever called Close doesn't wait beyond ctx either, but what
	// can be saved is saved.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.saveFor)
	defer cancel()
	some, cancelSome := context.WithTimeout(ctx, p.saveFor/2) // the logs need some of it, too
	defer cancelSome()
	errs := []error{p.letters.close(some)}
	p.cancel()
	p.client.Close() // what is in flight comes back
	p.single.client.Close()
	errs = append(errs, p.join(ctx))
	for _, o := range p.logs.all() {
		errs = append(errs, o.log.Close(ctx), p.giveUp(o))
	}
	p.drops.tell(&p.cfg)
	return errors.Join(errs...)
}

// join waits for the producer's goroutines. One that hangs at a disk is left behind: it ends when the disk does
// something.
func (p *Producer) join(ctx context.Context) error {
	joined := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(joined)
	}()
	select {
	case <-joined:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("producer: closing: still at work in %s: %w", filepath.Join(p.cfg.Dir, p.cfg.Namespace), ctx.Err())
	}
}

// giveUp counts what a closed log holds in memory alone.
func (p *Producer) giveUp(o *openLog) error {
	var n uint64
	for r := range o.log.Unsaved() {
		if !o.shipper.window.lose(r.Seq) {
			continue
		}
		if p.lost(r.Type, DropUnsent); r.Type == recordEvent {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("producer: %d events were in memory only and are lost", n)
}

// closeTimeout bounds the saving of what is left, to a disk that may be full or hang. What is in a log's ring is safe
// there.
const closeTimeout = 10 * time.Second

// drain waits until everything is shipped, but leaves a part of the time until ctx's end for the rest of
// closing.
func (p *Producer) drain(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(left/4, time.Second)))
		defer cancel()
	}
	_ = p.flush(ctx) // what it didn't get to is left
}
