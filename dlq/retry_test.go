package dlq

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Each outcome by itself, and mixed in one file.
func TestRetryOutcomes(t *testing.T) {
	d := openDir(t, DirConfig{MaxScans: 3})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 4)))
	x := destination{answer: func(l Letter) Outcome { return []Outcome{Delivered, Refused, Away, Delivered}[l.Offset] }}
	res, err := d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 1, Delivered: 2, Refused: 1, Away: 1}, res)
	want := letters("a", 1, 3)
	want[0].Attempts++ // it was tried and refused; the one that was away is as it was
	require.Equal(t, want, stored(t, d, Waiting))
	require.Equal(t, 2, d.Stats().Waiting.Letters)

	x.answer = always(Away)
	before := names(t, d.cfg.Path)
	for range 20 { // an outage makes no poison, and writes nothing
		res, err = d.Retry(t.Context(), x.deliver)
		require.NoError(t, err)
		require.Equal(t, RetryResult{Files: 1, Away: 2}, res)
	}
	require.Equal(t, before, names(t, d.cfg.Path))
	require.Equal(t, want, stored(t, d, Waiting))

	x.answer = func(l Letter) Outcome { return []Outcome{Delivered, Refused, Delivered, Delivered}[l.Offset] }
	res, err = d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 1, Delivered: 1, Refused: 1}, res)
	require.Empty(t, stored(t, d, Dead))
	res, err = d.Retry(t.Context(), x.deliver) // the third scan that reached it
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 1, Buried: 1}, res)
	dead := stored(t, d, Dead)
	require.Len(t, dead, 1)
	require.Equal(t, 6, dead[0].Attempts)
	require.Equal(t, ReasonRefused, dead[0].Reason)
	require.Equal(t, "refused in 3 scans; before that: outage: connection refused", dead[0].Error)
	require.Empty(t, stored(t, d, Waiting))
	require.Equal(t, []string{"a-0", "a-3", "a-2"}, x.ids())
	s := d.Stats()
	require.EqualValues(t, []int64{3, 3, 1}, []int64{s.Delivered, s.Refused, s.Buried})
	require.Equal(t, 1, s.Dead.Letters)
	require.Zero(t, s.Waiting)

	// An operator has it tried again, as often as a new one.
	n := names(t, d.cfg.Path)[0]
	require.NoError(t, os.Rename(filepath.Join(d.cfg.Path, n), filepath.Join(d.cfg.Path, strings.TrimSuffix(n, ".dead"))))
	res, err = d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 1, Refused: 1}, res)
}

// What Deliver says about a refusal is kept.
func TestRetryKeepsTheNewError(t *testing.T) {
	d := openDir(t, DirConfig{MaxScans: 2})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 2)))
	deliver := func(_ context.Context, ls []Letter) []Outcome {
		ls[1].Reason, ls[1].Error, ls[1].Stage = ReasonConflict, "another content", "retry"
		return []Outcome{Delivered, Refused}
	}
	_, err := d.Retry(t.Context(), deliver)
	require.NoError(t, err)
	for f, err := range d.Files(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, map[string]int{ReasonConflict: 1}, f.Reasons)
	}
	_, err = d.Retry(t.Context(), func(context.Context, []Letter) []Outcome { return []Outcome{Refused} })
	require.NoError(t, err)
	dead := stored(t, d, Dead)
	require.Equal(t, []string{ReasonConflict, "another content", "retry"}, []string{dead[0].Reason, dead[0].Error, dead[0].Stage})
}

func TestNeverBuried(t *testing.T) {
	d := openDir(t, DirConfig{MaxScans: -1})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
	for range 30 {
		_, err := d.Retry(t.Context(), (&destination{answer: always(Refused)}).deliver)
		require.NoError(t, err)
	}
	require.Equal(t, 33, stored(t, d, Waiting)[0].Attempts)
}

// The tenants take turns, each in its order; one that is away is left at its first file.
func TestRetryOrder(t *testing.T) {
	d := openDir(t, DirConfig{})
	for i := range 3 {
		require.NoError(t, d.Put(t.Context(), Waiting, letters("a", i, i+1)))
		require.NoError(t, d.Put(t.Context(), Waiting, letters("away", i, i+1)))
	}
	require.NoError(t, d.Put(t.Context(), Waiting, letters("b", 0, 1)))
	var tried []string
	x := destination{answer: func(l Letter) Outcome {
		tried = append(tried, l.ID)
		if l.Tenant == "away" {
			return Away
		}
		return Delivered
	}}
	_, err := d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, []string{"a-0", "away-0", "b-0", "a-1", "a-2"}, tried)
	x.answer = nil
	_, err = d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, []string{"away-0", "away-1", "away-2"}, x.ids()[4:])
}

