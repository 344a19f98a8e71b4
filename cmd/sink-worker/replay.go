package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/time/rate"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
)

type replayCmd struct {
	kafkaSettings
	topicSettings

	Group string `group:"kafka" default:"firetrail-sink" help:"Consumer group of the workers."`

	ToBeginning  bool         `flagonly:"" group:"rewind" help:"Read again from the first record that is there."`
	ToTime       cli.Time     `flagonly:"" group:"rewind" placeholder:"TIME" help:"Read again from this time in Kafka, skipping nothing unread: 2006-01-02T15:04:05Z, 2006-01-02, or how long ago (24h)."`
	ToOffset     []string     `flagonly:"" group:"rewind" placeholder:"P=OFFSET" help:"Read again from an offset for each partition named."`
	Wait         cli.Duration `flagonly:"" group:"rewind" default:"1m" help:"Longest to wait for static members that may have been killed."`
	RemoveMember []string     `flagonly:"" group:"rewind" placeholder:"ID" help:"Take these static members, which are stopped, out of the group, by instance id."`
	DryRun       bool         `flagonly:"" group:"rewind" help:"Change nothing; show where each partition would go."`

	Direct bool     `flagonly:"" group:"direct" help:"Read beside the group, which may run, and write to the database. SQLite has one writer: this waits for its turn."`
	From   cli.Time `flagonly:"" group:"direct" placeholder:"TIME" help:"Records from this time in Kafka on (the first)."`
	To     cli.Time `flagonly:"" group:"direct" placeholder:"TIME" help:"Records before this time in Kafka (now)."`
	Tenant *string  `flagonly:"" group:"direct" placeholder:"NAME" help:"Only events of this tenant; an empty name is the default one."`
	DLQDir string   `name:"dlq-dir" group:"direct" placeholder:"DIR" help:"Directory of dead letters, beside their topic (none)."`

	Partition []string `flagonly:"" group:"page" placeholder:"N" help:"Only these partitions."`
	Output    string   `flagonly:"" group:"page" short:"o" default:"table" choice:"table,json" help:"table, or json: an object."`

	sinkSettings
	keepSettings
}

func (p *program) replay(ctx context.Context, c *replayCmd) error {
	problems := &p.command.Problems
	kafka := c.config(p)
	if c.LetterTopic == consumer.NoLetterTopic {
		checkGroup(problems, c.Group, c.Topics)
	} else {
		c.topicSettings.check(problems)
	}
	partitions := c.partitions(problems)
	if c.Direct {
		return p.replayDirect(ctx, c, kafka, partitions)
	}
	return p.rewind(ctx, c, kafka, partitions)
}

func (c *replayCmd) partitions(problems *cli.Problems) (ps []int32) {
	for _, s := range c.Partition {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			problems.Add("partition", "%q is not the number of a partition", s)
		}
		ps = append(ps, int32(n))
	}
	return ps
}

// rewindTo returns where the group is to go.
func (c *replayCmd) rewindTo(problems *cli.Problems) (offsets map[int32]int64) {
	given := 0
	for _, is := range []bool{c.ToBeginning, !c.ToTime.IsZero(), len(c.ToOffset) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given != 1 && !problems.Has("to-time"):
		problems.Add("to-beginning", "give exactly one of --to-beginning, --to-time and --to-offset, or --direct")
	case len(c.ToOffset) > 0 && (len(c.Topics) > 1 || kafkaclient.HasPattern(c.Topics)):
		problems.Add("to-offset", "offsets are of one topic; name it alone in --topics")
	case len(c.ToOffset) > 0 && len(c.Partition) > 0:
		problems.Add("partition", "--to-offset names them")
	}
	for name, set := range map[string]bool{"from": !c.From.IsZero(), "to": !c.To.IsZero(), "tenant": c.Tenant != nil} {
		if set {
			problems.Add(name, "set, but a group is rewound as a whole; give --direct")
		}
	}
	offsets = map[int32]int64{}
	for _, s := range c.ToOffset {
		part, offset, _ := strings.Cut(s, "=")
		n, err1 := strconv.ParseInt(part, 10, 32)
		o, err2 := strconv.ParseInt(offset, 10, 64)
		switch before, twice := offsets[int32(n)]; {
		case err1 != nil || err2 != nil || n < 0 || o < 0:
			problems.Add("to-offset", "%q is not PARTITION=OFFSET, such as 3=4711", s)
		case twice && before != o:
			problems.Add("to-offset", "partition %d is given twice, with %d and %d; choose one", n, before, o)
		}
		offsets[int32(n)] = o
	}
	return offsets
}

