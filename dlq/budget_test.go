package dlq

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The budgets hold to the file and to the byte.
func TestBudgetsAreExact(t *testing.T) {
	d := openDir(t, DirConfig{MaxFiles: 3})
	require.NoError(t, d.Put(t.Context(), Waiting, append(letters("a", 0, 1), letters("b", 0, 1)...)))
	err := d.Put(t.Context(), Waiting, append(letters("a", 1, 2), letters("b", 1, 2)...))
	require.ErrorIs(t, err, ErrFull)
	var full *FullError
	require.ErrorAs(t, err, &full)
	require.Equal(t, 4, full.Files)
	require.Equal(t, 2, full.Waiting.Files)
	require.NoError(t, d.Put(t.Context(), Dead, letters("a", 1, 2)))
	require.ErrorIs(t, d.Put(t.Context(), Waiting, letters("a", 2, 3)), ErrFull)
	require.EqualValues(t, 2, d.Stats().Full)
	require.Len(t, names(t, d.cfg.Path), 3)
	u := openDir(t, DirConfig{MaxBytes: -1, MaxFiles: -1})
	require.NoError(t, u.Put(t.Context(), Waiting, letters("a", 0, 1)))
}

func TestByteBudgetIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where time stands still, so that files are of one size
		put := func(maxBytes int64) (DirStats, error) {
			d, err := OpenDir(DirConfig{Path: "d", MaxBytes: maxBytes, fs: newMemFS()})
			require.NoError(t, err)
			require.NoError(t, d.Put(t.Context(), Waiting, append(letters("a", 0, 1), letters("b", 0, 1)...)))
			err = d.Put(t.Context(), Dead, letters("a", 1, 2))
			require.Zero(t, d.index.reserved)
			require.NoError(t, d.Close())
			return d.Stats(), err
		}
		s, err := put(-1)
		require.NoError(t, err)
		size := s.Waiting.Bytes + s.Dead.Bytes
		_, err = put(size)
		require.NoError(t, err)
		s, err = put(size - 1)
		require.ErrorIs(t, err, ErrFull)
		require.Equal(t, 2, s.Waiting.Files)
		require.Zero(t, s.Dead)
	})
}

// Over budget the oldest dead letters go, and only those the topic has; waiting ones never.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		copied := map[string]bool{"a-0": true, "a-1": false, "b-0": true, "b-1": true, "c-0": true}
		letters := func(tenant string, from, to int) []Letter {
			ls := letters(tenant, from, to)
			for i := range ls {
				if copied[ls[i].ID] {
					ls[i].Copied = WholeCopy
				}
			}
			return ls
		}
		discarded := map[string]int{}
		var log bytes.Buffer
		d, err := OpenDir(DirConfig{
			Path: "d", MaxFiles: 4, fs: m, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			OnDiscard: func(file string, letters int) { discarded[file[:1]] += letters },
		})
		require.NoError(t, err)
		require.NoError(t, d.Put(t.Context(), Dead, letters("a", 0, 2))) // a-1 has no copy
		require.NoError(t, d.Put(t.Context(), Dead, letters("b", 0, 2)))
		require.NoError(t, d.Put(t.Context(), Dead, letters("c", 0, 1)))
		require.NoError(t, d.Put(t.Context(), Waiting, letters("w", 0, 1)))
		require.Empty(t, discarded)
		require.NoError(t, d.Put(t.Context(), Waiting, letters("w", 1, 2)))
		require.Equal(t, map[string]int{"b": 2}, discarded)
		require.NoError(t, d.Put(t.Context(), Dead, letters("d", 0, 1)))
		require.Equal(t, map[string]int{"b": 2, "c": 1}, discarded)
		require.ErrorIs(t, d.Put(t.Context(), Dead, letters("d", 1, 2)), ErrFull)
		require.Equal(t, 2, strings.Count(log.String(), "discarded over budget"))
		s := d.Stats()
		require.EqualValues(t, []int64{3, 2, 1}, []int64{s.Discarded, s.DiscardedFiles, s.Full})
		require.Equal(t, []string{"a-0", "a-1", "d-0"}, ids(stored(t, d, Dead)))

		// What the topic gets later, without its bytes or whole.
		n, err := d.CopyDead(t.Context(), func(_ context.Context, ls []Letter) ([]Copy, error) {
			require.Equal(t, []string{"a-1"}, ids(ls))
			return []Copy{StubCopy}, nil
		})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.ErrorIs(t, d.Put(t.Context(), Dead, letters("d", 1, 2)), ErrFull, "a stub is no copy")
		n, err = d.CopyDead(t.Context(), func(_ context.Context, ls []Letter) ([]Copy, error) {
			require.Equal(t, []string{"d-0"}, ids(ls), "one that has a stub is not sent again")
			return []Copy{WholeCopy}, nil
		})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.NoError(t, d.Put(t.Context(), Dead, letters("d", 1, 2)))
		require.EqualValues(t, 4, d.Stats().Discarded)
		require.Equal(t, []string{"a-0", "a-1", "d-1"}, ids(stored(t, d, Dead)))
		require.NoError(t, d.Close())
	})
}

