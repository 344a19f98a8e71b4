package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/firetrail/firetrail/sinkers"
)

// Verify looks whether the trail in a sink is whole: each producer's run counts the events of each tenant from 1
// without a hole, so what is missing shows. It reads the sink in order, a tenant after the other, beside the
// worker. What is on its way meanwhile is no gap, since it lies behind what is there; a prune or an erasure
// that runs meanwhile may show as one.
type Verify struct {
	// Sink to read, which must be a sinkers.Scanner, and for all tenants a sinkers.TenantLister too. Where it is a
	// sinkers.Ledger, that explains gaps. Required.
	Sink sinkers.Sinker
	// Scan says which tenants.
	Scan sinkers.Scan
	// Explain are more explanations than the sink's ledger has, such as letters that wait in a directory.
	Explain []sinkers.LedgerEntry
	// OnSource is called for each source of each tenant, in order. An error of it ends the run. Nil: nobody is told.
	OnSource func(SourceReport) error
}

// SourceReport says how whole the events of one source of one tenant are.
type SourceReport struct {
	Tenant, Source string
	Events         uint64    // stored, with a sequence
	First, Last    uint64    // sequences stored
	Begin, End     time.Time // when those two happened
	// Closed says that the source has ended and Last is its end. An open one is running, or was killed: what it
	// fired last may be missing, and nothing tells.
	Closed bool
	// Missing are the events that ought to be there: Explained by reason, and Unexplained.
	Missing     uint64
	Explained   map[sinkers.LedgerReason]uint64
	Unexplained uint64
	// Irregular are events that can't be: a second one with a sequence, or one after the end.
	Irregular uint64
	// Gaps are the first hundred runs of missing events; MoreGaps is how many more there are.
	Gaps     []Gap
	MoreGaps int
}

// Whole reports whether everything is there or explained.
func (r *SourceReport) Whole() bool { return r.Unexplained == 0 && r.Irregular == 0 }

// Gap is a run of missing sequences, From and To included, that have one explanation, or none.
type Gap struct {
	From, To uint64
	Reason   sinkers.LedgerReason // empty: nothing explains it
	// After and Before are when the events around it happened; After is zero where the gap is at the beginning.
	After, Before time.Time
}

// VerifyReport is the sum of the sources.
type VerifyReport struct {
	Tenants, Sources, Open int
	Events                 uint64
	Unsequenced            uint64 // events without a sequence, such as imports: nothing can be said of them
	Missing                uint64
	Explained              map[sinkers.LedgerReason]uint64
	Unexplained, Irregular uint64
}

// Whole reports whether everything is there or explained.
func (r *VerifyReport) Whole() bool { return r.Unexplained == 0 && r.Irregular == 0 }

// maxGaps bounds the gaps of a source that are told one by one.
const maxGaps = 100

// Run reads everything. Memory is bounded by the ledger of one tenant.
func (v Verify) Run(ctx context.Context) (VerifyReport, error) {
	run := &verifying{Verify: v, report: VerifyReport{Explained: map[sinkers.LedgerReason]uint64{}}}
	if err := run.all(ctx); err != nil {
		return run.report, fmt.Errorf("consumer: verify: %w", err)
	}
	return run.report, nil
}

type verifying struct {
	Verify
	scanner sinkers.Scanner
	report  VerifyReport

	ledger []sinkers.LedgerEntry // of the tenant, by source and From
	source *SourceReport         // being read; nil before the first
	left   []sinkers.LedgerEntry // of the source, from the last event on
}

