package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func TestStoresAndCommits(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		sent := w.events(300, 0)
		w.events(200, 1)
		r := w.start(nil)
		w.awaitStored(500)
		w.awaitCommitted(0, 300)
		w.awaitCommitted(1, 200)
		require.NoError(t, r.Ready())
		byID := map[any]sinkers.Row{}
		for _, row := range w.sink.Rows() {
			byID[row.ID] = row
		}
		for _, e := range sent {
			require.Equal(t, e.ContentHash(), byID[e.ID].Hash)
			require.Equal(t, e.Seq, byID[e.ID].Seq)
		}
		r.stop()
		w.noLetters()
	})
}

func TestBadRecordsBecomeLettersAtOnce(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		alien := w.record(w.event("a"), 0)
		alien.Key = []byte("b")
		future := w.event("a")
		future.Time = time.Now().Add(48 * time.Hour)
		future.ID = testIDs.Next(future.Time.UnixMicro())
		early, late := w.event("a"), w.event("a")
		late.Time = late.Time.Add(time.Hour)
		late.ID = testIDs.Next(late.Time.UnixMicro())
		elsewhen := w.record(late, 0) // its time is not its id's
		elsewhen.Value = bytes.Replace(elsewhen.Value, []byte(late.ID.String()), []byte(early.ID.String()), 1)
		garbage := &kgo.Record{Topic: testTopic, Key: []byte("k"), Value: []byte{0xff, 0}, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}}
		tombstone := &kgo.Record{Topic: testTopic}
		w.produce(w.record(w.event("a"), 0), garbage, alien, w.record(future, 0), tombstone, elsewhen)

		r := w.start(nil)
		w.awaitCommitted(0, 6)
		require.Equal(t, 1, w.sink.Len())
		letters := w.letters(5)
		reasons := map[string]string{}
		for _, l := range letters {
			reasons[header(l, "__connect.errors.offset")] = header(l, "__connect.errors.stage")
		}
		require.Equal(t, map[string]string{"1": "decode", "2": "decode", "3": "decode", "4": "decode", "5": "decode"}, reasons)
		require.Equal(t, garbage.Key, letters[0].Key)
		require.Equal(t, garbage.Value, letters[0].Value)
		require.Equal(t, "v", header(letters[0], "h"))
		require.Nil(t, letters[3].Value)
		require.Equal(t, map[string]int64{
			dlq.ReasonUndecodable: 2, dlq.ReasonTenantMismatch: 1, dlq.ReasonInvalid: 2,
		}, r.Stats().Letters)
		r.stop()
	})
}

func TestConflictIsALetterThatShowsTheHash(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		e := w.event("a")
		forged := e
		forged.Actor.Name = "Mallory"
		w.produce(w.record(e, 0), w.record(e, 0), w.record(forged, 0))
		r := w.start(nil)
		w.awaitCommitted(0, 3)
		l := w.letters(1)[0]
		require.Contains(t, header(l, "__connect.errors.exception.message"), fmt.Sprintf("%x", forged.ContentHash()))
		require.Equal(t, "Ada", w.sink.Rows()[0].Actor.Name)
		s := r.Stats()
		require.Equal(t, []int64{3, 1, 1, 1}, []int64{s.Records, s.Stored, s.Duplicates, s.Conflicts})
		r.stop()
	})
}

// A worker that dies at any moment loses nothing, and the next stores what is left once.
func TestKilledWorkersStoreEverythingOnce(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		const each = 4000
		for p := range int32(3) {
			w.events(each, p)
		}
		guard := guardCommits(w)
		rounds := 0
		for round := 0; w.sink.Len() < 3*each-1500; round++ {
			rounds++
			r := w.start(func(c *Config) { c.Sink = guard; c.Batch.MaxSize = 200; c.MaxInFlightBytes = 1 << 20 })
			want := w.sink.Len() + 300 + 131*(round%5)
			w.sink.OnWrite(func(ctx context.Context, _ sinkers.Batch) error {
				if w.sink.Len() < want {
					return nil
				}
				r.abort()
				if round%2 == 0 {
					return nil // stored, but nobody will commit it
				}
				<-ctx.Done()
				return ctx.Err()
			})
			<-r.done
		}
		require.Greater(t, rounds, 3)
		w.sink.OnWrite(nil)
		r := w.start(func(c *Config) { c.Sink = guard })
		w.awaitStored(3 * each)
		for p := range int32(3) {
			w.awaitCommitted(p, each)
		}
		r.stop()
		require.NoError(t, guard.verdict())
		w.noLetters()
	})
}

