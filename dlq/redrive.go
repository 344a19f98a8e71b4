package dlq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"
)

// DefaultMaxRedrives is the default of Redrive.MaxRedrives.
const DefaultMaxRedrives = 3

// HeaderRedrives holds how often a record was redriven, in decimal. A redriven record has it behind the original's
// headers, with HeaderLetterID, the id of the letter that it was, and HeaderAttempts.
const HeaderRedrives = "firetrail.redrives"

// Redrive sends dead letters back to the topics they came from: key, value and headers as they were. A letter
// that waits in a directory is left to the retry engine.
type Redrive struct {
	// View of the letters. Required.
	View View
	// Client sends them; it is the caller's, who closes it. Required unless DryRun.
	Client *kgo.Client
	// Journal keeps what was sent; a letter that is in it isn't sent again. Required.
	Journal *Journal
	// Filter chooses the letters.
	Filter Filter
	// Limit is the most letters to send. Default 0: no limit.
	Limit int
	// Rate is the most letters a second. Default 0: no limit.
	Rate float64
	// MaxRedrives is how often a record may be redriven: one that has been, and is a letter again, stays one.
	// Default 3; negative: as often as one likes.
	MaxRedrives int
	// DryRun sends nothing and tells what would be sent.
	DryRun bool
	// Timeout bounds how long the broker may leave a letter unanswered. Default 30 s.
	Timeout time.Duration
	// OnLetter is called for each letter that the filter chose, with what became of it, and of one that was refused
	// the broker's reason. Nil: nobody is told.
	OnLetter func(e *Entry, o RedriveOutcome, reason error)
}

// RedriveOutcome says what became of a letter in a Redrive.
type RedriveOutcome string

// The outcomes of a redrive.
const (
	RedriveSent       RedriveOutcome = "sent"         // it is in its topic again; in a dry run: it would be sent
	RedriveAlready    RedriveOutcome = "already-sent" // an earlier redrive has sent it
	RedriveSucceeded  RedriveOutcome = "superseded"   // it was redriven, failed again, and is a later letter now
	RedriveLooping    RedriveOutcome = "looping"      // it was redriven MaxRedrives times
	RedriveWaiting    RedriveOutcome = "waiting"      // the retry engine tries it again
	RedriveIncomplete RedriveOutcome = "incomplete"   // its bytes, or where it came from, are not known
	RedriveRefused    RedriveOutcome = "refused"      // the broker refuses it
)

// RedriveReport counts letters by what became of them. What the filter left out isn't counted.
type RedriveReport map[RedriveOutcome]int

// redriveBatch is the most letters that are sent before the journal is written.
const (
	redriveBatch      = 500
	redriveBatchBytes = 4 << 20
)

// Run redrives until all letters of the view are dealt with, or Limit is reached. A broker that doesn't answer
// ends it with an error, as ctx does; run again with the same journal, it goes on where it stopped. Of what was
// under way then, at the most a second's letters or 500, some may be sent twice.
func (r Redrive) Run(ctx context.Context) (RedriveReport, error) {
	run := redriveRun{Redrive: r, report: RedriveReport{}, refusing: map[string]error{}, size: redriveBatch}
	if run.MaxRedrives == 0 {
		run.MaxRedrives = DefaultMaxRedrives
	}
	if run.Timeout <= 0 {
		run.Timeout = DefaultTopicTimeout
	}
	run.limit = rate.NewLimiter(rate.Inf, 1)
	if r.Rate > 0 {
		run.limit = rate.NewLimiter(rate.Limit(r.Rate), 1)
		run.size = min(max(int(r.Rate), 1), redriveBatch)
	}
	err := run.all(ctx)
	if err != nil {
		err = fmt.Errorf("dlq: redrive: %w", err)
	}
	return run.report, err
}

type redriveRun struct {
	Redrive
	report   RedriveReport
	limit    *rate.Limiter
	size     int              // letters a batch
	refusing map[string]error // topics that were asked for; those that take nothing with the reason
	batch    []Entry
	bytes    int
	chosen   int // sent, or about to be
}

func (r *redriveRun) all(ctx context.Context) error {
	for e, err := range r.View.Letters(ctx) {
		if err != nil {
			return errors.Join(err, r.flush(ctx))
		}
		if !r.Filter.Match(&e.Letter) {
			continue
		}
		if o := r.judge(&e); o != RedriveSent {
			r.tell(&e, o, nil)
			continue
		}
		if r.DryRun {
			r.tell(&e, RedriveSent, nil)
		} else if err := r.topic(ctx, e.Topic); err != nil {
			if !refusesTopic(err) {
				return errors.Join(err, r.flush(ctx))
			}
			r.tell(&e, RedriveRefused, err)
			continue
		} else {
			r.batch = append(r.batch, e)
			r.bytes += len(e.Value)
			if len(r.batch) >= r.size || r.bytes >= redriveBatchBytes {
				if err := r.flush(ctx); err != nil {
					return err
				}
			}
		}
		if r.chosen++; r.chosen == r.Limit {
			break
		}
	}
	return r.flush(ctx)
}