func (p *program) rewind(ctx context.Context, c *replayCmd, kafka kafkaclient.Config, partitions []int32) error {
	problems := &p.command.Problems
	if c.Group == "" {
		problems.Add("group", "missing; name the consumer group")
	}
	r := consumer.Rewind{
		Kafka: kafka, Group: c.Group, Topics: c.Topics, Partitions: partitions,
		ToBeginning: c.ToBeginning, ToTime: c.ToTime.Time, ToOffsets: c.rewindTo(problems),
		Wait: c.Wait.Duration, Remove: c.RemoveMember, DryRun: c.DryRun,
	}
	if r.Wait == 0 {
		r.Wait = -1
	}
	if err := problems.Err(); err != nil {
		return err
	}
	r.OnWait = func(members []consumer.GroupMember) {
		for _, m := range members {
			p.note("waiting up to %s for %s: its session may end; if it is stopped, --remove-member %s is quicker", r.Wait, m, m.InstanceID)
		}
	}
	opts, err := kafka.Opts()
	if err == nil {
		err = ping(ctx, opts)
	}
	if err != nil {
		return err
	}
	moves, err := r.Run(ctx)
	if err != nil {
		return err
	}
	if err := printMoves(p.stdout, c.Output, moves); err != nil {
		return err
	}
	for _, m := range moves {
		if n := m.Lost(); n > 0 {
			p.note("warning: %s[%d]: Kafka deleted %d offsets from %d on before the group read them", m.Topic, m.Partition, n, m.From)
		}
		if n := m.Skipped(); n > 0 {
			p.note("warning: %s[%d]: %d offsets from %d on were not read yet, and are skipped; --to-offset %d=%d reads them", m.Topic, m.Partition, n, m.Unread(), m.Partition, m.Unread())
		}
	}
	if c.DryRun {
		p.note("nothing was changed: this was a dry run")
	} else {
		p.note("group %s reads on there as soon as a worker starts", c.Group)
	}
	return nil
}

func printMoves(w io.Writer, output string, moves []consumer.Move) error {
	if output == "json" {
		type move struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			From      int64  `json:"from"`
			To        int64  `json:"to"`
			Start     int64  `json:"start"`
			End       int64  `json:"end"`
		}
		out := []move{}
		for _, m := range moves {
			out = append(out, move{m.Topic, m.Partition, m.From, m.To, m.Start, m.End})
		}
		return json.NewEncoder(w).Encode(out)
	}
	t := show.NewTable()
	t.AppendHeader(table.Row{"TOPIC", "PARTITION", "FROM", "TO", "END", "TO READ"})
	for _, m := range moves {
		from := "-"
		if m.From >= 0 {
			from = fmt.Sprint(m.From)
		}
		t.AppendRow(table.Row{m.Topic, m.Partition, from, m.To, m.End, max(m.End-m.To, 0)})
	}
	_, err := io.WriteString(w, show.Lines(t.Render()))
	return err
}

// checkDirect notes what is wrong with the settings of a direct replay.
func (c *replayCmd) checkDirect(problems *cli.Problems) {
	for name, set := range map[string]bool{
		"to-beginning": c.ToBeginning, "to-time": !c.ToTime.IsZero(), "to-offset": len(c.ToOffset) > 0,
		"dry-run": c.DryRun, "remove-member": len(c.RemoveMember) > 0,
	} {
		if set {
			problems.Add(name, "set, but --direct leaves the group alone")
		}
	}
	checkTenant(problems, c.Tenant)
	if !c.From.IsZero() && !c.To.IsZero() && !c.From.Before(c.To.Time) {
		problems.Add("from", "%s is not before to", c.From.Format(time.RFC3339))
	}
}

