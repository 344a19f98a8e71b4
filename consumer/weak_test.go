package consumer

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// lockedBuffer takes a log from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestWeakTopicsAreWarnedOf(t *testing.T) {
	for _, weak := range []bool{false, true} {
		inWorld(t, 1, func(t *testing.T, w *world) {
			w.events(1, 0)
			var log lockedBuffer
			r := w.start(func(c *Config) {
				c.WeakTopics = weak
				c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			w.awaitStored(1)
			r.stop()
			if weak {
				require.NotContains(t, log.String(), "can lose acknowledged records")
			} else {
				require.Contains(t, log.String(), "can lose acknowledged records")
			}
		})
	}
}
