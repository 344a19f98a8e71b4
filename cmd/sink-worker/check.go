package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/cmd/internal/show"
	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/kafkaclient"
)

type configCheckCmd struct {
	kafkaSettings
	topicSettings
	workerSettings
	sinkSettings
	retentionSettings

	Connect cli.Bool `flagonly:"" group:"general" help:"Try the brokers, the topics and the database too."`
	Output  string   `flagonly:"" group:"general" short:"o" default:"table" choice:"table,json" help:"Print the settings as table or json."`
}

func (p *program) checkConfig(ctx context.Context, c *configCheckCmd) error {
	run := runCmd{c.kafkaSettings, c.topicSettings, c.workerSettings, c.sinkSettings, c.retentionSettings}
	kafka, open, err := run.check(p)
	if err != nil {
		return err
	}
	if err := printSettings(p.stdout, c.Output, p.effective(run.LetterTopic, open)); err != nil {
		return err
	}
	for _, w := range kafka.Warnings() {
		name, text := settingName(w)
		p.note("warning: %s: %s", name, text)
	}
	for _, w := range p.command.Warnings {
		p.note("warning: %s", w)
	}
	if c.Connect.On {
		return p.connect(ctx, kafka, &run, open)
	}
	return nil
}

// effective returns the settings in effect, with the passwords, which have no flags, named and masked.
func (p *program) effective(letterTopic string, open opener) []cli.Setting {
	settings := p.command.Settings
	for _, server := range []string{"clickhouse-addrs", "libsql-url"} {
		if !isOf(server, open.name()) { // what another database would take is of no interest
			settings = slices.DeleteFunc(slices.Clone(settings), func(s cli.Setting) bool {
				return s.From == "default" && isOf(s.Name, server) && s.Name != server
			})
		}
	}
	for i := range settings {
		if s := &settings[i]; s.Name == "letter-topic" && s.Value == "" {
			s.Value = letterTopic
		}
	}
	for _, secret := range []string{"sasl-password", clickHousePassword, libSQLToken} {
		if v, ok := p.env.Lookup(cli.EnvName(secret)); ok && v != "" {
			settings = append(settings, cli.Setting{Name: secret, Value: "(hidden)", From: cli.EnvName(secret)})
		}
	}
	slices.SortFunc(settings, func(a, b cli.Setting) int { return strings.Compare(a.Name, b.Name) })
	return settings
}

func printSettings(w io.Writer, output string, settings []cli.Setting) error {
	if output == "json" {
		values := map[string]any{}
		for _, s := range settings {
			values[s.Name] = map[string]string{"value": s.Value, "from": s.From}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(values)
	}
	t := show.NewTable()
	t.AppendHeader(table.Row{"SETTING", "VALUE", "FROM"})
	for _, s := range settings {
		value := s.Value
		if value == "" {
			value = "-"
		}
		t.AppendRow(table.Row{s.Name, show.Clean(value), show.Clean(s.From)})
	}
	_, err := io.WriteString(w, show.Lines(t.Render()))
	return err
}

// connect tries everything that run would need, and changes nothing.
func (p *program) connect(ctx context.Context, kafka kafkaclient.Config, run *runCmd, open opener) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var errs []error
	err := withClient(ctx, kafka, func(cl *kgo.Client) error {
		p.note("brokers: reached")
		topics, err := kafkaclient.FindTopics(ctx, cl, run.Topics)
		if err != nil {
			return err
		}
		switch {
		case len(topics) == 0:
			p.note("warning: no topic matches %s yet", strings.Join(run.Topics, ", "))
		case kafkaclient.HasPattern(run.Topics):
			p.note("topics: %s", strings.Join(topics, ", "))
		}
		if run.LetterTopic != consumer.NoLetterTopic {
			topics = append(topics, run.LetterTopic)
		}
		weak, err := kafkaclient.WeakTopics(ctx, cl, topics...)
		for _, w := range weak {
			p.note("warning: %s", w)
		}
		if err != nil {
			return fmt.Errorf("%w (sink-worker topics create makes what is missing)", err)
		}
		p.note("topics: there")
		return nil
	})
	errs = append(errs, err)
	db, err := open.toRead(ctx)
	if err == nil {
		p.note("%s: can be read", open.name())
		err = db.Close()
	}
	return errors.Join(append(errs, err)...)
}
