package dlq

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// copier puts letters into a topic that may fail.
type copier struct {
	topic map[string]int
	fails func(l *Letter) bool
}

func (c *copier) put(_ context.Context, ls []Letter) (copies []Copy, err error) {
	for i := range ls {
		if c.fails != nil && c.fails(&ls[i]) {
			copies, err = append(copies, NoCopy), errors.New("away")
			continue
		}
		c.topic[ls[i].ID]++
		copies = append(copies, WholeCopy)
	}
	return copies, err
}

// Dead letters that only the directory has are copied once each, the oldest first; what fails is tried again; waiting ones
// are not copied before they are dead.
func TestCopyDead(t *testing.T) {
	d := openDir(t, DirConfig{MaxScans: 1})
	require.False(t, d.Uncopied())
	require.NoError(t, d.Put(t.Context(), Dead, letters("a", 0, 600)))
	require.NoError(t, d.Put(t.Context(), Dead, wholeCopies(letters("b", 0, 5))))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("c", 0, 3)))
	require.NoError(t, d.Put(t.Context(), Dead, append(wholeCopies(letters("d", 0, 1)), letters("d", 1, 3)...)))
	require.True(t, d.Uncopied())
	c := &copier{topic: map[string]int{}, fails: func(l *Letter) bool { return l.Offset == 300 }}
	n, err := d.CopyDead(t.Context(), c.put)
	require.ErrorContains(t, err, "away")
	require.Equal(t, 511, n, "two chunks, but for the one that failed; the rest waits")
	c.fails = nil
	for _, want := range []int{89, 2, 0} {
		n, err = d.CopyDead(t.Context(), c.put)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.False(t, d.Uncopied())
	require.Len(t, c.topic, 602)
	for id, times := range c.topic {
		require.Equal(t, 1, times, id)
	}

	var x destination
	x.answer = func(Letter) Outcome { return Refused }
	_, err = d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.True(t, d.Uncopied(), "they are dead now")
	again := openDir(t, DirConfig{Path: d.cfg.Path})
	n, err = again.CopyDead(t.Context(), c.put)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	for _, l := range stored(t, again, Dead) {
		require.Equal(t, WholeCopy, l.Copied)
	}
	require.Len(t, stored(t, again, Dead), 611)
}

// A damaged file is left as it is, and one at which somebody else works to them; the others go on.
func TestCopyDeadLeavesOut(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, DirConfig{Path: path})
	b := fileOf(letters("a", 0, 2))
	damaged := place(t, d, "a", stateDead, b[:len(b)-5])
	busy := place(t, d, "b", stateDead, fileOf(letters("b", 0, 1)))
	place(t, d, "c", stateDead, fileOf(letters("c", 0, 1)))
	lock, err := d.fs.Lock(busy)
	require.NoError(t, err)
	defer lock.Close()
	e := openDir(t, DirConfig{Path: path})
	c := &copier{topic: map[string]int{}}
	for _, want := range []int{1, 0} {
		n, err := e.CopyDead(t.Context(), c.put)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	require.Equal(t, map[string]int{"c-0": 1}, c.topic)
	got, err := os.ReadFile(damaged)
	require.NoError(t, err)
	require.Equal(t, b[:len(b)-5], got)
}

// A crash at any step of copying leaves every letter, once, and no damage; what wasn't noted is copied again.
func TestCopyDeadCrash(t *testing.T) {
	for n := 1; ; n++ {
		m := newMemFS()
		d := openDir(t, DirConfig{Path: "d", fs: m})
		require.NoError(t, d.Put(t.Context(), Dead, letters("a", 0, 10)))
		begin := len(m.ops)
		m.fail = func(at int, _ string) error {
			if at >= begin+n {
				return errPower
			}
			return nil
		}
		c := &copier{topic: map[string]int{}, fails: func(l *Letter) bool { return l.Offset == 3 }}
		_, _ = d.CopyDead(t.Context(), c.put)
		changes := len(m.pending)
		for keep := range changes + 1 {
			for _, after := range []*memFS{m.powerCut(keep, -1, 0.5), m.powerCut(changes, keep, 0), m.kill()} {
				again := openDir(t, DirConfig{Path: "d", fs: after})
				require.Equal(t, ids(letters("a", 0, 10)), ids(stored(t, again, Dead)), "before operation %d", n)
				c.fails = nil
				_, err := again.CopyDead(t.Context(), c.put)
				require.NoError(t, err)
				require.Len(t, c.topic, 10)
				require.False(t, again.Uncopied())
			}
		}
		if len(m.ops) < begin+n {
			require.Greater(t, n, 5)
			require.NoError(t, d.Close())
			return
		}
	}
}

// Find reads whole what is wanted, whatever the id looks like, and passes over damage.
func TestFind(t *testing.T) {
	d := openDir(t, DirConfig{})
	odd := letters("a", 0, 4)
	odd[1].ID, odd[2].ID = "\xff\x00", `quoted "id" \`
	require.NoError(t, d.Put(t.Context(), Dead, odd))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("w", 0, 3)))
	wanted := map[string]bool{"a-3": true, "\xff\x00": true, `quoted "id" \`: true, "w-1": true}
	find := func() (found []string) {
		for l, err := range d.Find(t.Context(), func(id string) bool { return wanted[id] }) {
			require.NoError(t, err)
			require.NotEmpty(t, l.Value)
			found = append(found, l.ID)
		}
		return found
	}
	require.ElementsMatch(t, []string{"a-3", "\xff\x00", `quoted "id" \`, "w-1"}, find())
	for _, f := range names(t, d.cfg.Path) {
		if strings.HasPrefix(f, "w_") {
			path := filepath.Join(d.cfg.Path, f)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			b[strings.Index(string(b), `"w-1"`)+1] = 'v'
			require.NoError(t, os.WriteFile(path, b, 0o600))
		}
	}
	wanted["v-1"] = true
	require.ElementsMatch(t, []string{"a-3", "\xff\x00", `quoted "id" \`}, find(), "a letter that is damaged isn't there")
	for _, err := range d.Find(t.Context(), func(string) bool { return true }) {
		require.NoError(t, err)
		break
	}
}
