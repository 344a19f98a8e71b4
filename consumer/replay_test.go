package consumer

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firetrail/firetrail/dlq"
	"github.com/firetrail/firetrail/kafkaclient"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

func (w *world) replay(change func(*Replay)) ReplayReport {
	w.t.Helper()
	report, err := w.tryReplay(change)
	require.NoError(w.t, err)
	require.True(w.t, report.Done())
	return report
}

func (w *world) tryReplay(change func(*Replay)) (ReplayReport, error) {
	r := Replay{
		Kafka: kafkaclient.Config{Brokers: []string{w.broker}, Dial: w.dial}, Topics: []string{testTopic}, Sink: w.sink,
		Batch: Batch{MaxSize: 7}, LetterTopic: testLetters,
	}
	if change != nil {
		change(&r)
	}
	return r.Run(w.t.Context())
}

// Beside a live group, with letters among the events, as often as one likes: nothing twice.
func TestReplayBesideAGroup(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		first := w.events(30, 0)
		w.events(20, 1)
		bad := w.record(w.event("tenant-1"), 1)
		bad.Value = []byte("no event")
		other := first[3]
		other.Actor.Name = "somebody else"
		w.produce(bad, w.record(other, 0))
		r := w.start(nil)
		w.awaitStored(50)
		w.awaitCommitted(0, 31)
		w.letters(2)

		progress := 0
		for range 2 {
			report := w.replay(func(r *Replay) { r.OnProgress = func(ReplayReport) { progress++ } })
			require.EqualValues(t, 52, report.Read)
			require.EqualValues(t, 52, report.Total)
			require.EqualValues(t, 50, report.Duplicates)
			require.EqualValues(t, 1, report.Conflicts)
			require.Zero(t, report.Stored)
			require.Equal(t, map[string]int64{dlq.ReasonUndecodable: 1, dlq.ReasonConflict: 1}, report.Letters)
		}
		require.GreaterOrEqual(t, progress, 16)
		require.Equal(t, 50, w.sink.Len())
		require.Equal(t, first[3].Actor.Name, w.sink.Rows()[3].Actor.Name)
		require.EqualValues(t, 31, w.committed(0))
		require.Equal(t, Running, r.Stats().State, "the group goes on")
		r.stop()
		ids := map[string]bool{}
		for l, err := range dlq.ReadTopic(t.Context(), testLetters, kgo.SeedBrokers(w.broker), kgo.Dialer(w.dial)) {
			require.NoError(t, err)
			ids[l.ID] = true
		}
		require.Len(t, ids, 2, "the same letters, under the ids they had")
	})
}

func TestReplayRange(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		w.events(10, 0)
		w.events(5, 1)
		pass(time.Minute)
		from := time.Now()
		w.events(4, 0)
		pass(time.Minute)
		to := time.Now()
		w.events(3, 0)
		tenant, nobody := "tenant-1", "nobody"
		for _, c := range []struct {
			change        func(*Replay)
			read, skipped int64
		}{
			{func(r *Replay) { r.Tenant = &nobody }, 22, 22},
			{func(r *Replay) { r.From, r.To = from, to }, 4, 0},
			{func(r *Replay) { r.From = to }, 3, 0},
			{func(r *Replay) { r.To = from; r.Partitions = []int32{0, 2} }, 10, 0},
			{func(r *Replay) { r.Tenant = &tenant }, 22, 17},
			{func(r *Replay) { r.From = time.Now() }, 0, 0},
		} {
			w.sink = &sinkertest.Memory{}
			report := w.replay(c.change)
			require.Equal(t, c.read, report.Read)
			require.Equal(t, c.skipped, report.Skipped)
			require.EqualValues(t, c.read-c.skipped, report.Stored)
			require.EqualValues(t, report.Stored, w.sink.Len())
		}
		_, err := w.tryReplay(func(r *Replay) { r.Partitions = []int32{3} })
		require.ErrorContains(t, err, "no partition 3")
		_, err = Replay{From: to, To: from}.Run(t.Context())
		for _, field := range []string{"kafka: ", "topics: ", "sink: ", "from: "} {
			require.ErrorContains(t, err, field)
		}
	})
}

