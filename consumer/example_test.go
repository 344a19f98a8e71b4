package consumer_test

import (
	"context"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/firetrail/firetrail/consumer"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// A worker that runs until SIGTERM, and then drains. Put a database in place of sinkertest.Memory.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	w, err := consumer.New(consumer.Config{
		Kafka: kafkaclient.Config{Brokers: []string{"localhost:9092"}},
		Group: "audit",
		Sink:  &sinkertest.Memory{},
	})
	if err != nil {
		slog.Error("wrong settings", "err", err)
		return
	}
	if err := w.Run(ctx); err != nil {
		slog.Error("the worker ended", "err", err)
	}
}
