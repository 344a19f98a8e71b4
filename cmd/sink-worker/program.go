package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// program is one invocation.
type program struct {
	env            cli.Environment
	stdout, stderr io.Writer

	grammar grammar
	command *cli.Command
	log     *slog.Logger
	kafka   *slog.Logger // of the Kafka client
}

func (p *program) run(ctx context.Context, args []string) error {
	parser := cli.Program{
		Name: "sink-worker", Description: description, Env: p.env, Stdout: p.stdout, Options: p.kongOptions(),
	}
	var err error
	if p.command, err = parser.Parse(&p.grammar, args); err != nil || p.command.Help {
		return err
	}
	log, flush := p.grammar.Logger(p.stderr)
	defer flush()
	p.log, p.kafka = log, p.grammar.KafkaLogger(p.stderr)
	g := &p.grammar
	switch p.command.Path {
	case "query":
		return p.query(ctx, &g.Query)
	case "prune":
		return p.prune(ctx, &g.Prune)
	case "erase":
		return p.erase(ctx, &g.Erase)
	case "topics create":
		return p.createTopics(ctx, &g.Topics.Create)
	case "lag":
		return p.lag(ctx, &g.Lag)
	case "replay":
		return p.replay(ctx, &g.Replay)
	case "verify":
		return p.verify(ctx, &g.Verify)
	case "dlq list":
		return p.listLetters(ctx, &g.DLQ.List)
	case "dlq show <letter>":
		return p.showLetter(ctx, &g.DLQ.Show)
	case "dlq redrive":
		return p.redriveLetters(ctx, &g.DLQ.Redrive)
	case "dlq purge":
		return p.purgeLetters(ctx, &g.DLQ.Purge)
	case "wal inspect <dir>":
		return p.inspectWAL(&g.WAL.Inspect)
	case "config check":
		return p.checkConfig(ctx, &g.Check.Check)
	case "version":
		return p.version()
	default:
		return p.work(ctx, &g.Run)
	}
}

// version is stamped by the Dockerfile's -ldflags; otherwise the module's own is taken.
var version string

func (p *program) version() error {
	v, revision := version, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	_, err := fmt.Fprintf(p.stdout, "sink-worker %s%s\n", v, revision)
	return err
}
