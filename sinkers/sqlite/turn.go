package sqlite

import (
	"context"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// SQLite's locks aren't fair: whoever asks for one sleeps in between, and a writer with much to do has it again in
// the meantime. So a sink beside another announces itself by a lock of its own, PATH.turn, and the writer waits
// before each write while that is held: long enough for the other to get in.
const (
	turnWait  = 250 * time.Millisecond // the most that a write waits
	turnRetry = 5 * time.Millisecond
)

func (s *Sink) turnPath() string { return s.cfg.Path + ".turn" }

// takeTurn announces that this sink, beside another, has something to write, until done is called.
func (s *Sink) takeTurn() (done func()) {
	if !s.cfg.Beside {
		return func() {}
	}
	turn := flock.New(s.turnPath(), flock.SetPermissions(0o600))
	if ok, err := turn.TryLock(); err != nil || !ok { // another announces itself already
		return func() { _ = turn.Close() }
	}
	return func() {
		_ = os.Remove(s.turnPath()) // while it is held: whoever has it open sees it free at once
		_ = turn.Close()
	}
}

// giveWay waits a little for whoever has announced itself. What a process left that was killed is free.
func (s *Sink) giveWay(ctx context.Context) {
	if _, err := os.Stat(s.turnPath()); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	turn := flock.New(s.turnPath(), flock.SetFlag(os.O_RDONLY))
	_, _ = turn.TryRLockContext(ctx, turnRetry)
	_ = turn.Close()
}