// An outage is waited for; a bad row costs itself alone, and is a letter in both forms; ctx ends it with a report.
func TestReplayFailures(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *world) {
		events := w.events(40, 0)
		dir, err := dlq.OpenDir(dlq.DirConfig{Path: filepath.Join(t.TempDir(), "dlq")})
		require.NoError(t, err)
		defer func() { require.NoError(t, dir.Close()) }()
		poison := func(r *sinkers.Row) error {
			if r.ID == events[11].ID {
				return errStrange
			}
			return nil
		}
		w.sink.OnWrite(sinkertest.Chain(sinkertest.Times(6, sinkertest.Fail(errStrange)), sinkertest.FailBatches(poison)))
		report := w.replay(func(r *Replay) { r.LetterDir = dir })
		require.EqualValues(t, 39, report.Stored)
		require.Equal(t, map[string]int64{dlq.ReasonRefused: 1}, report.Letters)
		w.letters(1)
		noted := 0
		for e, err := range w.sink.ReadLedger(t.Context(), sinkers.Scan{AllTenants: true}) {
			require.NoError(t, err)
			require.Equal(t, events[11].Seq, e.From)
			require.Equal(t, sinkers.LedgerDeadLetter, e.Reason)
			noted++
		}
		require.Equal(t, 1, noted)
		require.Equal(t, 1, dir.Stats().Dead.Letters+dir.Stats().Waiting.Letters)

		w.sink.Away(errStrange)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		report, err = Replay{
			Kafka: kafkaclient.Config{Brokers: []string{w.broker}, Dial: w.dial}, Topics: []string{testTopic}, Sink: w.sink,
		}.Run(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, report.Done())
		require.Zero(t, report.Partitions[0].At)
		w.sink.Away(nil)

		// Without a probe nothing tells whether it is the row or the sink: it stays where it is, in Kafka.
		w.sink = &sinkertest.Memory{}
		w.sink.OnWrite(sinkertest.FailBatches(func(*sinkers.Row) error { return errStrange }))
		_, err = w.tryReplay(func(r *Replay) { r.Sink = plain{w.sink}; r.Batch.MaxSize = 1 })
		require.ErrorContains(t, err, "offset 0: can't be stored by itself")
	})
}

// plain is a sink without companions.
type plain struct{ sinkers.Sinker }

// What Kafka deletes during a replay is no reason to wait for it, and is counted.
func TestReplayOfWhatIsDeleted(t *testing.T) {
	for upTo := range int64(31) {
		if upTo%10 != 0 {
			continue
		}
		inWorld(t, 1, func(t *testing.T, w *world) {
			for range 30 { // batches of their own
				w.events(1, 0)
			}
			w.cluster.ControlKey(kmsg.Fetch.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) { // the first
				w.cluster.SleepControl(func() { w.deleteRecords(0, upTo) })
				return nil, nil, false
			})
			report := w.replay(nil)
			require.Equal(t, upTo, report.Lost)
			require.Equal(t, 30-upTo, report.Read)
		})
	}
	inWorld(t, 1, func(t *testing.T, w *world) {
		for range 30 {
			w.events(1, 0)
		}
		deleted := false
		report := w.replay(func(r *Replay) {
			r.Batch.MaxSize = 1
			r.OnProgress = func(ReplayReport) {
				if !deleted {
					deleted = true
					w.deleteRecords(0, 30)
				}
			}
		})
		require.EqualValues(t, 30, report.Read+report.Lost)
	})
}

// Neither way of replaying brings back what a prune or an erasure has removed.
func TestReplayRaisesNobody(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		w.events(10, 0)
		w.events(10, 1)
		w.events(5, 2)
		pass(time.Minute)
		cut := time.Now()
		w.events(7, 0)
		w.events(3, 1)
		r := w.start(nil)
		w.awaitStored(35)
		w.awaitCommitted(0, 17)
		r.stop()
		pass(time.Minute)
		n, err := w.sink.Erase(t.Context(), sinkers.Erasure{Tenant: "tenant-1"})
		require.NoError(t, err)
		require.EqualValues(t, 13, n)
		n, err = w.sink.Prune(t.Context(), cut, false)
		require.NoError(t, err)
		require.EqualValues(t, 15, n)
		left := w.sink.Rows()
		require.Len(t, left, 7)

		report := w.replay(nil)
		require.EqualValues(t, 35, report.Read)
		require.EqualValues(t, 7, report.Duplicates)
		require.EqualValues(t, 28, report.Expired+report.Erased)
		require.Positive(t, report.Erased)
		require.Zero(t, report.Stored)
		require.Equal(t, left, w.sink.Rows())

		back := w.rewind()
		back.ToBeginning = true
		w.moved(back)
		r = w.start(nil)
		w.await("all to be read again", func() bool { s := r.Stats(); return s.Duplicates+s.Expired+s.Erased == 35 })
		require.Equal(t, left, w.sink.Rows())
		r.stop()
		w.noLetters()
		verdict, err := Verify{Sink: w.sink, Scan: sinkers.Scan{AllTenants: true}}.Run(t.Context())
		require.NoError(t, err)
		require.Equal(t, verdict.Missing, verdict.Unexplained+verdict.Explained[sinkers.LedgerExpired]+verdict.Explained[sinkers.LedgerErased])
	})
}
