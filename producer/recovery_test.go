package producer

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/wal"
)

// damage changes a file of the log in slot 0 from where it first holds what.
func damage(t testing.TB, cfg Config, file, what string, change func(from []byte)) {
	name := filepath.Join(cfg.Dir, cfg.Namespace, "0", file)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	at := bytes.Index(b, []byte(what))
	require.Positive(t, at)
	change(b[at:])
	require.NoError(t, os.WriteFile(name, b, 0o600))
}

func fireMany(p *Producer, n int) {
	for i := range n {
		p.Fire(context.Background(), event("a", i))
	}
}

// TestEndOfLogLost: nothing comes behind what the log has lost at its end, and yet nobody waits for it.
func TestEndOfLogLost(t *testing.T) {
	cfg := small(t, cluster(t))
	away := cfg
	brokersAway(&away)
	p := start(t, away)
	fireMany(p, 50)
	require.NoError(t, p.log.Sync(within(t, 30*time.Second)))
	leave(t, p)
	damage(t, cfg, "0000000000000000.seg", `"n":30`, func(from []byte) { clear(from) })

	p = start(t, cfg)
	flush(t, p)
	require.Eventually(t, func() bool { return p.Stats().Backlog == 0 }, 30*time.Second, time.Millisecond)
	s := p.Stats()
	require.EqualValues(t, 30, s.Reshipped)
	require.Equal(t, map[DropReason]uint64{DropLost: 21}, s.Dropped, "and the end of the source")
	fireMany(p, 5)
	flush(t, p)
	require.EqualValues(t, 5, p.Stats().Shipped, "what comes later is read on")
}

// TestRecoveredBehindALoss: what an earlier run fired is told from this run's, however much of it is lost.
func TestRecoveredBehindALoss(t *testing.T) {
	cfg := small(t, cluster(t))
	other := false
	cfg.OnAcknowledged = func(_ firetrail.ID, recovered bool) { other = other || !recovered }
	away, d := cfg, newDisk(working)
	brokersAway(&away)
	away.WAL.FS = d
	p := start(t, away)
	d.set(full) // so that the ring alone has what comes
	fireMany(p, 20)
	_ = shut(p, 50*time.Millisecond)
	<-p.closed
	damage(t, cfg, "ring", `"n":10`, func(from []byte) {
		before, _, found := bytes.Cut(from, []byte(`"n":14`))
		require.True(t, found)
		clear(before)
	})

	p = start(t, cfg)
	flush(t, p)
	s := p.Stats()
	require.NotZero(t, s.Dropped[DropLost])
	require.Equal(t, s.Recovered, s.Reshipped)
	require.Zero(t, s.Shipped)
	require.NoError(t, shut(p, 20*time.Second))
	require.False(t, other)
}

// TestMaxEventsAfterARestart: what an earlier run left in the log counts.
func TestMaxEventsAfterARestart(t *testing.T) {
	cfg := small(t, cluster(t))
	brokersAway(&cfg)
	cfg.MaxEvents = 20
	for range 2 {
		p := start(t, cfg)
		fireMany(p, 30)
		require.EqualValues(t, 20, p.Stats().Backlog)
		leave(t, p)
	}
}

// TestNoRoomForDeadLetters: a partition waits for an event of its own that can't be kept as a letter; the others go on.
func TestNoRoomForDeadLetters(t *testing.T) {
	cfg := small(t, cluster(t))
	cfg.LetterMaxBytes = 1
	p := start(t, cfg)
	bad := event("a", 1)
	bad.New = firetrail.Raw([]byte("{bad"))
	p.Fire(context.Background(), bad)
	fireMany(p, 20)
	others := 0
	for _, tenant := range []string{"b", "c", "d", "e", "f", "g"} {
		if p.routes.partition([]byte(tenant), 4) != p.routes.partition([]byte("a"), 4) {
			p.Fire(context.Background(), event(tenant, 1))
			others++
		}
	}
	require.Positive(t, others)
	require.Eventually(t, func() bool { return p.Stats().Shipped == uint64(others) }, 30*time.Second, time.Millisecond)
	require.Len(t, consume(t, cfg.Kafka.Brokers, DefaultTopic), others, "what is behind it keeps its place")
	leave(t, p)
	require.Zero(t, p.Stats().DroppedEvents())

	cfg.LetterMaxBytes = 0 // there is room again
	p = start(t, cfg)
	flush(t, p)
	require.EqualValues(t, 1, p.Stats().Letters)
	require.Len(t, distinct(consume(t, cfg.Kafka.Brokers, DefaultTopic)), others+20, "what was behind it may be sent twice")
}

// unreadable is a file system whose segments can't be opened once fail is set.
type unreadable struct {
	wal.FS
	fail atomic.Bool
}

func (u *unreadable) Open(name string) (wal.File, error) {
	if u.fail.Load() && filepath.Ext(name) == ".seg" {
		return nil, syscall.EIO
	}
	return u.FS.Open(name)
}

// TestReadErrorsAreTold: also those of a cursor that doesn't wait.
func TestReadErrorsAreTold(t *testing.T) {
	cfg := small(t, cluster(t))
	var lines bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	s := &shipper{p: &Producer{cfg: cfg, routes: newRoutes(DefaultTopic, "")}, window: newWindow(0)}
	log, err := wal.OpenMemory(wal.Config{})
	require.NoError(t, err)
	_, err = s.read(context.Background(), &cursor{reader: log.NewReader()}, 0)
	require.NoError(t, err)
	require.Empty(t, lines.String(), "nothing to read is no error")

	c := cfg.WAL
	c.Dir = t.TempDir()
	log, err = wal.Open(c)
	require.NoError(t, err)
	_, _, err = log.Append(recordEvent, []byte("x"))
	require.NoError(t, err)
	require.NoError(t, log.Close(context.Background()))
	disk := &unreadable{FS: wal.OSFS()}
	c.FS = disk
	log, err = wal.Open(c)
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close(context.Background())) }()
	disk.fail.Store(true)
	_, err = s.read(context.Background(), &cursor{reader: log.NewReader()}, 0)
	require.NoError(t, err)
	require.Contains(t, lines.String(), "can't be read")
}

// TestParkedLoss: what is lost between the shipper's reading it and its going to a file is done with, too.
func TestParkedLoss(t *testing.T) {
	cfg := small(t, cluster(t))
	p := start(t, cfg)
	c := cfg.WAL
	c.Dir = t.TempDir()
	log, err := wal.Open(c)
	require.NoError(t, err)
	for i := range 10 {
		e := event("a", i)
		b, _, err := e.AppendBinary(nil)
		require.NoError(t, err)
		_, _, err = log.Append(recordEvent, firetrail.StampBinary(b, (&firetrail.Stamper{}).Stamp(&e, int64(i))))
		require.NoError(t, err)
	}
	require.NoError(t, log.Close(context.Background()))
	name := filepath.Join(c.Dir, "0000000000000000.seg")
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	b[bytes.Index(b, []byte(`"n":5`))] ^= 0xff
	require.NoError(t, os.WriteFile(name, b, 0o600))
	log, err = wal.Open(c)
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close(context.Background())) }()

	s := newShipper(p, log)
	k := &parking{s: s, topic: DefaultTopic, partition: p.routes.partition([]byte("a"), 4), among: 4, ctx: context.Background(), next: 1}
	reader := log.NewReader()
	defer func() { require.NoError(t, reader.Close()) }()
	for k.next <= 10 {
		require.NoError(t, k.put(reader, 50*time.Millisecond))
	}
	require.EqualValues(t, 10, s.window.mark())
	require.EqualValues(t, 9, k.events.Load())
}
