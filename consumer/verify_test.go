package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/sinkers"
	"github.com/firetrail/firetrail/sinkers/sinkertest"
)

var verifyBegin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sequenced returns the row of an event with a place in a source, which happened seq seconds after the beginning.
func sequenced(tenant, source string, seq uint64) sinkers.Row {
	at := verifyBegin.Add(time.Duration(seq) * time.Second)
	e := testAction.Event(firetrail.Input[struct{}]{Tenant: tenant, Time: at})
	e.ID = firetrail.IDFrom(at, fmt.Sprint(source, seq))
	e.Source, e.Seq = source, seq
	return sinkers.Row{Event: e, Hash: e.ContentHash()}
}

func closing(tenant, source string, seq uint64) sinkers.Row {
	r := sequenced(tenant, source, seq)
	r.Action = firetrail.SourceClosed
	r.Hash = r.ContentHash()
	return r
}

func verifySink(t require.TestingT, rows ...sinkers.Row) *sinkertest.Memory {
	m := &sinkertest.Memory{}
	res, err := m.Write(context.Background(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	require.Equal(t, len(rows), res.Stored)
	return m
}

func entry(tenant, source string, from, to uint64, reason sinkers.LedgerReason) sinkers.LedgerEntry {
	return sinkers.LedgerEntry{Tenant: tenant, Source: source, From: from, To: to, Reason: reason}
}

func TestVerify(t *testing.T) {
	second := sequenced("a", "double", 2)
	second.ID = firetrail.IDFrom(second.Time, "another")
	sink := verifySink(t,
		sequenced("a", "whole", 1), sequenced("a", "whole", 2), closing("a", "whole", 3),
		sequenced("a", "open", 1),
		sequenced("a", "holes", 3), sequenced("a", "holes", 4), sequenced("a", "holes", 10), closing("a", "holes", 20),
		sequenced("a", "double", 1), sequenced("a", "double", 2), second, closing("a", "double", 3), sequenced("a", "double", 4),
		sequenced("b", "holes", 2), sequenced("b", "", 0),
	)
	require.NoError(t, sink.AppendLedger(t.Context(), []sinkers.LedgerEntry{
		entry("a", "holes", 1, 2, sinkers.LedgerExpired), entry("a", "holes", 6, 7, sinkers.LedgerErased),
		entry("a", "holes", 12, 19, sinkers.LedgerDeadLetter), entry("a", "holes", 12, 13, sinkers.LedgerConflict),
		entry("a", "gone", 1, 9, sinkers.LedgerExpired),
	}))
	sources := map[string]SourceReport{}
	v := Verify{
		Sink: sink, Scan: sinkers.Scan{AllTenants: true},
		Explain: []sinkers.LedgerEntry{entry("b", "holes", 1, 1, sinkers.LedgerDeadLetter), entry("a", "holes", 8, 8, sinkers.LedgerDeadLetter)},
		OnSource: func(s SourceReport) error {
			sources[s.Tenant+" "+s.Source] = s
			return nil
		},
	}
	report, err := v.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, VerifyReport{
		Tenants: 2, Sources: 5, Open: 2, Events: 14, Unsequenced: 1, Missing: 17, Irregular: 2, Unexplained: 3,
		Explained: map[sinkers.LedgerReason]uint64{sinkers.LedgerExpired: 2, sinkers.LedgerErased: 2, sinkers.LedgerDeadLetter: 8, sinkers.LedgerConflict: 2},
	}, report)
	require.False(t, report.Whole())
	at := func(seq int) time.Time { return verifyBegin.Add(time.Duration(seq) * time.Second) }
	holes := sources["a holes"]
	require.Equal(t, []Gap{
		{1, 2, sinkers.LedgerExpired, time.Time{}, at(3)},
		{5, 5, "", at(4), at(10)},
		{6, 7, sinkers.LedgerErased, at(4), at(10)},
		{8, 8, sinkers.LedgerDeadLetter, at(4), at(10)},
		{9, 9, "", at(4), at(10)},
		{11, 11, "", at(10), at(20)},
		{12, 13, sinkers.LedgerConflict, at(10), at(20)},
		{14, 19, sinkers.LedgerDeadLetter, at(10), at(20)},
	}, holes.Gaps)
	require.True(t, holes.Closed)
	require.EqualValues(t, 3, holes.First)
	require.EqualValues(t, 20, holes.Last)
	whole, open, double := sources["a whole"], sources["a open"], sources["a double"]
	require.True(t, whole.Whole() && whole.Closed)
	require.True(t, open.Whole() && !open.Closed)
	require.False(t, double.Whole())

	v.Scan = sinkers.Scan{Tenant: "b"}
	report, err = v.Run(t.Context())
	require.NoError(t, err)
	require.True(t, report.Whole())
	require.EqualValues(t, 1, report.Explained[sinkers.LedgerDeadLetter])
	v.Explain = nil
	report, err = v.Run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Unexplained)
}

