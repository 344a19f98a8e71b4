package consumer

import (
	"errors"
	"maps"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/dlq"
)

// A worker that is killed again and again while the topic of letters is away, or before it commits, writes each letter to
// the directory once, and once more to the topic at the most.
func TestLettersOfACrashLoop(t *testing.T) {
	const bad = 300
	inWorld(t, 1, func(t *testing.T, w *world) {
		path := filepath.Join(t.TempDir(), "dlq")
		for range bad {
			w.produce(garbage())
		}
		want := map[string]int{}
		for i := range bad {
			want[dlq.OriginID(w.topicID(), 0, int64(i))] = 1
		}
		fault := func(key kmsg.Key, topic string) *kfake.FaultHandle {
			return w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Topic: topic, Err: kerr.NotEnoughReplicas, Count: -1})
		}
		topicAway, noCommit := fault(kmsg.Produce, testLetters), fault(kmsg.OffsetCommit, "")
		for round := range 5 {
			if round == 3 {
				topicAway.Remove()
			}
			d, err := dlq.OpenDir(dlq.DirConfig{Path: path})
			require.NoError(t, err)
			r := w.start(func(c *Config) { c.LetterDir = d })
			w.await("the letters", func() bool {
				s := r.Stats()
				return s.Letters[dlq.ReasonUndecodable] == bad && (round < 3 && s.TopicErrors > 3 || round >= 3 && s.Partitions[0].Mark == bad)
			})
			r.abort()
			<-r.done
			files, _ := lettersIn(t, d)
			require.True(t, maps.Equal(want, files), "after run %d: %d letters", round, len(files))
			require.NoError(t, d.Close())
			require.EqualValues(t, -1, w.committed(0))
		}
		noCommit.Remove()
		d, err := dlq.OpenDir(dlq.DirConfig{Path: path})
		require.NoError(t, err)
		defer d.Close()
		r := w.start(func(c *Config) { c.LetterDir = d })
		w.awaitCommitted(0, bad)
		w.await("notes in the files", func() bool { return !d.Uncopied() })
		r.stop()
		files, copies := lettersIn(t, d)
		require.True(t, maps.Equal(want, files))
		for id, c := range copies {
			require.Equal(t, dlq.WholeCopy, c, id)
		}
		whole, _ := w.topicOfLetters()
		require.Len(t, whole, bad)
		for id, times := range whole {
			require.LessOrEqual(t, times, 3, id) // of the two that were killed before the files could say so, and the last
		}
	})
}

// What the retry engine buries goes to the topic too, with what it was refused for.
func TestBuriedLettersAreCopied(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		d, err := dlq.OpenDir(dlq.DirConfig{Path: t.TempDir(), MaxScans: 2})
		require.NoError(t, err)
		defer d.Close()
		rec := w.record(w.event("tenant-0"), 0)
		spilled := dlq.Letter{ID: "spilled", Tenant: "tenant-0", Reason: dlq.ReasonOutage, Key: rec.Key, Value: []byte("no event")}
		require.NoError(t, d.Put(t.Context(), dlq.Waiting, []dlq.Letter{spilled}))
		r := w.start(func(c *Config) { c.LetterDir = d })
		w.await("a note in the file", func() bool { return d.Stats().Dead.Letters == 1 && !d.Uncopied() })
		rec = w.letters(1)[0]
		require.Equal(t, "spilled", header(rec, dlq.HeaderLetterID))
		require.Equal(t, dlq.ReasonUndecodable, header(rec, "__connect.errors.exception.class.name"))
		r.stop()
	})
}

// Over its budget the directory gives up the oldest letters that the topic has, and no others, whichever run of the worker
// wrote them; no partition waits for room.
func TestLettersOverBudget(t *testing.T) {
	const bad = 40
	inWorld(t, 1, func(t *testing.T, w *world) {
		path := t.TempDir()
		for run := range 4 {
			d, err := dlq.OpenDir(dlq.DirConfig{Path: path, MaxBytes: 300_000})
			require.NoError(t, err)
			r := w.start(func(c *Config) { c.LetterDir = d })
			for range bad / 4 {
				w.produce(large())
			}
			w.awaitCommitted(0, int64(bad/4*(run+1)))
			w.await("files", func() bool { return r.Stats().LateLetters == 0 })
			r.stop()
			require.LessOrEqual(t, d.Stats().Dead.Bytes, int64(300_000))
			if run > 1 {
				require.Positive(t, d.Stats().Discarded)
			}
			require.Zero(t, r.Stats().HalfLetters)
			require.NoError(t, d.Close())
		}
		whole, _ := w.topicOfLetters()
		require.Len(t, whole, bad)
	})
}

