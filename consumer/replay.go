package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
)

// Replay reads a range of topics beside the group that lives on them, and stores what it reads as a worker does:
// what is stored already changes nothing, and what retention or an erasure has removed stays removed. It commits
// nothing.
type Replay struct {
	// Kafka says how to reach the brokers. Required.
	Kafka kafkaclient.Config
	// Topics to read, given by names or patterns as in [Config]; those that are there as of the call. Required.
	Topics []string
	// Partitions of them; none: all.
	Partitions []int32
	// From and To bound the records by their time in Kafka, as its index of time has it: from the first one of
	// From or later, up to the first one of To or later. Zero: from the first that is there, up to the end
	// as of the call.
	From, To time.Time
	// Tenant whose events; nil: all.
	Tenant *string

	// Sink stores the events. Required. It belongs to the caller.
	Sink sinkers.Sinker
	// LetterTopic and LetterDir take what can't be stored, under the id that its letter has already if the
	// worker met it, too. Default: neither, and it is only counted.
	LetterTopic string
	LetterDir   *dlq.Dir

	// Batch says how much is written at a time; its FlushInterval isn't used.
	Batch Batch
	// Retry says how often a failed write is tried again. An outage is waited for, until ctx ends.
	Retry Retry
	// Logger receives what happens. Default: none.
	Logger *slog.Logger
	// OnProgress is called after each write, with the report so far. It must be quick. Default none.
	OnProgress func(ReplayReport)
}

// ReplayReport says what a replay came to.
type ReplayReport struct {
	Read    int64 // records read
	Skipped int64 // of those, the ones of other tenants
	Total   int64 // offsets from the beginning to the end of the range, all partitions together
	Lost    int64 // of those, the ones that Kafka deleted before they were read

	Stored     int64 // events that were not in the sink
	Duplicates int64 // events that were
	Expired    int64 // events that the retention refuses
	Erased     int64 // events that an erasure covers
	Conflicts  int64 // events whose id is stored with other content; they are letters too

	Letters    map[string]int64 // records that can't be stored, by reason
	Partitions []ReplayPartition
}

// ReplayPartition is how far a replay is in one partition: its records below At are dealt with.
type ReplayPartition struct {
	Topic        string
	Partition    int32
	From, To, At int64
}

// Done reports whether all of the range is dealt with.
func (r *ReplayReport) Done() bool {
	return !slices.ContainsFunc(r.Partitions, func(p ReplayPartition) bool { return p.At < p.To })
}

// Validate reports everything that is wrong, each problem beginning with its field's name.
func (r Replay) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := r.Kafka.Validate(); err != nil {
		bad("kafka: %w", err)
	}
	if len(r.Topics) == 0 {
		bad("topics: missing; name at least one")
	}
	if r.Sink == nil {
		bad("sink: missing; open one of the packages under sinkers")
	}
	if !r.From.IsZero() && !r.To.IsZero() && !r.From.Before(r.To) {
		bad("from: %s is not before to", r.From.Format(time.RFC3339))
	}
	return errors.Join(errs...)
}

// Run reads and stores, and returns when the end of the range is, with nil, or when ctx ends or something fails that
// waiting doesn't mend. The report is good in any case; what was under way is neither in it nor lost.
func (r Replay) Run(ctx context.Context) (ReplayReport, error) {
	if err := r.Validate(); err != nil {
		return ReplayReport{}, fmt.Errorf("consumer: replay: %w", err)
	}
	defaults := Config{Kafka: r.Kafka, Topics: r.Topics, Batch: r.Batch, Retry: r.Retry, Logger: r.Logger}.withDefaults()
	r.Batch, r.Retry, r.Logger = defaults.Batch, defaults.Retry, defaults.Logger
	p := &replaying{Replay: r, store: newStore(r.Sink, r.Retry), parts: map[source]*replayPart{}}
	p.report.Letters = map[string]int64{}
	err := p.run(ctx)
	if err != nil {
		err = fmt.Errorf("consumer: replay: %w", err)
	}
	return p.snapshot(), err
}