// checkTenant notes that a tenant is asked for that nothing can be of; nil asks for none.
func checkTenant(problems *cli.Problems, tenant *string) {
	if tenant == nil {
		return
	}
	if err := firetrail.ValidateTenant(*tenant); err != nil {
		_, text, _ := strings.Cut(err.Error(), ": ")
		problems.Add("tenant", "%s", text)
	}
}

func (p *program) replayDirect(ctx context.Context, c *replayCmd, kafka kafkaclient.Config, partitions []int32) (err error) {
	c.checkDirect(&p.command.Problems)
	open := c.sinkSettings.check(p)
	c.keepSettings.check(&p.command.Problems)
	if err := p.command.Problems.Err(); err != nil {
		return err
	}
	opts, err := kafka.Opts()
	if err == nil {
		err = ping(ctx, opts)
	}
	if err != nil {
		return err
	}
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	db, err := open.toWrite(ctx, p.log, c.retention(), lose)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r := consumer.Replay{
		Kafka: kafka, Topics: c.Topics, Partitions: partitions, From: c.From.Time, To: c.To.Time, Tenant: c.Tenant,
		Sink: db, Logger: p.log,
	}
	if c.isClickHouse() {
		r.Batch = consumer.Batch{MaxSize: 50_000, MaxBytes: 32 << 20}
	}
	if c.LetterTopic != consumer.NoLetterTopic {
		r.LetterTopic = c.LetterTopic
	}
	if c.DLQDir != "" {
		d, err := dlq.OpenDir(dlq.DirConfig{Path: c.DLQDir, Logger: p.log})
		if err != nil {
			return fmt.Errorf("dlq-dir: %w", err)
		}
		defer func() { _ = d.Close() }()
		r.LetterDir = d
	}
	every := rate.Sometimes{Interval: 5 * time.Second}
	r.OnProgress = func(s consumer.ReplayReport) {
		every.Do(func() {
			done := int64(0)
			for _, part := range s.Partitions {
				done += part.At - part.From
			}
			p.note("%d of %d offsets, %d events stored", done, s.Total, s.Stored)
		})
	}
	report, err := r.Run(ctx)
	if printErr := printReplay(p.stdout, c.Output, &report); printErr != nil {
		return printErr
	}
	return stopped(ctx, err, "run it again: what is stored stays as it is")
}

func printReplay(w io.Writer, output string, r *consumer.ReplayReport) error {
	if output == "json" {
		return json.NewEncoder(w).Encode(struct {
			Done       bool             `json:"done"`
			Read       int64            `json:"read"`
			Lost       int64            `json:"lost"`
			Skipped    int64            `json:"skipped"`
			Stored     int64            `json:"stored"`
			Duplicates int64            `json:"already_there"`
			Conflicts  int64            `json:"conflicts"`
			Expired    int64            `json:"expired"`
			Erased     int64            `json:"erased"`
			Letters    map[string]int64 `json:"letters"`
		}{r.Done(), r.Read, r.Lost, r.Skipped, r.Stored, r.Duplicates, r.Conflicts, r.Expired, r.Erased, r.Letters})
	}
	letters := int64(0)
	for _, n := range r.Letters {
		letters += n
	}
	t := show.NewTable()
	for _, line := range []struct {
		name    string
		n       int64
		meaning string
	}{
		{"read", r.Read, ""},
		{"lost", r.Lost, "offsets that Kafka deleted before they were read"},
		{"skipped", r.Skipped, "of other tenants"},
		{"stored", r.Stored, "new in the database"},
		{"already there", r.Duplicates, ""},
		{"expired", r.Expired, "refused: older than the retention"},
		{"erased", r.Erased, "refused: an erasure covers them"},
		{"conflicts", r.Conflicts, "their id is there with other content; they are letters, too"},
		{"letters", letters, "can't be stored"},
	} {
		t.AppendRow(table.Row{line.name, line.n, line.meaning})
	}
	_, err := io.WriteString(w, show.Lines(t.Render()))
	return err
}
