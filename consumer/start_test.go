package consumer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// unknown has brokers, all where none are named, say that a topic isn't there.
func unknown(w *world, topic string, brokers ...int32) *kfake.FaultHandle {
	return w.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Metadata}, Nodes: brokers, Topic: topic, Err: kerr.UnknownTopicOrPartition, Count: -1,
	})
}

// A broker that was started a moment ago doesn't know all topics yet. A worker that starts then waits, or takes the word of
// another broker.
func TestTopicsNotKnownYet(t *testing.T) {
	t.Run("to all brokers, for a while", func(t *testing.T) {
		inWorld(t, 1, func(t *testing.T, w *world) {
			w.events(10, 0)
			fault := unknown(w, testLetters)
			r := w.start(nil)
			pass(missingFor - time.Second)
			require.ErrorContains(t, r.Ready(), "topic audit.events.dlq: not there; make it with: sink-worker topics create")
			fault.Remove()
			w.awaitStored(10)
			r.stop()
		})
	})
	t.Run("to one broker of two, for good", func(t *testing.T) {
		inWorld(t, 1, func(t *testing.T, w *world) {
			_, _, err := w.cluster.AddNode(1, 9093)
			require.NoError(t, err)
			w.events(10, 0)
			unknown(w, testLetters, 0) // which is the one that the worker begins with
			begun := time.Now()
			r := w.start(nil)
			w.awaitStored(10)
			require.Less(t, r.Stats().Since.Sub(begun), time.Second, "in virtual time: it asked the other at once")
			r.stop()
		})
	})
	t.Run("to none that answers, while one is away", func(t *testing.T) {
		inWorld(t, 1, func(t *testing.T, w *world) {
			unknown(w, testLetters)
			r := w.start(func(c *Config) { c.Kafka.Brokers = append(c.Kafka.Brokers, "127.0.0.1:1") })
			pass(3 * missingFor)
			require.Equal(t, Starting, r.Stats().State)
			<-r.done
			require.ErrorContains(t, r.err, "topic audit.events.dlq: not there")
		})
	})
}