// replaying is a Replay under way. It is its own ruling on rows.
type replaying struct {
	Replay
	store  *store
	post   replayPost
	report ReplayReport
	parts  map[source]*replayPart
	left   int // partitions that are not read to their end
	filled batch
	held   []*letter // of the batch being written
	open   undecided // whose rows those are
	unsure []error   // rows that failed by themselves, without proof that they are at fault
}

// replayPart is a partition that is read.
type replayPart struct {
	partition
	from, to int64
	at, next int64 // what is dealt with, and what is read
}

func (r *replaying) run(ctx context.Context) error {
	opts, err := r.Kafka.Opts()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(slices.Concat(opts, []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(fetchWait), kgo.FetchMaxBytes(maxFetch),
		kgo.ProducerBatchMaxBytes(maxLetter), kgo.ProducerLinger(0),
	})...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	if r.Topics, err = findTopics(ctx, cl, r.Topics); err == nil {
		err = r.span(ctx, kadm.NewClient(cl))
	}
	if err != nil {
		return err
	}
	r.post = replayPost{retry: r.Retry, log: r.Logger, from: func(p *partition) int64 { return r.parts[p.source].from }}
	if r.LetterTopic != "" {
		r.post.topic = topicForm{topic: dlq.NewTopic(cl, r.LetterTopic), stub: r.LetterDir != nil}
	}
	if r.LetterDir != nil {
		r.post.dir = dirForm{r.LetterDir}
	}
	from := map[string]map[int32]kgo.Offset{}
	for s, p := range r.parts {
		if p.from < p.to {
			if from[s.topic] == nil {
				from[s.topic] = map[int32]kgo.Offset{}
			}
			from[s.topic][s.partition] = kgo.NewOffset().At(p.from)
			r.left++
		}
	}
	if r.left == 0 {
		return nil
	}
	cl.AddConsumePartitions(from)
	return r.read(ctx, cl)
}

// span works out the offsets to read.
func (r *replaying) span(ctx context.Context, adm *kadm.Client) error {
	starts, ends, err := bounds(ctx, adm, r.Topics)
	if err != nil {
		return err
	}
	after := func(t time.Time) (at kadm.ListedOffsets, err error) {
		if !t.IsZero() {
			at, err = adm.ListOffsetsAfterMilli(ctx, t.UnixMilli(), r.Topics...)
			err = errors.Join(err, at.Error())
		}
		return at, err
	}
	froms, errFrom := after(r.From)
	tos, errTo := after(r.To)
	if err := errors.Join(errFrom, errTo, unknownPartitions(slices.Sorted(slices.Values(r.Partitions)), r.Topics, ends)); err != nil {
		return err
	}
	ends.Each(func(end kadm.ListedOffset) {
		if len(r.Partitions) > 0 && !slices.Contains(r.Partitions, end.Partition) {
			return
		}
		s := source{end.Topic, end.Partition}
		start, _ := starts.Lookup(s.topic, s.partition)
		p := &replayPart{partition: partition{source: s}, from: start.Offset, to: end.Offset}
		if o, ok := froms.Lookup(s.topic, s.partition); ok {
			p.from = max(p.from, o.Offset)
		}
		if o, ok := tos.Lookup(s.topic, s.partition); ok {
			p.to = min(p.to, o.Offset)
		}
		p.to = max(p.to, p.from)
		p.at, p.next = p.from, p.from
		r.report.Total += p.to - p.from
		r.parts[s] = p
	})
	return nil
}

// replayIdle is how long a read that yields nothing waits before it asks whether what it waits for is still there.
const replayIdle = 2 * time.Second

// read reads until every partition is at its end, and writes a batch whenever one is full.
func (r *replaying) read(ctx context.Context, cl *kgo.Client) error {
	for r.left > 0 {
		wait, cancel := context.WithTimeout(ctx, replayIdle)
		fetches := cl.PollRecords(wait, r.Batch.MaxSize)
		idle := wait.Err() != nil && fetches.NumRecords() == 0
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if idle {
			if err := r.dropGone(ctx, kadm.NewClient(cl)); err != nil {
				r.Logger.Warn("nothing to read, and the brokers don't say why", "err", err)
			}
			continue
		}
		if err := r.errors(fetches); err != nil {
			return err
		}
		for _, fetch := range fetches {
			for i := range fetch.Topics {
				if err := r.takeAll(ctx, &fetch.Topics[i]); err != nil {
					return err
				}
			}
		}
	}
	return r.flush(ctx)
}

