package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/firetrail/firetrail/cmd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean end; from then on the system's own handling is back, so that the
	// second ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run is the whole command: its end is ctx's, and its result the exit code.
func run(ctx context.Context, args []string, env cli.Environment, stdout, stderr io.Writer) int {
	p := &program{env: env, stdout: stdout, stderr: stderr}
	return cli.Exit(stderr, "sink-worker", p.run(ctx, args))
}