func (v *verifying) all(ctx context.Context) error {
	var ok bool
	if v.scanner, ok = v.Sink.(sinkers.Scanner); !ok {
		return errors.New("sink: it can't be scanned (sinkers.Scanner)")
	}
	if !v.Scan.AllTenants {
		return v.tenant(ctx, v.Scan.Tenant)
	}
	lister, ok := v.Sink.(sinkers.TenantLister)
	if !ok {
		return errors.New("sink: it can't name its tenants (sinkers.TenantLister); verify one at a time")
	}
	var tenants []string
	for name, err := range lister.Tenants(ctx) {
		if err != nil {
			return err
		}
		tenants = append(tenants, name)
	}
	for _, name := range tenants {
		if err := v.tenant(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// tenant verifies one tenant. The ledger is read first and let go, so that the sink is asked one thing at a time.
func (v *verifying) tenant(ctx context.Context, name string) error {
	if err := v.readLedger(ctx, name); err != nil {
		return err
	}
	events := false
	for p, err := range v.scanner.Scan(ctx, sinkers.Scan{Tenant: name}) {
		if err != nil {
			return err
		}
		events = true
		if p.Seq == 0 {
			v.report.Unsequenced++
			continue
		}
		if v.source == nil || v.source.Source != p.Source {
			if err := v.endSource(); err != nil {
				return err
			}
			v.beginSource(p)
		}
		v.add(p)
	}
	if events {
		v.report.Tenants++
	}
	return v.endSource()
}

func (v *verifying) readLedger(ctx context.Context, tenant string) error {
	v.ledger = v.ledger[:0]
	for _, e := range v.Explain {
		if e.Tenant == tenant {
			v.ledger = append(v.ledger, e)
		}
	}
	if ledger, ok := v.Sink.(sinkers.Ledger); ok {
		for e, err := range ledger.ReadLedger(ctx, sinkers.Scan{Tenant: tenant}) {
			if errors.Is(err, errors.ErrUnsupported) {
				break
			}
			if err != nil {
				return err
			}
			v.ledger = append(v.ledger, e)
		}
	}
	slices.SortFunc(v.ledger, func(a, b sinkers.LedgerEntry) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return nil
}

func (v *verifying) beginSource(p sinkers.Position) {
	v.source = &SourceReport{Tenant: p.Tenant, Source: p.Source, First: p.Seq, Begin: p.Time, Explained: map[sinkers.LedgerReason]uint64{}}
	from, found := slices.BinarySearchFunc(v.ledger, p.Source, func(e sinkers.LedgerEntry, source string) int { return cmp.Compare(e.Source, source) })
	v.left = nil
	if found {
		v.left = v.ledger[from:]
		if to := slices.IndexFunc(v.left, func(e sinkers.LedgerEntry) bool { return e.Source != p.Source }); to >= 0 {
			v.left = v.left[:to]
		}
	}
}

// add takes the source's next event.
func (v *verifying) add(p sinkers.Position) {
	s := v.source
	s.Events++
	if s.Closed || s.Events > 1 && p.Seq == s.Last {
		s.Irregular++
	}
	if p.Seq > s.Last+1 {
		v.missing(s.Last+1, p.Seq-1, p.Time)
	}
	s.Last, s.End = p.Seq, p.Time
	s.Closed = s.Closed || p.Closes
}

// missing divides a gap by what explains it.
func (v *verifying) missing(from, to uint64, before time.Time) {
	s := v.source
	after := s.End
	s.Missing += to - from + 1
	tell := func(from, to uint64, reason sinkers.LedgerReason) {
		if reason == "" {
			s.Unexplained += to - from + 1
		} else {
			s.Explained[reason] += to - from + 1
		}
		if len(s.Gaps) == maxGaps {
			s.MoreGaps++
			return
		}
		s.Gaps = append(s.Gaps, Gap{From: from, To: to, Reason: reason, After: after, Before: before})
	}
	for i := 0; i < len(v.left) && v.left[i].From <= to; i++ {
		e := &v.left[i]
		if e.To < from {
			continue
		}
		if e.From > from {
			tell(from, e.From-1, "")
			from = e.From
		}
		end := min(e.To, to)
		tell(from, end, e.Reason)
		if end == to {
			from = 0
			break
		}
		from = end + 1
	}
	if from > 0 {
		tell(from, to, "")
	}
	for len(v.left) > 0 && v.left[0].To <= to {
		v.left = v.left[1:]
	}
}

func (v *verifying) endSource() error {
	s := v.source
	if s == nil {
		return nil
	}
	v.source = nil
	r := &v.report
	r.Sources++
	if !s.Closed {
		r.Open++
	}
	r.Events += s.Events
	r.Missing += s.Missing
	r.Unexplained += s.Unexplained
	r.Irregular += s.Irregular
	for reason, n := range s.Explained {
		r.Explained[reason] += n
	}
	if v.OnSource != nil {
		return v.OnSource(*s)
	}
	return nil
}