// What waits in memory for the directory is bounded in letters and in bytes, has bytes of its own, and what had to go
// is counted.
func TestLateLettersAreBounded(t *testing.T) {
	fetch := make([]byte, 1<<20)
	late := func(size int) *letter {
		return &letter{err: errors.New("no"), item: item{part: &partition{}, rec: &kgo.Record{Key: fetch[:1:1], Value: fetch[1:size:len(fetch)]}}}
	}
	var q lateLetters
	for i := range maxLate + 5 {
		require.Equal(t, i >= maxLate, q.add(late(100)) == 1)
	}
	require.Len(t, q.letters, maxLate)
	require.EqualValues(t, maxLate*100, q.bytes)
	own := q.letters[0].item.rec
	require.NotSame(t, unsafe.SliceData(fetch[1:]), unsafe.SliceData(own.Value), "a small record keeps no fetch in memory")
	require.Equal(t, fetch[1:100], own.Value)

	gone := 0
	for range 40 {
		gone += q.add(late(len(fetch)))
	}
	require.Len(t, q.letters, maxLateBytes/len(fetch))
	require.EqualValues(t, maxLateBytes, q.bytes)
	require.Equal(t, maxLate+40-len(q.letters), gone)
	q.drop(len(q.letters))
	require.Zero(t, q.bytes)
	require.True(t, q.empty())

	p := &postman{stats: &counters{}, log: (&world{t: t}).config().Logger}
	for range 20 {
		p.keepLate(late(len(fetch)))
	}
	p.giveUpLate()
	require.EqualValues(t, 20, p.stats.s.HalfLetters)
}

// A redriven record that fails again is another letter, which goes on counting; one that was redriven three times stays.
func TestRedrivenLetterFailsAgain(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		d := w.dir(t)
		defer d.Close()
		w.produce(garbage())
		r := w.start(func(c *Config) { c.LetterDir = d })
		w.awaitCommitted(0, 1)
		journal, err := dlq.OpenJournal(filepath.Join(t.TempDir(), "journal"))
		require.NoError(t, err)
		defer journal.Close()
		redrive := dlq.Redrive{
			View: dlq.View{Dir: d, Topic: testLetters, Kafka: []kgo.Opt{kgo.SeedBrokers(w.broker), kgo.Dialer(w.dial)}}, Client: w.cl, Journal: journal,
		}
		for n := int64(1); n <= 4; n++ {
			report, err := redrive.Run(t.Context())
			require.NoError(t, err)
			if n == 4 {
				require.Equal(t, dlq.RedriveReport{dlq.RedriveLooping: 1, dlq.RedriveAlready: 3}, report)
				break
			}
			want := dlq.RedriveReport{dlq.RedriveSent: 1}
			if n > 1 {
				want[dlq.RedriveAlready] = int(n - 1)
			}
			require.Equal(t, want, report, n)
			w.awaitCommitted(0, n+1)
		}
		pass(time.Hour)
		require.EqualValues(t, 4, w.committed(0), "nobody redrives it by itself")
		r.stop()
		var last dlq.Entry
		states := map[bool]int{}
		for e, err := range redrive.View.Letters(t.Context()) {
			require.NoError(t, err)
			states[e.Successor != ""]++
			if e.Successor == "" {
				last = e
			}
		}
		require.Equal(t, map[bool]int{true: 3, false: 1}, states)
		require.Equal(t, 3, last.Redrives())
		require.Equal(t, 4, last.Attempts, "one try each time")
		require.Equal(t, "garbage", string(last.Value))
		require.Equal(t, "a", string(last.Key))
	})
}
