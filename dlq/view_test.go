package dlq

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// viewOf is the view of a directory and of the topic of a broker.
func viewOf(d *Dir, c *kfake.Cluster) View {
	v := View{Dir: d}
	if c != nil {
		v.Topic, v.Kafka = lettersTopic, []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}
	}
	return v
}

func entries(t *testing.T, v View) map[string]Entry {
	t.Helper()
	got := map[string]Entry{}
	for e, err := range v.Letters(t.Context()) {
		require.NoError(t, err)
		require.NotContains(t, got, e.ID, "each letter once")
		got[e.ID] = e
	}
	return got
}

func TestViewIsOne(t *testing.T) {
	c, d := broker(t), openDir(t, DirConfig{})
	topic := NewTopic(client(t, c), lettersTopic)
	both, waiting := letters("both", 0, 3), letters("waiting", 0, 2)
	again := letter("again", 0)
	again.Headers = append(again.Headers,
		Header{HeaderLetterID, []byte("topic-0")}, Header{HeaderAttempts, []byte("3")}, Header{HeaderRedrives, []byte("2")})
	large := letter("large", 0)
	require.NoError(t, d.Put(t.Context(), Dead, append(letters("dir", 0, 2), both...)))
	require.NoError(t, d.Put(t.Context(), Dead, both[:1])) // once more: a put that was tried again
	require.NoError(t, d.Put(t.Context(), Waiting, waiting))
	require.NoError(t, d.Put(t.Context(), Dead, []Letter{large}))
	require.NoError(t, topic.Put(t.Context(), append(append(letters("topic", 0, 2), both...), waiting[0], again, large.Stub(), letter("stub", 0).Stub())))
	require.NoError(t, topic.Put(t.Context(), both))
	require.NoError(t, client(t, c).ProduceSync(t.Context(), &kgo.Record{Topic: lettersTopic, Value: []byte("no letter")}).FirstErr())

	var problems []error
	v := viewOf(d, c)
	v.OnProblem = func(err error) { problems = append(problems, err) }
	got := entries(t, v)
	require.Len(t, got, 2+3+2+2+1+1+1)
	require.Len(t, problems, 1)
	require.ErrorIs(t, problems[0], ErrNotLetter)
	for id, want := range map[string]Entry{
		"dir-0":     {Kind: Dead, File: "dir"},
		"both-0":    {Kind: Dead, File: "both", InTopic: true},
		"waiting-0": {Kind: Waiting, File: "waiting", InTopic: true},
		"waiting-1": {Kind: Waiting, File: "waiting"},
		"topic-0":   {Kind: Dead, InTopic: true, Successor: "again-0"},
		"again-0":   {Kind: Dead, InTopic: true},
		"large-0":   {Kind: Dead, File: "large", InTopic: true},
		"stub-0":    {Kind: Dead, InTopic: true, Stub: true},
	} {
		e := got[id]
		require.Equal(t, want.File, e.File[:min(len(e.File), len(want.File))], id)
		want.Letter, want.File = e.Letter, e.File
		require.Equal(t, want, e, id)
	}
	require.Equal(t, letter("large", 0), got["large-0"].Letter, "the one with its bytes is shown")
	l := got["again-0"].Letter
	require.Equal(t, 2, l.Redrives())

	require.Len(t, entries(t, viewOf(d, nil)), 8)
	require.Len(t, entries(t, viewOf(nil, c)), 2+3+1+1+1+1)
	for _, err := range (View{Topic: "nosuch", Kafka: v.Kafka}).Letters(t.Context()) {
		require.ErrorContains(t, err, "nosuch")
	}
}

func TestFilter(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := Letter{ID: "a", Tenant: "t", Reason: "refused", FirstFailed: at, Topic: "x", Partition: 3}
	tenant, none, three, zero := "t", "", int32(3), int32(0)
	for _, f := range []Filter{{}, {ID: "a"}, {Tenant: &tenant}, {Reason: "refused"}, {Since: at}, {Until: at.Add(1)}, {Topic: "x"}, {Partition: &three}} {
		require.True(t, f.Match(&l), "%+v", f)
	}
	for _, f := range []Filter{{ID: "b"}, {Tenant: &none}, {Reason: "conflict"}, {Since: at.Add(1)}, {Until: at}, {Topic: "y"}, {Partition: &zero}} {
		require.False(t, f.Match(&l), "%+v", f)
	}
}

// A directory that is opened to look at is left as it is, and one that isn't there isn't made.
func TestReadOnly(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "dlq")
	_, err := OpenDir(DirConfig{Path: missing, ReadOnly: true})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoFileExists(t, missing)

	d := openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
	file := names(t, d.cfg.Path)[0]
	work := file + ".processing" // of a process that died
	require.NoError(t, os.Rename(filepath.Join(d.cfg.Path, file), filepath.Join(d.cfg.Path, work)))
	r := openDir(t, DirConfig{Path: d.cfg.Path, ReadOnly: true})
	require.Contains(t, entries(t, viewOf(r, nil)), "a-0")
	require.ErrorIs(t, r.Put(t.Context(), Dead, letters("a", 1, 2)), ErrReadOnly)
	_, err = r.Purge(t.Context(), Purge{Waiting: true})
	require.ErrorIs(t, err, ErrReadOnly)
	_, err = r.Purge(t.Context(), Purge{Waiting: true, DryRun: true})
	require.NoError(t, err)
	require.Equal(t, []string{work}, names(t, d.cfg.Path))
}
