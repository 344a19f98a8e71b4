package consumer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sethvargo/go-retry"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
)

// letter is a record on its way to the dead letters.
type letter struct {
	id       string // "" is that of its origin
	item     item
	tenant   string
	reason   string
	stage    string
	err      error
	attempts int
	failedAt time.Time

	seq            sinkers.Position // for the ledger; zero where the record is no event
	inTopic, inDir bool             // the forms that are written
	stubbed        bool             // the topic has it without its bytes
	noted          bool             // the directory says what the topic has of it
	waits          bool             // it could not be sent; counted in its partition
}

// errConflict says what row i of b conflicts with.
func errConflict(b *batch, i int, res sinkers.Result) error {
	row := &b.rows[i]
	if stored, ok := res.StoredHashes[i]; ok {
		return fmt.Errorf("tenant %q has another event with id %s: the content hash stored is %x, this one's %x",
			row.Tenant, row.ID, stored, row.Hash)
	}
	return fmt.Errorf("tenant %q has another event with id %s; this one's content hash is %x", row.Tenant, row.ID, row.Hash)
}

// dead returns the letter in the form that it is kept in.
func (l *letter) dead() dlq.Letter {
	p, rec := l.item.part, l.item.rec
	d := dlq.Letter{
		ID:     cmp.Or(l.id, dlq.OriginID(p.topicID, p.partition, rec.Offset)),
		Tenant: l.tenant, Reason: l.reason, Error: l.err.Error(), Stage: l.stage,
		Attempts: l.attempts, FirstFailed: l.failedAt,
		Topic: p.topic, TopicID: p.topicID, Partition: p.partition, Offset: rec.Offset,
		Time: rec.Timestamp, Key: rec.Key, Value: rec.Value,
	}
	for _, h := range rec.Headers {
		d.Headers = append(d.Headers, dlq.Header{Key: h.Key, Value: h.Value})
	}
	d.Attempts += d.Earlier()
	return d
}

// copied says what the topic has of it.
func (l *letter) copied() dlq.Copy {
	switch {
	case !l.inTopic:
		return dlq.NoCopy
	case l.stubbed:
		return dlq.StubCopy
	default:
		return dlq.WholeCopy
	}
}

// letterForm is one of the two forms that letters are kept in.
type letterForm interface {
	// put writes letters durably. Of an error it says which letters failed, by index; nil: all did.
	put(ctx context.Context, letters []*letter) (failed map[int]bool, err error)
}

// Limits of a round of the postman. What is sent together may be one record batch, which is refused as a whole
// where it is larger than the topic takes; only a letter that is so by itself should be.
const (
	maxLetters     = 256
	maxLetterBytes = 512 << 10
	letterLimit    = dlq.DefaultTopicTimeout + 5*time.Second // in one form; the topic has a limit of its own
)

// postman is the goroutine that sends letters, in both forms. A letter's record is done when its topic has
// acknowledged it, or its directory where that suffices, and the bookkeeper has noted it. Until then nothing of its
// partition from there on is committed, and after a try that failed the partition is paused; what is already read of it goes
// on being stored.
type postman struct {
	topic, dir  letterForm // nil: not kept in this form
	dirSuffices bool
	flow        *flow
	stats       *counters
	log         *slog.Logger
	retry       Retry
	book        *bookkeeper
	moved       func() // called when letters were sent or can't be

	mu     sync.Mutex
	queue  []*letter
	closed bool
	wake   chan struct{}

	known known               // what the directory had before
	late  lateLetters         // done, but still to be written to the directory
	acked map[string]dlq.Copy // the topic has them, and the directory, which doesn't say so yet; by id
}

// send takes a letter. It never blocks: the letter's record is already accounted for.
func (p *postman) send(l *letter) {
	if l.failedAt.IsZero() {
		l.failedAt = time.Now()
	}
	p.log.Warn("record becomes a dead letter", "reason", l.reason, "err", l.err,
		"topic", l.item.part.topic, "partition", l.item.part.partition, "offset", l.item.rec.Offset)
	p.stats.letter(l.reason)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, l)
	signal(p.wake)
}

// close says that no more letters come: run returns when those it has are sent.
func (p *postman) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	signal(p.wake)
}