// A new process goes on after the names of the one before, whatever its clock says.
func TestOrderOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dlq")
	d := openDir(t, DirConfig{Path: path})
	d.seen(time.Now().Add(time.Hour).UnixMilli()) // its clock was ahead
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
	e := openDir(t, DirConfig{Path: path})
	require.NoError(t, e.Put(t.Context(), Waiting, letters("a", 1, 2)))
	var x destination
	_, err := e.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, []string{"a-0", "a-1"}, x.ids())
}

// A big backlog is delivered in pieces, in order, and away stops it where it is.
func TestRetryStopsWhereItIsAway(t *testing.T) {
	d := openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 3500)))
	calls := 0
	x := destination{answer: func(l Letter) Outcome {
		if l.Offset >= 1500 {
			return Away
		}
		return Delivered
	}}
	res, err := d.Retry(t.Context(), func(ctx context.Context, ls []Letter) []Outcome {
		calls++
		require.LessOrEqual(t, len(ls), maxChunkLetters)
		return x.deliver(ctx, ls)
	})
	require.NoError(t, err)
	require.Equal(t, 2, calls)
	require.Equal(t, RetryResult{Files: 1, Delivered: 1500, Away: 500}, res)
	require.Equal(t, ids(letters("a", 1500, 3500)), ids(stored(t, d, Waiting)))
}

// Outcomes that a Deliver forgot, or made up, are no deliveries.
func TestWrongOutcomes(t *testing.T) {
	d := openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 3)))
	_, err := d.Retry(t.Context(), func(context.Context, []Letter) []Outcome { return []Outcome{Delivered} })
	require.ErrorContains(t, err, "1 outcomes for 3 letters")
	require.Len(t, stored(t, d, Waiting), 3)
	res, err := d.Retry(t.Context(), func(context.Context, []Letter) []Outcome { return []Outcome{77, 0, Delivered} })
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 1, Delivered: 1, Away: 2}, res)
}

// A crash in mid-retry leaves a .processing file that nobody holds: it goes back at start, and with each
// scan. One that is held is left alone, with all of its tenant.
func TestProcessingFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dlq")
	d := openDir(t, DirConfig{Path: path})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 1, 2)))
	require.NoError(t, d.Put(t.Context(), Waiting, letters("b", 0, 1)))
	var first string
	for f, err := range d.Files(t.Context()) {
		require.NoError(t, err)
		first = f.Path
		break
	}
	require.NoError(t, os.Rename(first, first+".processing"))
	lock, err := (diskFS{}).Lock(first + ".processing")
	require.NoError(t, err)

	e := openDir(t, DirConfig{Path: path})
	var x destination
	res, err := e.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 1, Delivered: 1, Busy: 1}, res)
	require.Equal(t, []string{"b-0"}, x.ids())

	require.NoError(t, lock.Close()) // as when its owner dies
	res, err = e.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, RetryResult{Files: 2, Delivered: 2, Recovered: 1}, res)
	require.Equal(t, []string{"b-0", "a-0", "a-1"}, x.ids())

	require.NoError(t, d.Put(t.Context(), Waiting, letters("c", 0, 1)))
	n := names(t, path)[0]
	require.NoError(t, os.Rename(filepath.Join(path, n), filepath.Join(path, n+".processing")))
	f := openDir(t, DirConfig{Path: path})
	require.EqualValues(t, 1, f.Stats().Recovered)
	require.Equal(t, []string{n}, names(t, path))
}

// Copies that somebody made are not written over one another.
func TestRecoveryOverwritesNothing(t *testing.T) {
	d := openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
	n := filepath.Join(d.cfg.Path, names(t, d.cfg.Path)[0])
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 1, 2)))
	m := filepath.Join(d.cfg.Path, names(t, d.cfg.Path)[1])
	if m == n {
		m = filepath.Join(d.cfg.Path, names(t, d.cfg.Path)[0])
	}
	require.NoError(t, os.Rename(m, n+".processing"))
	var x destination
	_, err := d.Retry(t.Context(), x.deliver)
	require.NoError(t, err)
	require.Equal(t, []string{"a-0", "a-1"}, sorted(x.ids()))
}

