package consumer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func (w *world) dir(t *testing.T) *dlq.Dir {
	t.Helper()
	d, err := dlq.OpenDir(dlq.DirConfig{Path: t.TempDir()})
	require.NoError(t, err)
	return d
}

func garbage() *kgo.Record {
	return &kgo.Record{Topic: testTopic, Key: []byte("a"), Value: []byte("garbage")}
}

func TestLettersInBothForms(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		d := w.dir(t)
		defer d.Close()
		w.produce(garbage())
		r := w.start(func(c *Config) { c.LetterDir = d })
		w.awaitCommitted(0, 1)
		w.letters(1)
		require.EqualValues(t, 1, d.Stats().Dead.Letters)
		require.Zero(t, d.Stats().Waiting.Letters)
		r.stop()
	})
}

// Which forms must be written for an offset to be committed.
func TestWhenALetterCounts(t *testing.T) {
	for _, c := range []struct {
		name                    string
		durable, noTopic, noDir bool // how it is configured
		topicAway, dirAway      bool
		want                    bool
	}{
		{name: "both are well", want: true},
		{name: "the topic alone", dirAway: true, want: true},
		{name: "files alone", topicAway: true, want: false},
		{name: "durable files alone", topicAway: true, durable: true, want: true},
		{name: "files, and no topic", noTopic: true, want: true},
		{name: "neither", topicAway: true, dirAway: true, durable: true, want: false},
		{name: "topic away, and no files", noDir: true, topicAway: true, want: false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, func(t *testing.T, w *world) {
				d := w.dir(t)
				if c.dirAway {
					require.NoError(t, d.Close())
				} else {
					defer d.Close()
				}
				w.events(5, 0)
				r := w.start(func(cfg *Config) {
					if !c.noDir {
						cfg.LetterDir, cfg.DirIsDurable = d, c.durable
					}
					if c.noTopic {
						cfg.LetterTopic = NoLetterTopic
					}
				})
				w.awaitCommitted(0, 5)
				if c.topicAway {
					require.NoError(t, w.cluster.DeleteTopic(testLetters))
				}
				w.produce(garbage())
				pass(5 * time.Minute)
				require.Equal(t, c.want, w.committed(0) == 6)

				if c.topicAway {
					t.Log("the form that failed is caught up later")
					require.NoError(t, w.cluster.CreateTopic(testLetters, 1, nil))
					w.awaitCommitted(0, 6)
					w.letters(1)
				}
				r.stop()
			})
		})
	}
}

// What the sink refused for no reason it could name waits in the directory and is stored when it takes it.
func TestWaitingLettersAreStoredLater(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		d := w.dir(t)
		defer d.Close()
		events := w.events(100, 0)
		w.sink.OnWrite(poison(errStrange, pick(events, 7, 8)))
		r := w.start(func(c *Config) { c.LetterDir = d })
		for r.Stats().Letters[dlq.ReasonRefused] < 2 {
			w.events(1, 0) // proof
			pass(2 * time.Second)
		}
		w.await("files", func() bool { return d.Stats().Waiting.Letters == 2 })
		w.await("the rest", func() bool { return w.sink.Len() == w.seq-2 })
		pass(3 * dlq.DefaultScanInterval)
		require.EqualValues(t, 2, d.Stats().Waiting.Letters, "they are still refused")
		w.sink.OnWrite(nil)
		w.awaitStored(w.seq)
		w.await("no more files", func() bool { return d.Stats().Waiting.Letters == 0 })
		require.EqualValues(t, 2, r.Stats().Redelivered)
		r.stop()
	})
}

// Letters that are tried again while the database is away stay as they are; what it refuses is told from what
// can't be reached.
func TestRedeliver(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		worker, err := New(w.config())
		require.NoError(t, err)
		var letters []dlq.Letter
		for range 5 {
			letters = append(letters, letterOf(w.record(w.event("a"), 0)))
		}
		letters = append(letters, dlq.Letter{Value: []byte("garbage")})
		all := func(o dlq.Outcome) []dlq.Outcome { return []dlq.Outcome{o, o, o, o, o, dlq.Refused} }

		w.sink.Away(errStrange)
		require.Equal(t, all(dlq.Away), worker.redeliver(t.Context(), letters))
		w.sink.Away(nil)
		w.sink.OnWrite(sinkertest.FailRows(func(r *sinkers.Row) error {
			if r.Entity.ID == "2" {
				return errStrange
			}
			return nil
		}))
		want := all(dlq.Delivered)
		want[1] = dlq.Refused
		require.Equal(t, want, worker.redeliver(t.Context(), letters))
		require.Contains(t, letters[1].Error, "strange")
		require.Equal(t, dlq.ReasonUndecodable, letters[5].Reason)
	})
}

// formFunc is a letter form that is a function.
type formFunc func(letters []*letter) (map[int]bool, error)

func (f formFunc) put(_ context.Context, letters []*letter) (map[int]bool, error) { return f(letters) }

// One letter that its form refuses holds up no other.
func TestRefusedLetterHoldsUpNoOther(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		worker, err := New(w.config())
		require.NoError(t, err)
		worker.client = w.cl
		var mu sync.Mutex
		sent := map[string]bool{}
		worker.post.topic = formFunc(func(letters []*letter) (map[int]bool, error) {
			mu.Lock()
			defer mu.Unlock()
			failed := map[int]bool{}
			for i, l := range letters {
				if l.tenant == "bad" {
					failed[i] = true
				} else {
					sent[l.tenant] = true
				}
			}
			if len(failed) > 0 {
				return failed, errors.New("refused")
			}
			return nil, nil
		})
		p := newPartition(source{testTopic, 0})
		for i, tenant := range []string{"a", "bad", "b"} {
			rec := &kgo.Record{Value: []byte("x"), Offset: int64(i)}
			worker.post.send(&letter{tenant: tenant, err: errStrange, item: item{part: p, rec: rec, n: p.add(int64(i), 0, time.Time{})}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- worker.post.run(ctx) }()
		w.await("the others", func() bool { mu.Lock(); defer mu.Unlock(); return sent["a"] && sent["b"] })
		pass(time.Hour)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.EqualValues(t, 1, p.mark, "the mark waits for the refused letter")
		require.Zero(t, p.held)
		require.Equal(t, 1, p.waiting)
	})
}

// A letter that waits is forgotten with its partition, and the letters of others are sent then.
func TestLettersOfALostPartition(t *testing.T) {
	inWorld(t, 2, func(t *testing.T, w *world) {
		r := w.start(nil)
		w.await("start", func() bool { return len(r.Stats().Partitions) == 2 })
		require.NoError(t, w.cluster.DeleteTopic(testLetters))
		w.produce(garbage())
		w.await("pause", func() bool { return r.Stats().Partitions[0].Paused == "letters" })
		r.lost(r.client, map[string][]int32{testTopic: {0}})
		require.NoError(t, w.cluster.CreateTopic(testLetters, 1, nil))
		pass(time.Hour)
		bad := garbage()
		bad.Partition = 1
		w.produce(bad)
		w.awaitCommitted(1, 1)
		require.EqualValues(t, -1, w.committed(0))
		r.stop()
	})
}