// topic asks once for each topic whether it is there: the client itself would wait for it.
func (r *redriveRun) topic(ctx context.Context, name string) error {
	if err, ok := r.refusing[name]; ok {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	topics, err := kadm.NewClient(r.Client).ListTopics(ctx, name)
	if err != nil {
		return fmt.Errorf("asking for topic %s: %w", name, err)
	}
	r.refusing[name] = topics[name].Err
	return topics[name].Err
}

func (r *redriveRun) tell(e *Entry, o RedriveOutcome, reason error) {
	r.report[o]++
	if r.OnLetter != nil {
		r.OnLetter(e, o, reason)
	}
}

// judge returns RedriveSent for a letter that is to be sent, and otherwise why it isn't.
func (r *redriveRun) judge(e *Entry) RedriveOutcome {
	switch _, sent := r.Journal.Sent(e.ID); {
	case sent:
		return RedriveAlready
	case e.Successor != "":
		return RedriveSucceeded
	case e.Kind == Waiting:
		return RedriveWaiting
	case e.Topic == "" || e.Stub:
		return RedriveIncomplete
	case r.MaxRedrives > 0 && e.Redrives() >= r.MaxRedrives:
		return RedriveLooping
	}
	return RedriveSent
}

// flush sends the batch, and keeps in the journal what the broker has acknowledged of it.
func (r *redriveRun) flush(ctx context.Context) error {
	batch := r.batch
	r.batch, r.bytes = nil, 0
	sent, err := r.send(ctx, batch)
	if len(sent) > 0 {
		err = errors.Join(err, r.Journal.Add(sent))
	}
	return err
}

// send sends letters, and those that came back once more, each by itself: what is refused takes others with it.
func (r *redriveRun) send(ctx context.Context, batch []Entry) (sent []Redriven, err error) {
	records := make([]*kgo.Record, len(batch))
	for i := range batch {
		if err := r.limit.Wait(ctx); err != nil {
			batch, records = batch[:i], records[:i]
			break // what the rate has let pass is sent
		}
		records[i] = batch[i].redriveRecord()
	}
	errs := r.produce(ctx, records)
	for i := range batch {
		e := &batch[i]
		if errs[i] != nil && err == nil && ctx.Err() == nil {
			records[i], errs[i] = r.alone(ctx, e)
		}
		switch {
		case errs[i] == nil:
			rec := records[i]
			sent = append(sent, Redriven{
				LetterID: e.ID, Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: time.Now(),
			})
			r.tell(e, RedriveSent, nil)
		case isRefusal(errs[i]):
			r.tell(e, RedriveRefused, errs[i])
		case err == nil: // the others may have been acknowledged all the same
			err = fmt.Errorf("letter %s: %w", e.ID, errs[i])
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return sent, err
}

// alone sends one letter, unless its topic takes none.
func (r *redriveRun) alone(ctx context.Context, e *Entry) (*kgo.Record, error) {
	if err := r.refusing[e.Topic]; err != nil {
		return nil, err
	}
	rec := e.redriveRecord()
	err := r.produce(ctx, []*kgo.Record{rec})[0]
	if refusesTopic(err) {
		r.refusing[e.Topic] = err
	}
	return rec, err
}

// produce sends records, and returns for each what the broker said, in time.
func (r *redriveRun) produce(ctx context.Context, records []*kgo.Record) []error {
	errs := make([]error, len(records))
	answers := make(chan answer, len(records))
	// A record's own context must not end: it would fail whatever else the client holds for its partition.
	own := context.WithoutCancel(ctx)
	for i, rec := range records {
		errs[i] = errNoAnswer
		r.Client.Produce(own, rec, func(_ *kgo.Record, err error) { answers <- answer{i, err} })
	}
	wait, cancel := context.WithTimeout(own, r.Timeout)
	defer cancel()
	for range records {
		select {
		case a := <-answers:
			errs[a.index] = a.err
		case <-wait.Done():
			return errs
		}
	}
	return errs
}

// redriveRecord is the record that the letter was made of, for its topic.
func (l *Letter) redriveRecord() *kgo.Record {
	rec := &kgo.Record{Topic: l.Topic, Key: l.Key, Value: l.Value}
	for _, h := range l.Headers {
		if h.Key != HeaderLetterID && h.Key != HeaderAttempts && h.Key != HeaderRedrives {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	n, _ := l.redriven()
	add := func(key, value string) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	add(HeaderLetterID, l.ID)
	add(HeaderAttempts, strconv.Itoa(l.Attempts))
	add(HeaderRedrives, strconv.Itoa(n+1))
	if l.timeFromKafka() {
		rec.Timestamp = l.Time
	}
	return rec
}

// Earlier returns how often the record was tried before it was redriven; 0 where it was not.
func (l *Letter) Earlier() int {
	if n, _ := l.redriven(); n == 0 {
		return 0
	}
	attempts := 0
	for _, h := range l.Headers {
		if h.Key == HeaderAttempts {
			attempts, _ = strconv.Atoi(string(h.Value))
		}
	}
	return max(attempts, 0)
}

// redriven returns how often the letter's record was redriven, and the id of the letter it was then.
func (l *Letter) redriven() (n int, from string) {
	for _, h := range l.Headers {
		switch h.Key {
		case HeaderRedrives:
			n, _ = strconv.Atoi(string(h.Value)) // what isn't ours counts as none
		case HeaderLetterID:
			from = string(h.Value)
		}
	}
	return n, from
}
