package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/consumer"
)

type lagCmd struct {
	kafkaSettings

	Topics []string `group:"kafka" aliases:"topic" default:"audit.events" help:"Topics of events, by name or pattern."`
	Group  string   `group:"kafka" default:"firetrail-sink" help:"Consumer group of the workers; it may be stopped."`

	Timeout cli.Duration `flagonly:"" group:"general" default:"30s" help:"Longest to wait for the brokers."`
	Output  string       `flagonly:"" group:"general" short:"o" default:"table" choice:"table,json" help:"table, or json: an object."`
}

func (p *program) lag(ctx context.Context, c *lagCmd) error {
	kafka := c.config(p)
	problems := &p.command.Problems
	checkGroup(problems, c.Group, c.Topics)
	if c.Timeout.Duration <= 0 {
		problems.Add("timeout", "must be more than 0")
	}
	if err := problems.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout.Duration)
	defer cancel()
	opts, err := kafka.Opts()
	if err == nil {
		err = ping(ctx, opts)
	}
	if err != nil {
		return err
	}
	lag, err := consumer.Lag(ctx, kafka, c.Group, c.Topics...)
	if err != nil {
		return err
	}
	return printLag(p.stdout, c.Output, lag, time.Now())
}

// checkGroup notes what is wrong with a group and its topics.
func checkGroup(problems *cli.Problems, group string, topics []string) {
	if group == "" {
		problems.Add("group", "missing; name the consumer group")
	}
	if len(topics) == 0 {
		problems.Add("topics", "missing; name at least one")
	}
	checkTopics(problems, topics, "")
}

// seconds is how long ago the oldest unread record was written; nil where there is none, or it isn't known.
func seconds(oldest, now time.Time) *float64 {
	if oldest.IsZero() {
		return nil
	}
	s := max(now.Sub(oldest), 0).Seconds()
	return &s
}

func printLag(w io.Writer, output string, lag consumer.GroupLag, now time.Time) error {
	if output == "json" {
		return json.NewEncoder(w).Encode(lagJSON(&lag, now))
	}
	age := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return max(now.Sub(t), 0).Round(time.Millisecond).String()
	}
	t := show.NewTable()
	t.AppendHeader(table.Row{"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "OLDEST", "LOST"})
	for _, p := range lag.Partitions {
		committed := "-"
		if p.Committed >= 0 {
			committed = fmt.Sprint(p.Committed)
		}
		t.AppendRow(table.Row{p.Topic, p.Partition, committed, p.End, p.Records, age(p.Oldest), p.Lost})
	}
	t.AppendRow(table.Row{"all", "", "", "", lag.Records, age(lag.Oldest), lag.Lost})
	members := make([]string, len(lag.Members))
	for i, m := range lag.Members {
		members[i] = m.String()
	}
	plural := "s"
	if len(members) == 1 {
		plural = ""
	}
	about := fmt.Sprintf("group %s: %s, %d member%s", lag.Group, strings.ToLower(lag.State), len(members), plural)
	if len(members) > 0 {
		about += ": " + strings.Join(members, ", ")
	}
	if lag.State == "Dead" {
		about = fmt.Sprintf("group %s: there is none; a worker would begin at the start of the topics", lag.Group)
	}
	_, err := io.WriteString(w, show.Clean(about)+"\n"+show.Lines(t.Render()))
	return err
}

func lagJSON(lag *consumer.GroupLag, now time.Time) any {
	type partition struct {
		Topic     string   `json:"topic"`
		Partition int32    `json:"partition"`
		Committed int64    `json:"committed"`
		Start     int64    `json:"start"`
		End       int64    `json:"end"`
		Records   int64    `json:"records"`
		Seconds   *float64 `json:"seconds"`
		Lost      int64    `json:"lost"`
	}
	out := struct {
		Group      string      `json:"group"`
		State      string      `json:"state"`
		Members    []string    `json:"members"`
		Records    int64       `json:"records"`
		Seconds    *float64    `json:"seconds"`
		Lost       int64       `json:"lost"`
		Partitions []partition `json:"partitions"`
	}{lag.Group, lag.State, []string{}, lag.Records, seconds(lag.Oldest, now), lag.Lost, []partition{}}
	for _, m := range lag.Members {
		out.Members = append(out.Members, m.String())
	}
	for _, p := range lag.Partitions {
		out.Partitions = append(out.Partitions, partition{p.Topic, p.Partition, p.Committed, p.Start, p.End, p.Records, seconds(p.Oldest, now), p.Lost})
	}
	return out
}