// A damaged file is never discarded, even if it says .dead and its letters have copies.
func TestDamagedIsNotDiscarded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dlq")
	b := fileOf(wholeCopies(letters("a", 0, 2)))
	place(t, openDir(t, DirConfig{Path: path}), "a", stateDead, b[:len(b)-5])
	d := openDir(t, DirConfig{Path: path, MaxFiles: 1})
	require.ErrorIs(t, d.Put(t.Context(), Waiting, letters("w", 0, 1)), ErrFull)
	require.Len(t, names(t, d.cfg.Path), 1)
}

// Budgets that were lowered are met by the next scan.
func TestTrim(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dlq")
	d := openDir(t, DirConfig{Path: path})
	for i := range 5 {
		require.NoError(t, d.Put(t.Context(), Dead, wholeCopies(letters("a", i, i+1))))
	}
	e := openDir(t, DirConfig{Path: path, MaxFiles: 2})
	_, err := e.Retry(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a-3", "a-4"}, ids(stored(t, e, Dead)))
}

// Room that another process made, or took, is seen.
func TestBudgetAmongProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dlq")
	d := openDir(t, DirConfig{Path: path, MaxFiles: 1})
	e := openDir(t, DirConfig{Path: path, MaxFiles: 1})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
	var x destination
	_, err := e.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 1, 2)))
	require.Equal(t, 1, e.Stats().Waiting.Files+d.Stats().Waiting.Files)
	require.NoError(t, os.WriteFile(filepath.Join(path, "README"), []byte("an operator's note"), 0o600))
	_, err = e.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, []string{"README"}, names(t, path))
}

// Two that share a directory share its budgets.
func TestBudgetsAreShared(t *testing.T) {
	path := t.TempDir()
	open := func(every time.Duration) *Dir {
		return openDir(t, DirConfig{Path: path, MaxFiles: 10, relistAfter: every})
	}
	a, b := open(-1), open(-1)
	for i := range 5 {
		require.NoError(t, a.Put(t.Context(), Waiting, letters("a", i, i+1)))
		require.NoError(t, b.Put(t.Context(), Waiting, letters("b", i, i+1)))
	}
	require.ErrorIs(t, a.Put(t.Context(), Waiting, letters("a", 5, 6)), ErrFull)
	require.ErrorIs(t, b.Put(t.Context(), Waiting, letters("b", 5, 6)), ErrFull)
	require.Len(t, names(t, path), 10)
	var x destination
	_, err := a.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Len(t, x.ids(), 10)
	require.NoError(t, b.Put(t.Context(), Waiting, letters("b", 5, 6)), "the other has made room")
}