// An outage of any length, with an error nobody knows, makes no letter and loses nothing.
func TestOutageIsNeverPoison(t *testing.T) {
	for _, c := range []struct {
		name string
		away func(w *world, err error)
	}{
		{"all of the database", func(w *world, err error) { w.sink.Away(err) }},
		{"writes hang", func(w *world, err error) {
			w.sink.OnWrite(nil)
			w.sink.Away(nil)
			if err != nil {
				w.sink.OnWrite(sinkertest.Hang())
				w.sink.Away(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 2, func(t *testing.T, w *world) {
				w.events(50, 0)
				r := w.start(nil)
				w.awaitStored(50)
				c.away(w, errors.New("who knows"))
				w.events(5000, 0)
				w.events(5000, 1)
				w.await("pause", func() bool { return r.Stats().State == Paused })
				require.ErrorContains(t, r.Ready(), "who knows")
				pass(6 * time.Hour)
				require.Equal(t, 50, w.sink.Len())
				require.EqualValues(t, 50, w.committed(0))
				require.Less(t, len(w.sink.Writes()), 2000, "it must not hammer the database")
				w.events(10, 1)
				c.away(w, nil)
				w.awaitStored(10_060)
				w.awaitCommitted(0, 5050)
				w.awaitCommitted(1, 5010)
				require.NoError(t, r.Ready())
				r.stop()
				w.noLetters()
			})
		})
	}
}

// A stop in an outage ends soon, and what wasn't stored is stored by the next worker.
func TestStopInAnOutage(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.sink.Away(errors.New("away"))
		w.events(100, 0)
		r := w.start(nil)
		w.await("pause", func() bool { return r.Stats().State == Paused })
		began := time.Now()
		r.stop()
		require.Less(t, time.Since(began), DefaultShutdownTimeout)
		require.EqualValues(t, -1, w.committed(0))
		w.sink.Away(nil)
		r = w.start(nil)
		w.awaitStored(100)
		r.stop()
		w.noLetters()
	})
}

// So it does where the batches are kept short for others, and more of what waits could be cut.
func TestStopInAnOutageBesideAFlood(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		w.sink.OnWrite(atSpeed(1_000, 0))
		r := w.start(func(c *Config) { c.MaxInFlightBytes = 8 << 20 })
		for range 10 {
			w.events(1_000, 0)
		}
		w.events(1, 1)
		w.await("quick writes", func() bool {
			r.flow.mu.Lock()
			defer r.flow.mu.Unlock()
			return r.flow.queue.pace.bounds(time.Now()) && r.flow.queue.pace.rows < 500
		})
		w.sink.Away(errors.New("away"))
		w.await("pause", func() bool { return r.Stats().State == Paused })
		began := time.Now()
		r.stop()
		require.Less(t, time.Since(began), DefaultShutdownTimeout)
	})
}

func TestStopDrains(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		w.sink.OnWrite(sinkertest.Delay(5 * time.Second))
		r := w.start(func(c *Config) { c.Batch.FlushInterval = time.Hour })
		w.events(100, 0)
		w.await("fetch", func() bool { return r.Stats().Records == 100 })
		require.Zero(t, w.sink.Len())
		r.stop()
		require.Equal(t, 100, w.sink.Len())
		require.EqualValues(t, 100, w.committed(0))
	})
}

// The letters' topic away: what is good is stored, the partition with the bad record is paused, its mark waits,
// and the others go on.
func TestLettersTopicAway(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		r := w.start(nil)
		w.events(10, 0)
		w.awaitCommitted(0, 10)
		require.NoError(t, w.cluster.DeleteTopic(testLetters))
		w.produce(&kgo.Record{Topic: testTopic, Partition: 0, Value: []byte("garbage")})
		w.events(10, 0)
		w.await("pause", func() bool { return r.Stats().Partitions[0].Paused == "letters" })
		w.events(20, 1)
		w.awaitCommitted(1, 20)
		pass(time.Hour)
		require.EqualValues(t, 10, w.committed(0))
		require.Positive(t, r.Stats().TopicErrors)

		require.NoError(t, w.cluster.CreateTopic(testLetters, 1, nil))
		w.awaitCommitted(0, 21)
		w.letters(1)
		require.Empty(t, r.Stats().Partitions[0].Paused)
		w.awaitStored(40)
		r.stop()
	})
}