// errors returns the error of a poll that waiting doesn't mend.
func (r *replaying) errors(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if err := explainFatal(Config{Topics: r.Topics, LetterTopic: r.LetterTopic}, e.Err); err != nil {
			return err
		}
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			r.Logger.Warn("fetching failed; it is tried again", "topic", e.Topic, "partition", e.Partition, "err", e.Err)
		}
	}
	return nil
}

// dropGone ends the partitions of which Kafka has deleted all that was still to be read.
func (r *replaying) dropGone(ctx context.Context, adm *kadm.Client) error {
	starts, err := adm.ListStartOffsets(ctx, r.Topics...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return err
	}
	for s, p := range r.parts {
		if start, ok := starts.Lookup(s.topic, s.partition); ok && start.Offset >= p.to {
			r.begins(p, start.Offset)
		}
	}
	return nil
}

// begins says that Kafka has no records of p below start any more.
func (r *replaying) begins(p *replayPart, start int64) {
	start = min(start, p.to)
	lost := start - p.next
	if lost <= 0 {
		return
	}
	r.Logger.Error("Kafka deleted records before the replay came to them", "topic", p.topic, "partition", p.partition.partition,
		"offset", p.next, "offsets", lost)
	r.report.Lost += lost
	if p.next = start; start == p.to {
		r.left--
	}
}

func (r *replaying) takeAll(ctx context.Context, t *kgo.FetchTopic) error {
	for i := range t.Partitions {
		p := r.parts[source{t.Topic, t.Partitions[i].Partition}]
		p.topicID = t.TopicID
		records := t.Partitions[i].Records
		if len(records) > 0 { // it may have been read before it was deleted
			r.begins(p, min(t.Partitions[i].LogStartOffset, records[0].Offset))
		}
		for _, rec := range records {
			if err := r.take(ctx, p, rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// take takes a record in.
func (r *replaying) take(ctx context.Context, p *replayPart, rec *kgo.Record) error {
	if p.next >= p.to {
		return nil // it is at its end
	}
	if p.next = rec.Offset + 1; p.next >= p.to {
		r.left--
	}
	if rec.Offset >= p.to || rec.Attrs.IsControl() {
		return nil
	}
	r.report.Read++
	if r.Tenant != nil && string(rec.Key) != *r.Tenant {
		r.report.Skipped++
		return nil
	}
	size := recordBytes(rec)
	r.filled.add(item{part: &p.partition, size: memory(size), rec: rec}, size)
	if r.filled.len() < r.Batch.MaxSize && r.filled.bytes < r.Batch.MaxBytes {
		return nil
	}
	return r.flush(ctx)
}

// flush writes what was taken in, and its letters.
func (r *replaying) flush(ctx context.Context) error {
	b := r.filled
	r.filled, r.held = batch{}, nil
	if b.len() > 0 {
		rest, letters := decodeBatch(&b, make([]sinkers.Row, b.len()), time.Now(), runtime.GOMAXPROCS(0))
		r.held = letters
		if err := r.write(ctx, rest); err != nil {
			return err
		}
		if err := r.post.send(ctx, r.held); err != nil {
			return err
		}
		if err := r.note(ctx); err != nil {
			return err
		}
	}
	for _, l := range r.held {
		r.report.Letters[l.reason]++
	}
	for _, p := range r.parts {
		if p.at = p.next; p.at >= p.to {
			p.at = p.to
		}
	}
	if r.OnProgress != nil {
		r.OnProgress(r.snapshot())
	}
	return nil
}

func (r *replaying) snapshot() ReplayReport {
	s := r.report
	s.Letters = make(map[string]int64, len(r.report.Letters))
	for reason, n := range r.report.Letters {
		s.Letters[reason] = n
	}
	s.Partitions = nil
	for _, p := range r.parts {
		s.Partitions = append(s.Partitions, ReplayPartition{Topic: p.topic, Partition: p.partition.partition, From: p.from, To: p.to, At: p.at})
	}
	slices.SortFunc(s.Partitions, func(a, b ReplayPartition) int {
		return compareSources(source{a.Topic, a.Partition}, source{b.Topic, b.Partition})
	})
	return s
}
