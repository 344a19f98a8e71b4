package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

// racing is a sink in which writers have overtaken each other.
type racing struct {
	*sinkertest.Memory
	mu      sync.Mutex
	lost    []sinkers.Conflict
	away    error
	looks   []time.Time // since
	dropped int
}

func (r *racing) FindConflicts(_ context.Context, since time.Time, limit int) ([]sinkers.Conflict, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks = append(r.looks, since)
	return slices.Clone(r.lost[:min(limit, len(r.lost))]), r.away
}

func (r *racing) DropConflicts(_ context.Context, conflicts []sinkers.Conflict) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = r.lost[len(conflicts):]
	r.dropped += len(conflicts)
	return nil
}

func (r *racing) lookedAt() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.looks)
}

// lose adds n rows that lost.
func (r *racing) lose(w *world, n int) (rows []sinkers.Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		e := w.event("tenant-0")
		row := sinkers.Row{Event: e, Hash: e.ContentHash()}
		rows = append(rows, row)
		r.lost = append(r.lost, sinkers.Conflict{Row: row, Winner: [16]byte{0xab}})
	}
	return rows
}

// What lost against another row in the sink becomes a letter with its content and both hashes, is explained in the
// ledger, and is dropped then.
func TestConflictsInTheSinkBecomeLetters(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &racing{Memory: w.sink}
		rows := sink.lose(w, conflictsAtOnce+3)
		began := time.Now()
		r := w.start(func(c *Config) { c.Sink = sink })
		w.await("the drop", func() bool { return r.Stats().Letters[dlq.ReasonConflict] == int64(len(rows)) })
		letters := w.letters(len(rows))
		for i, rec := range letters {
			require.Equal(t, fmt.Sprintf("conflict:%s:%x", rows[i].ID, rows[i].Hash), header(rec, "firetrail.letter.id"))
			message := header(rec, "__connect.errors.exception.message")
			require.Contains(t, message, fmt.Sprintf("%x", rows[i].Hash))
			require.Contains(t, message, "ab000000000000000000000000000000")
			e, err := firetrail.DecodeCloudEvent(firetrail.Message{Key: rec.Key, Value: rec.Value, Headers: []firetrail.Header{{Key: "content-type", Value: []byte("application/cloudevents+json")}}})
			require.NoError(t, err)
			require.Equal(t, rows[i].Hash, e.ContentHash())
		}
		require.Equal(t, len(rows), sink.dropped)
		require.EqualValues(t, len(rows), r.Stats().Conflicts)
		var explained uint64
		for e, err := range w.sink.ReadLedger(t.Context(), sinkers.Scan{AllTenants: true}) {
			require.NoError(t, err)
			require.Equal(t, sinkers.LedgerConflict, e.Reason)
			explained += e.Count()
		}
		require.EqualValues(t, len(rows), explained)

		w.await("the next look", func() bool { return len(sink.lookedAt()) == 4 })
		looks := sink.lookedAt()
		require.False(t, looks[0].After(began.Add(-conflictsFirst).Add(time.Minute)), "the first goes far back")
		require.Equal(t, looks[0], looks[2])
		require.True(t, looks[3].After(began.Add(-conflictsOverlap)), "the next does not")
		require.True(t, looks[3].Before(time.Now().Add(-conflictsOverlap)), "but they overlap")
		r.stop()
	})
}

// A row that can't be written as an event any more is a letter with its fields as they were stored; the others are letters
// as ever.
func TestConflictThatCannotBeRendered(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &racing{Memory: w.sink}
		rows := sink.lose(w, 3)
		sink.lost[1].Event.New = firetrail.Raw([]byte(`{"broken`))
		sink.lost[1].Event.Time = time.Time{}
		r := w.start(func(c *Config) { c.Sink = sink })
		w.await("the drop", func() bool { return r.Stats().Letters[dlq.ReasonConflict] == 3 })
		require.Equal(t, 3, sink.dropped)
		for i, rec := range w.letters(3) {
			require.Equal(t, fmt.Sprintf("conflict:%s:%x", rows[i].ID, rows[i].Hash), header(rec, "firetrail.letter.id"))
			message := header(rec, "__connect.errors.exception.message")
			require.Contains(t, message, fmt.Sprintf("%x", rows[i].Hash))
			if i == 1 {
				require.Contains(t, message, "time: missing")
				var fields struct {
					ID  string
					New []byte
					Seq uint64
				}
				require.NoError(t, json.Unmarshal(rec.Value, &fields))
				require.Equal(t, rows[i].ID.String(), fields.ID)
				require.Equal(t, `{"broken`, string(fields.New))
				require.Equal(t, rows[i].Seq, fields.Seq)
				require.Empty(t, header(rec, "content-type"))
			}
		}
		r.stop()
	})
}

// While letters can't be written nothing is dropped, and while the sink fails the next look begins where that one
// did.
func TestConflictsWaitForTheirLetters(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &racing{Memory: w.sink, away: errors.New("away")}
		sink.lose(w, 2)
		r := w.start(func(c *Config) { c.Sink, c.ConflictInterval = sink, time.Minute })
		w.await("a look", func() bool { return len(sink.lookedAt()) == 1 })
		_, err := w.adm().DeleteTopics(t.Context(), testLetters)
		require.NoError(t, err)
		sink.mu.Lock()
		sink.away = nil
		sink.mu.Unlock()
		w.await("more looks", func() bool { return len(sink.lookedAt()) == 3 })
		require.Zero(t, sink.dropped)
		require.Zero(t, r.Stats().Conflicts)
		for _, since := range sink.lookedAt() {
			require.Equal(t, sink.looks[0], since)
		}
		_, err = w.adm().CreateTopic(t.Context(), 1, 1, nil, testLetters)
		require.NoError(t, err)
		w.letters(2)
		w.await("the drop", func() bool { return r.Stats().Conflicts == 2 })
		r.stop()
	})
}

// Of several workers one looks: that with the first partition. Here nobody has it.
func TestOneWorkerLooksForConflicts(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &racing{Memory: w.sink}
		owner := w.start(func(c *Config) { c.Sink = w.sink })
		w.await("the assignment", func() bool { return len(owner.Stats().Partitions) == 1 })
		r := w.start(func(c *Config) { c.Sink = sink })
		w.await("two members", func() bool { return len(w.members()) == 2 })
		pass(time.Hour)
		looks := len(sink.lookedAt())
		if len(owner.Stats().Partitions) == 1 {
			require.Zero(t, looks)
		} else {
			require.NotZero(t, looks, "the partition has moved")
		}
		r.stop()
		owner.stop()
	})
}

func TestConflictsCanBeSwitchedOff(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		sink := &racing{Memory: w.sink}
		r := w.start(func(c *Config) { c.Sink, c.ConflictInterval = sink, -1 })
		w.await("the assignment", func() bool { return len(r.Stats().Partitions) == 1 })
		pass(time.Hour)
		require.Empty(t, sink.lookedAt())
		r.stop()
	})
}
