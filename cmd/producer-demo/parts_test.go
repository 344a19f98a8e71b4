package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/cmd/internal/cli"
	"github.com/firetrail/firetrail/sinkers"
)

func TestBundledEvents(t *testing.T) {
	in := newInput("", formatCloudTrail, nil, func(b badLine) { t.Fatal(b.number, b.err) })
	defer in.close()
	tenants, n := map[string]bool{}, 0
	for {
		e, err := in.next(false)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.NoError(t, e.Validate())
		tenants[e.Tenant] = true
		n++
	}
	require.Equal(t, bundledEvents, n)
	require.Len(t, tenants, 29)
}

// A quantile is never below the true one, and within 1.6 % of it.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 1<<rapid.IntRange(1, 62).Draw(t, "bits")), 1, 500).Draw(t, "values")
		var h histogram
		for _, v := range values {
			h.add(v)
		}
		slices.Sort(values)
		require.Equal(t, values[len(values)-1], h.max)
		for _, q := range []float64{0, 0.1, 0.5, 0.99, 1} {
			rank := min(max(int(q*float64(len(values))+0.5), 1), len(values))
			want := values[rank-1]
			got := h.quantile(q)
			require.GreaterOrEqual(t, got, want)
			require.LessOrEqual(t, float64(got-want), float64(want)/60+1)
		}
	})
	require.Zero(t, new(histogram).quantile(0.5))
	for v := range int64(1 << 12) {
		require.GreaterOrEqual(t, highest(bucket(v)), v)
		require.LessOrEqual(t, bucket(v), bucket(v+1))
	}
	require.Less(t, bucket(1<<63-1), len(histogram{}.buckets))
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+1)
	for name, c := range map[string]struct {
		text string
		want []string // number:line
	}{
		"empty":       {"", nil},
		"blank lines": {"\n \r\n\n", nil},
		"one":         {"a", []string{"1:a"}},
		"ends":        {"a\r\n\nb\nc", []string{"1:a", "3:b", "4:c"}},
		"BOM":         {"\ufeffa\nb\n", []string{"1:a", "2:b"}},
		"long":        {"a\n" + long + "\nb\n" + long, []string{"1:a", "2:!" + long[:maxLine], "3:b", "4:!" + long[:maxLine]}},
		"just fits":   {long[:maxLine-1] + "\nb", []string{"1:" + long[:maxLine-1], "2:b"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLineReader(strings.NewReader(c.text))
			var got []string
			for {
				line, err := l.next()
				if errors.Is(err, io.EOF) {
					break
				}
				mark := ""
				if err != nil {
					require.ErrorIs(t, err, errLineTooLong)
					mark = "!"
				}
				got = append(got, string(rune('0'+l.number))+":"+mark+string(line))
			}
			require.True(t, slices.Equal(c.want, got), "%.200q", got)
		})
	}
}

// An input too long to be kept is read again, and one that can't be is an error.
func TestLongInputIsReadAgain(t *testing.T) {
	line := `{"eventTime":"2023-07-10T11:42:18Z","eventSource":"s3.amazonaws.com","eventName":"GetObject"}` + "\n"
	text := strings.Repeat(line, keepAtMost) + "bad\n" + line
	opened, bad := 0, 0
	in := newInput("x", formatCloudTrail, nil, func(badLine) { bad++ })
	in.open = func() (io.ReadCloser, error) { opened++; return io.NopCloser(strings.NewReader(text)), nil }
	for range 2*keepAtMost + 3 {
		_, err := in.next(true)
		require.NoError(t, err)
	}
	require.Equal(t, 3, opened)
	require.Equal(t, 1, bad)

	in = newInput("-", formatCloudTrail, strings.NewReader(text), func(badLine) {})
	n := 0
	var err error
	for ; err == nil; n++ {
		_, err = in.next(true)
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, keepAtMost+2, n)
	require.ErrorContains(t, (&feeder{settings: &grammar{Events: cli.Int{N: 9}}}).tooShort(in, 3), "stdin has 3, and is too long")
}

func TestPaceKeepsTheRate(t *testing.T) {
	for _, rate := range []float64{3, 100, 6000, 250_000} {
		synctest.Test(t, func(t *testing.T) {
			p := pace{rate: rate}
			begin := time.Now()
			n := int(rate * 2)
			for range n + 1 {
				require.NoError(t, p.wait(t.Context()))
			}
			require.InDelta(t, 2*time.Second, time.Since(begin), float64(tick))
		})
	}
}

func TestPaceWaitsForTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backlog := int64(0)
		p := pace{backlog: func() int64 { backlog--; return backlog }}
		for range 256 {
			require.NoError(t, p.wait(t.Context()))
		}
		backlog = maxBacklog + 5
		begin := time.Now()
		for range 256 {
			require.NoError(t, p.wait(t.Context()))
		}
		require.Equal(t, 4*tick, time.Since(begin))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.wait(ctx), context.Canceled)
	})
}

// scanner is a database of ids.
type scanner struct {
	ids []firetrail.ID
	err error
}

func (s scanner) Scan(context.Context, sinkers.Scan) iter.Seq2[sinkers.Position, error] {
	return func(yield func(sinkers.Position, error) bool) {
		for _, id := range s.ids {
			if !yield(sinkers.Position{ID: id}, nil) {
				return
			}
		}
		if s.err != nil {
			yield(sinkers.Position{}, s.err)
		}
	}
}

func TestLedgerFindsEveryFault(t *testing.T) {
	g := firetrail.NewIDGenerator()
	var l ledger
	ids := make([]firetrail.ID, 1000)
	for i := range ids {
		ids[i] = g.Next(rand.Int64N(1 << 50))
		if i%3 == 0 {
			l.addRecovered(ids[i])
			l.addRecovered(ids[i]) // acknowledged twice
		} else {
			l.addFired(ids[i])
		}
	}
	other := g.Next(1)
	c, err := l.ask(t.Context(), scanner{ids: append([]firetrail.ID{other, other}, ids...)})
	require.NoError(t, err)
	require.Equal(t, census{Stored: 1000}, c, "and others' ids are none of its business")

	// Asking again is possible: nothing is lost by it.
	c, err = l.ask(t.Context(), scanner{ids: append(slices.Clone(ids[10:]), ids[500], ids[500], ids[900])})
	require.NoError(t, err)
	require.Equal(t, 990, c.Stored)
	require.Equal(t, 10, c.Missing)
	require.Equal(t, 2, c.Repeated)
	require.Len(t, c.firsts, someMissing)

	_, err = l.ask(t.Context(), scanner{ids: ids, err: io.ErrUnexpectedEOF})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestVerdict(t *testing.T) {
	require.NoError(t, (&result{Stored: 3}).verdict())
	require.ErrorContains(t, (&result{Missing: 1234, missing: []firetrail.ID{{1}}}).verdict(), "1,234 events are not in the database, such as 01000000-")
	require.ErrorContains(t, (&result{Missing: 1, interrupted: true}).verdict(), "--drain-only stores what is in the log")
	require.ErrorContains(t, (&result{Repeated: 2}).verdict(), "2 events are in the database more than once")
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		require.Equal(t, want, thousands(n))
	}
	require.Equal(t, "'it'\\''s'", quote("it's"))
	require.Equal(t, "''", quote(""))
	require.Equal(t, "a/b-c.db", quote("a/b-c.db"))
}
