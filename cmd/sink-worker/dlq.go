package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
)

type dlqCmd struct {
	List    dlqListCmd    `cmd:"" help:"List dead letters, the newest first."`
	Show    dlqShowCmd    `cmd:"" help:"Show all of one letter."`
	Redrive dlqRedriveCmd `cmd:"" help:"Send letters back to the topics they came from."`
	Purge   dlqPurgeCmd   `cmd:"" help:"Delete letters for good."`
}

// defaultLetterDir is run's, which is looked at where it is there and no other is named.
var defaultLetterDir = filepath.Join(".firetrail", "dlq")

// letterSettings say where letters are: in a directory, in a topic, or in both, which are shown as one.
type letterSettings struct {
	kafkaSettings

	Topics      []string `group:"kafka" default:"audit.events" help:"Topics of events; the first names the topic of letters."`
	LetterTopic string   `aliases:"topic" group:"letters" placeholder:"NAME" help:"Topic of letters, read where brokers are given (the first topic's name + .dlq); - for none."`
	DLQDir      string   `name:"dlq-dir" aliases:"dir" group:"letters" placeholder:"DIR" help:"Directory of letters (.firetrail/dlq, if it is there)."`
	Journal     string   `flagonly:"" group:"letters" placeholder:"FILE" help:"What was redriven already (redriven.journal in the directory, or in .firetrail)."`
}

// letterFilter chooses letters.
type letterFilter struct {
	ID     string  `flagonly:"" group:"filter" placeholder:"ID" help:"The letter of this id."`
	Tenant *string `flagonly:"" group:"filter" placeholder:"NAME" help:"Letters of this tenant; an empty name is the default one."`
	Reason string  `flagonly:"" group:"filter" placeholder:"REASON" help:"Letters of this reason, such as undecodable, refused, conflict."`

	OriginTopic     string `flagonly:"" group:"filter" placeholder:"NAME" help:"Letters whose records came from this topic."`
	OriginPartition string `flagonly:"" group:"filter" placeholder:"N" help:"Letters whose records came from this partition."`

	Since cli.Time `flagonly:"" group:"filter" placeholder:"TIME" help:"Failed first at this time or later: 2006-01-02T15:04:05Z, 2006-01-02, or how long ago (24h)."`
	Until cli.Time `flagonly:"" group:"filter" placeholder:"TIME" help:"Failed first before this time."`
}

func (f *letterFilter) filter(p *cli.Problems) dlq.Filter {
	if !f.Until.IsZero() && !f.Since.Before(f.Until.Time) {
		p.Add("since", "%s is not before until", f.Since.Format(time.RFC3339))
	}
	filter := dlq.Filter{
		ID: f.ID, Tenant: f.Tenant, Reason: f.Reason, Topic: f.OriginTopic, Since: f.Since.Time, Until: f.Until.Time,
	}
	if f.OriginPartition != "" {
		n, err := strconv.ParseInt(f.OriginPartition, 10, 32)
		if err != nil || n < 0 {
			p.Add("origin-partition", "%q is not the number of a partition", f.OriginPartition)
		}
		partition := int32(n)
		filter.Partition = &partition
	}
	return filter
}

// letters is what the settings come to.
type letters struct {
	view    dlq.View
	dir     string
	topic   string
	kafka   []kgo.Opt
	journal string
}

// check notes what is wrong with the settings. Nothing is opened yet.
func (s *letterSettings) check(p *program) (l letters) {
	problems := &p.command.Problems
	if l.dir = s.DLQDir; l.dir == "" {
		if _, err := os.Stat(defaultLetterDir); err == nil {
			l.dir = defaultLetterDir
		}
	}
	if len(s.Brokers) > 0 {
		t := topicSettings{Topics: s.Topics, LetterTopic: s.LetterTopic}
		if t.check(problems); t.LetterTopic != consumer.NoLetterTopic {
			l.topic = t.LetterTopic
		}
		if opts, err := s.config(p).Opts(); err == nil {
			l.kafka = opts
		}
	}
	if l.journal = s.Journal; l.journal == "" {
		l.journal = filepath.Join(filepath.Dir(defaultLetterDir), "redriven.journal")
		if l.dir != "" {
			l.journal = filepath.Join(l.dir, "redriven.journal")
		}
	}
	if l.dir == "" && l.topic == "" {
		problems.Add("dlq-dir", "missing; name the directory of letters, or give brokers for their topic, or both")
	}
	return l
}

// open opens the view, where the command line has no problems. What can't be read in it is noted. end is to be called
// only where there is no error.
func (l *letters) open(ctx context.Context, p *program, readOnly bool) (end func(), err error) {
	if err := p.command.Problems.Err(); err != nil {
		return nil, err
	}
	end = func() {}
	if l.dir != "" {
		if _, err := os.Stat(l.dir); err != nil { // a misspelt one must not be made
			return nil, fmt.Errorf("dlq-dir: %w", err)
		}
		d, err := dlq.OpenDir(dlq.DirConfig{Path: l.dir, ReadOnly: readOnly, Logger: p.log})
		if err != nil {
			return nil, fmt.Errorf("dlq-dir: %w", err)
		}
		end = func() { _ = d.Close() }
		l.view.Dir = d
	}
	if l.topic != "" {
		if err := ping(ctx, l.kafka); err != nil {
			end()
			return nil, err
		}
		l.view.Topic, l.view.Kafka = l.topic, l.kafka
	}
	problems := 0
	l.view.OnProblem = func(err error) {
		const most = 5
		if problems++; problems <= most {
			p.note("warning: %s", err)
		} else if problems == most+1 {
			p.note("warning: there is more of that")
		}
	}
	return end, nil
}

// withKafkaClient calls f with a client of brokers that answer.
func withKafkaClient(ctx context.Context, opts []kgo.Opt, f func(*kgo.Client) error) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := checkBrokers(ctx, cl); err != nil {
		return err
	}
	return f(cl)
}

func ping(ctx context.Context, opts []kgo.Opt) error {
	return withKafkaClient(ctx, opts, func(*kgo.Client) error { return nil })
}

// letterState is what may become of a letter.
func letterState(e *dlq.Entry, sent map[string]dlq.Redriven) string {
	_, redriven := sent[e.ID]
	switch {
	case e.Successor != "":
		return string(dlq.RedriveSucceeded)
	case redriven:
		return "redriven"
	default:
		return e.Kind.String()
	}
}

// keptIn says in which forms a letter is kept.
func keptIn(e *dlq.Entry) string {
	switch {
	case e.File != "" && e.InTopic:
		return "file+topic"
	case e.File != "":
		return "file"
	default:
		return "topic"
	}
}

func origin(l *dlq.Letter) string {
	switch {
	case l.Topic == "":
		return "unknown"
	case l.Partition < 0:
		return l.Topic
	default:
		return fmt.Sprintf("%s[%d]@%d", l.Topic, l.Partition, l.Offset)
	}
}

// stopped says of a command that a signal ended in the middle how to go on.
func stopped(ctx context.Context, err error, goOn string) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("stopped; %s", goOn)
	}
	return err
}