func TestVerifyFailures(t *testing.T) {
	sink := verifySink(t, sequenced("a", "s", 1))
	_, err := Verify{Sink: plain{sink}}.Run(t.Context())
	require.ErrorContains(t, err, "can't be scanned")
	stop := errors.New("stop")
	_, err = Verify{Sink: sink, Scan: sinkers.Scan{Tenant: "a"}, OnSource: func(SourceReport) error { return stop }}.Run(t.Context())
	require.ErrorIs(t, err, stop)
	sink.Away(errStrange)
	_, err = Verify{Sink: sink, Scan: sinkers.Scan{AllTenants: true}}.Run(t.Context())
	require.ErrorIs(t, err, errStrange)

	many := verifySink(t)
	var rows []sinkers.Row
	for i := range uint64(300) {
		rows = append(rows, sequenced("a", "s", 2*i+1))
	}
	_, err = many.Write(t.Context(), sinkers.Batch{Rows: rows})
	require.NoError(t, err)
	_, err = Verify{Sink: many, Scan: sinkers.Scan{Tenant: "a"}, OnSource: func(s SourceReport) error {
		require.Len(t, s.Gaps, maxGaps)
		require.Equal(t, 299-maxGaps, s.MoreGaps)
		require.EqualValues(t, 299, s.Unexplained)
		return nil
	}}.Run(t.Context())
	require.NoError(t, err)
}

// Whatever is stored and whatever the ledger says: each sequence up to the last is stored, explained or unexplained,
// as counting them one by one says.
func TestVerifyCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 40
		stored := rapid.SliceOfNDistinct(rapid.Uint64Range(1, most), 1, most, rapid.ID).Draw(t, "stored")
		var rows []sinkers.Row
		has, explained := map[uint64]bool{}, map[uint64]bool{}
		last := uint64(0)
		for _, seq := range stored {
			rows = append(rows, sequenced("a", "s", seq))
			has[seq] = true
			last = max(last, seq)
		}
		sink := verifySink(t, rows...)
		var ledger []sinkers.LedgerEntry
		for range rapid.IntRange(0, 8).Draw(t, "entries") {
			from := rapid.Uint64Range(1, most).Draw(t, "from")
			to := min(from+rapid.Uint64Range(0, 10).Draw(t, "more"), most)
			reason := rapid.SampledFrom([]sinkers.LedgerReason{sinkers.LedgerExpired, sinkers.LedgerErased, sinkers.LedgerConflict}).Draw(t, "reason")
			ledger = append(ledger, entry("a", "s", from, to, reason))
			for seq := from; seq <= to; seq++ {
				explained[seq] = true
			}
		}
		require.NoError(t, sink.AppendLedger(context.Background(), ledger))
		var missing, unexplained uint64
		for seq := uint64(1); seq < last; seq++ {
			if !has[seq] {
				missing++
				if !explained[seq] {
					unexplained++
				}
			}
		}
		report, err := Verify{Sink: sink, Scan: sinkers.Scan{AllTenants: true}}.Run(context.Background())
		require.NoError(t, err)
		require.Equal(t, missing, report.Missing)
		require.Equal(t, unexplained, report.Unexplained)
		var sum uint64
		for _, n := range report.Explained {
			sum += n
		}
		require.Equal(t, missing-unexplained, sum)
	})
}
