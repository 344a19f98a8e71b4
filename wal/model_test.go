package wal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is what a log must hold, beside a log that is appended to, released, read, synced, closed, killed, cut off from its
// power and failed by its disk in any order.
type model struct {
	t        *rapid.T
	cfg      Config
	fsys     *memFS
	l        *Log
	records  []modelRecord // above the mark, ascending
	released uint64
	unsafe   uint64 // of this open
	lost     uint64 // told by this open
	ids      int
	faulty   bool
}

type modelRecord struct {
	seq    uint64
	what   string
	safe   bool // a kill can't lose it
	synced bool // nor a power cut
}

func (m *model) open() {
	m.cfg.FS = m.fsys
	l, err := Open(m.cfg)
	if err != nil {
		require.True(m.t, m.faulty, "%v", err)
		m.heal(m.t)
		l, err = Open(m.cfg)
	}
	require.NoError(m.t, err)
	m.l, m.unsafe = l, 0
}

func (m *model) append(t *rapid.T) {
	for range rapid.IntRange(1, 60).Draw(t, "n") {
		m.ids++
		what := fmt.Sprint(m.ids, strings.Repeat("x", rapid.IntRange(0, 600).Draw(t, "size")))
		seq, safe, err := m.l.Append(byte(m.ids), []byte(what))
		if err != nil {
			require.ErrorIs(t, err, ErrFull)
			continue
		}
		if !safe {
			m.unsafe++
		}
		m.records = append(m.records, modelRecord{seq: seq, what: what, safe: safe})
	}
	require.Equal(t, m.unsafe, m.l.Stats().Unprotected)
}

func (m *model) sync(t *rapid.T) {
	err := m.l.Sync(timeout(t))
	if err != nil {
		require.True(t, m.faulty || m.l.Stats().DegradedTimes > 0, "%v", err)
		return
	}
	for i := range m.records {
		m.records[i].synced, m.records[i].safe = true, true
	}
}

func (m *model) release(t *rapid.T) {
	if len(m.records) == 0 {
		return
	}
	n := rapid.IntRange(0, len(m.records)-1).Draw(t, "upto")
	m.released = m.records[n].seq
	m.l.Release(m.released)
	m.records = m.records[n+1:]
}

func (m *model) fail(t *rapid.T) {
	ops := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"write", "sync", "create", "allocate", "rename", "syncdir", "remove", "open", "read", "truncate", "map", "free", "size"}), 1, 4, rapid.ID[string]).Draw(t, "ops")
	err := rapid.SampledFrom([]error{syscall.EIO, syscall.ENOSPC, errShort}).Draw(t, "error")
	m.faulty = true
	m.fsys.setFault(func(op, _ string) error {
		for _, o := range ops {
			if op == o {
				return err
			}
		}
		return nil
	})
}

func (m *model) heal(*rapid.T) {
	m.faulty = false
	m.fsys.setFault(nil)
}

// read reads everything; while the log is open nothing may be missing.
func (m *model) read(t *rapid.T) {
	if m.faulty || len(m.records) == 0 {
		return
	}
	got := m.readAll(t)
	require.Len(t, got, len(m.records), "%+v", m.l.Stats())
	require.Equal(t, m.lost, m.l.Stats().Lost)
}

// readAll reads to the last record, and checks that each is what was appended.
func (m *model) readAll(t *rapid.T) map[uint64]bool {
	want := map[uint64]string{}
	for _, r := range m.records {
		want[r.seq] = r.what
	}
	last := m.records[len(m.records)-1].seq
	got := map[uint64]bool{}
	r := m.l.NewReader()
	defer func() { require.NoError(t, r.Close()) }()
	for before := uint64(0); before < last; {
		records, err := r.Read(timeout(t), nil, 50)
		require.NoError(t, err, "at %d of %d, %+v", before, last, m.l.Stats())
		for _, rec := range records {
			require.Greater(t, rec.Seq, before)
			what, ok := want[rec.Seq]
			require.True(t, ok || rec.Seq <= m.released, "%d was never appended", rec.Seq)
			if ok {
				require.Equal(t, what, string(rec.Payload), "record %d", rec.Seq)
				got[rec.Seq] = true
			}
			before = rec.Seq
		}
	}
	return got
}

func (m *model) close(t *rapid.T) {
	err := closeLog(m.l)
	gone := int(m.l.Stats().OverflowLost)
	require.True(t, err == nil || m.faulty || m.l.Stats().DegradedTimes > 0, "%v", err)
	for i := range m.records {
		m.records[i].safe = true
		m.records[i].synced = m.records[i].synced || err == nil
	}
	m.records = m.records[:len(m.records)-gone]
	m.reopen(t)
}

func (m *model) kill(t *rapid.T) {
	was, old := m.l, m.fsys
	m.fsys = m.fsys.kill()
	if m.faulty {
		m.fsys.setFault(old.fault)
	}
	_ = closeLog(was) // on the file system that nobody sees any more
	m.reopen(t)
}

func (m *model) powerCut(t *rapid.T) {
	was := m.l
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	m.fsys = m.fsys.crash(randomly(rnd))
	m.faulty = false
	_ = closeLog(was)
	for i := range m.records {
		m.records[i].safe = m.records[i].synced
	}
	m.reopen(t)
}

// reopen opens the log and compares: each record that is safe is there, each that isn't is there or nothing, and every
// sequence that was handed out and is below the next is read, released or counted as lost.
func (m *model) reopen(t *rapid.T) {
	m.open()
	m.heal(t)
	s := m.l.Stats()
	require.LessOrEqual(t, s.Released, max(m.released, s.Next-1))
	seq, _, err := m.l.Append(0, []byte("after"))
	for err != nil { // it was full
		m.release(t)
		seq, _, err = m.l.Append(0, []byte("after"))
	}
	kept := m.records[:0:0]
	for _, r := range m.records {
		if r.seq < seq {
			kept = append(kept, r)
		} else {
			require.False(t, r.safe, "record %d is gone, and its sequence was given again", r.seq)
		}
	}
	kept = append(kept, modelRecord{seq: seq, what: "after", safe: true})
	m.records = kept
	got := m.readAll(t)
	var rest []modelRecord
	from := min(max(m.released, s.Released), seq-1)
	for _, r := range m.records {
		switch {
		case got[r.seq]:
			r.safe = true
			r.synced = r.seq != seq
			rest = append(rest, r)
		case r.seq > from:
			require.False(t, r.safe, "record %d is missing; %+v", r.seq, m.l.Stats())
		}
	}
	m.records = rest
	lost := m.l.Stats().Lost
	missing := seq - from - uint64(len(rest))
	require.LessOrEqual(t, missing, lost, "%+v", m.l.Stats())
	m.released = from
	if lost > 0 { // begin anew with a log of which nothing is missing
		m.released = seq
		m.l.Release(seq)
		m.records = nil
		require.NoError(t, m.l.Sync(timeout(t)))
	}
	m.unsafe, m.lost = m.l.Stats().Unprotected, lost
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, fsys: newMemFS(), cfg: small(nil)}
		m.cfg.MaxRecord, m.cfg.SegmentSize, m.cfg.MaxOverflow = 1<<10, 8<<10, 256<<10
		m.cfg.Sync = rapid.SampledFrom([]SyncPolicy{SyncInterval, SyncCommit}).Draw(t, "policy")
		m.open()
		defer func() { m.heal(t); _ = closeLog(m.l) }()
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append, "sync": m.sync, "release": m.release, "read": m.read,
			"fail": m.fail, "heal": m.heal, "close": m.close, "kill": m.kill, "power cut": m.powerCut,
		})
	})
}