// next takes the letters of one round into hand, those of revoked partitions left out. None are left when there
// are none to take.
func (p *postman) next() (letters []*letter, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(letters) == 0 && len(p.queue) > 0 {
		n, bytes := 0, int64(0)
		for n < min(len(p.queue), maxLetters) && (n == 0 || bytes < maxLetterBytes) {
			bytes += recordBytes(p.queue[n].item.rec)
			n++
		}
		letters = p.flow.holdLetters(p.queue[:n])
		p.queue = append([]*letter(nil), p.queue[n:]...)
	}
	return letters, p.closed && len(p.queue) == 0
}

func (p *postman) putBack(letters []*letter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, letters...)
}

// run sends letters until close was called and all are sent, or ctx ends.
func (p *postman) run(ctx context.Context) error {
	var backoff retry.Backoff
	defer p.giveUpLate()
	for {
		letters, closed := p.next()
		var failed []*letter
		moved := false
		if len(letters) > 0 {
			failed = p.round(ctx, letters)
		} else {
			moved = p.catchUp(ctx, closed)
		}
		wait, wake := time.Duration(0), p.wake
		switch {
		case len(failed) > 0:
			p.putBack(failed)
			if backoff == nil {
				backoff = p.retry.outage()
			}
			wait, _ = backoff.Next()
			wake = nil
		case len(letters) > 0:
			backoff = nil
			continue
		case closed:
			return nil
		case moved:
			continue
		default:
			backoff = nil
			if !p.late.empty() || p.copies() { // the retry engine may bury letters at any time
				wait = p.retry.MaxDelay
			}
		}
		if err := sleepOr(ctx, wait, wake); err != nil {
			return err
		}
	}
}

// giveUpLate says, at the end, which letters stay without their other form.
func (p *postman) giveUpLate() {
	if n := len(p.late.letters); n > 0 {
		p.stats.count(func(s *Stats) { s.HalfLetters += int64(n) })
		p.log.Error("letters stay in their topic alone: the worker stops, and the directory doesn't take them", "letters", n)
	}
}

// round tries to send letters, which are in hand, and returns those that have to wait, out of hand again.
func (p *postman) round(ctx context.Context, letters []*letter) (failed []*letter) {
	p.recall(ctx, letters)
	p.sendForms(ctx, letters)
	var sent []*letter
	for _, l := range letters {
		if p.safe(l) {
			sent = append(sent, l)
			if p.missing(l) {
				p.keepLate(l)
			}
			p.remember(l)
		} else {
			failed = append(failed, l)
		}
	}
	p.flow.lettersDone(p.book.take(sent), failed)
	p.moved()
	return failed
}

// safe reports whether the letter is kept where it counts.
func (p *postman) safe(l *letter) bool {
	return l.inTopic && (!l.stubbed || l.inDir) || l.inDir && (p.dirSuffices || p.topic == nil)
}

// missing reports whether a letter that is safe is still to be written to the directory. What is to be copied from there
// to the topic is known to the directory itself.
func (p *postman) missing(l *letter) bool { return p.dir != nil && !l.inDir }

// sendForms writes each letter in the forms that it isn't written in yet.
func (p *postman) sendForms(ctx context.Context, letters []*letter) {
	if p.topic != nil {
		err := sendForm(ctx, p.topic, letters, inTopic)
		p.failed("topic", err, func(s *Stats) { s.TopicErrors++ })
	}
	if p.dir != nil {
		err := sendForm(ctx, p.dir, letters, inDir)
		p.failed("directory", err, func(s *Stats) { s.DirErrors++ })
	}
}

func (p *postman) failed(form string, err error, count func(*Stats)) {
	if err != nil {
		p.stats.count(count)
		p.log.Error("letters can't be written; they are tried again", "form", form, "err", err)
	}
}

func inTopic(l *letter) *bool { return &l.inTopic }
func inDir(l *letter) *bool   { return &l.inDir }

// sendForm writes in one form the letters that miss it. Some may get through where others fail.
func sendForm(ctx context.Context, form letterForm, letters []*letter, has func(*letter) *bool) error {
	var todo []*letter
	for _, l := range letters {
		if !*has(l) {
			todo = append(todo, l)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, letterLimit)
	defer cancel()
	failed, err := form.put(ctx, todo)
	for i, l := range todo {
		*has(l) = err == nil || failed != nil && !failed[i]
	}
	return err
}