// Two directories on one path, as two processes have, putting and retrying at once: every letter is
// delivered, exactly once since nobody crashes, each writer's in its order.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dlq")
	dirs := []*Dir{openDir(t, DirConfig{Path: path}), openDir(t, DirConfig{Path: path})}
	x := destination{answer: func(l Letter) Outcome {
		if l.Attempts == 3 && l.Offset%7 == 0 {
			return Refused // once
		}
		return Delivered
	}}
	var wg sync.WaitGroup
	for i, d := range dirs {
		wg.Go(func() {
			for n := range 40 {
				tenant := []string{"a", "b", "c"}[n%3]
				ls := letters(tenant, i*1000+n*10, i*1000+n*10+10)
				if err := d.Put(t.Context(), Waiting, ls); err != nil {
					t.Error(err)
				}
				if _, err := d.Retry(t.Context(), x.deliver); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 2 {
		_, err := dirs[0].Retry(t.Context(), x.deliver)
		require.NoError(t, err)
	}
	require.Empty(t, names(t, path))
	var want []string
	for i := range dirs {
		for n := range 40 {
			want = append(want, ids(letters([]string{"a", "b", "c"}[n%3], i*1000+n*10, i*1000+n*10+10))...)
		}
	}
	require.Equal(t, sorted(want), sorted(x.ids()))
}

func TestRunScansOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := OpenDir(DirConfig{Path: "d", MaxScans: -1, fs: newMemFS()})
		require.NoError(t, err)
		require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
		var at []time.Duration
		begin := time.Now()
		x := destination{answer: func(Letter) Outcome {
			at = append(at, time.Since(begin))
			return Away
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Run(ctx, x.deliver) }()
		time.Sleep(3*time.Minute - time.Second) // of the bubble's time
		cancel()
		require.NoError(t, <-done)
		require.Equal(t, []time.Duration{0, time.Minute, 2 * time.Minute}, at)
		require.NoError(t, d.Close())
	})
}

func TestRunOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		d, err := OpenDir(DirConfig{Path: "d", ScanInterval: -1, fs: m})
		require.NoError(t, err)
		require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
		m.fail = func(_ int, op string) error {
			if op == "list" {
				return errPower
			}
			return nil
		}
		done := make(chan error)
		go func() { done <- d.Run(t.Context(), nil) }()
		synctest.Wait()
		require.EqualValues(t, 1, d.Stats().ScanErrors)
		require.NoError(t, d.Close())
		require.NoError(t, <-done)
	})
}

// Close ends what is under way, and nothing is delivered after it.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		d, err := OpenDir(DirConfig{Path: "d", fs: m})
		require.NoError(t, err)
		require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
		result := make(chan error)
		go func() {
			_, err := d.Retry(t.Context(), func(ctx context.Context, ls []Letter) []Outcome {
				<-ctx.Done()
				return make([]Outcome, len(ls))
			})
			result <- err
		}()
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- d.Close() }()
		require.ErrorIs(t, <-result, ErrClosed)
		require.NoError(t, <-closed)
		require.NoError(t, d.Close())
		require.ErrorIs(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)), ErrClosed)
		_, err = d.Retry(t.Context(), nil)
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, d.Run(t.Context(), nil), ErrClosed)
		require.Len(t, m.names, 1)
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := OpenDir(DirConfig{Path: "d", fs: newMemFS()})
		require.NoError(t, err)
		require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 1)))
		release := make(chan struct{})
		go func() {
			_, _ = d.Retry(t.Context(), func(_ context.Context, ls []Letter) []Outcome {
				<-release
				return make([]Outcome, len(ls))
			})
		}()
		synctest.Wait()
		require.ErrorContains(t, d.Close(), "still delivering")
		close(release)
		require.NoError(t, d.Close())
	})
}

// A scan that is called off leaves everything as it was, but for what was delivered.
func TestRetryCancelled(t *testing.T) {
	d := openDir(t, DirConfig{})
	require.NoError(t, d.Put(t.Context(), Waiting, letters("a", 0, 2500)))
	ctx, cancel := context.WithCancel(t.Context())
	var x destination
	res, err := d.Retry(ctx, func(ctx context.Context, ls []Letter) []Outcome {
		cancel()
		return x.deliver(ctx, ls)
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1000, res.Delivered)
	require.Equal(t, ids(letters("a", 1000, 2500)), ids(stored(t, d, Waiting)))
	require.ErrorIs(t, d.Put(ctx, Waiting, letters("a", 0, 1)), context.Canceled)
	require.Len(t, names(t, d.cfg.Path), 1)
	_, err = d.Retry(ctx, x.deliver)
	require.ErrorIs(t, err, context.Canceled)
}

func TestStaleTemporaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		d, err := OpenDir(DirConfig{Path: "d", fs: m})
		require.NoError(t, err)
		left := d.path(newFileName("a", 1, stateTemp))
		_, err = m.Create(left)
		require.NoError(t, err)
		_, err = d.Retry(t.Context(), nil)
		require.NoError(t, err)
		require.Contains(t, m.names, left)
		time.Sleep(time.Hour) // of the bubble's time
		_, err = d.Retry(t.Context(), nil)
		require.NoError(t, err)
		require.NotContains(t, m.names, left)
		require.NoError(t, d.Close())
	})
}
