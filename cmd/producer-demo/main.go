package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

// memory is what the heap keeps to: producer, worker and broker in one process hold some 100 MiB at most,
// and SQLite and the log's ring have theirs besides.
const memory = 160 << 20

func main() {
	cli.LimitMemory(memory)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean end; the second, by the system's own handling, ends at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole command: its end is ctx's, and its result the exit code.
func run(ctx context.Context, args []string, env cli.Environment, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Exit(stderr, "producer-demo", demo(ctx, args, env, stdin, stdout, stderr))
}

func demo(ctx context.Context, args []string, env cli.Environment, stdin io.Reader, stdout, stderr io.Writer) error {
	var g grammar
	parser := cli.Program{
		Name: "producer-demo", Description: description, Env: env, Stdout: stdout, Options: kongOptions(),
	}
	cmd, err := parser.Parse(&g, args)
	if err != nil || cmd.Help {
		return err
	}
	g.check(&cmd.Problems)
	if err := cmd.Problems.Err(); err != nil {
		return err
	}
	out := &screen{out: stderr}
	log, flush := g.Logger(out)
	defer flush()
	d := &demonstration{settings: &g, log: log, stdin: stdin, stdout: stdout, stderr: out}
	return d.run(ctx)
}
