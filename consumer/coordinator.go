package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	coordinatorPatience = 30 * time.Second
	coordinatorDelay    = 100 * time.Millisecond
)

// coordinated asks a group's coordinator until there is one that answers: at the first group of a new cluster
// it is being made, and when a broker has gone it moves.
func coordinated(ctx context.Context, ask func() error) error {
	deadline := time.Now().Add(coordinatorPatience)
	for {
		err := ask()
		moving := errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorLoadInProgress)
		if !moving || time.Now().After(deadline) {
			return err
		}
		if err := sleepOr(ctx, coordinatorDelay, nil); err != nil {
			return err
		}
	}
}
